"""Networks from other programs: an ONNX file becomes a `torch.nn.Module`."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.importing.imported import Imported, import_onnx

__all__ = ["Imported", "import_onnx"]
__getattr__, __dir__ = offer(__name__, {"onebyone.importing.imported": "Imported import_onnx"})
