"""Networks for other programs: as ONNX, or as PyTorch's own package."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.exporting.by_name import export
    from onebyone.exporting.written import Exported

__all__ = ["Exported", "export"]
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.exporting.by_name": "export",
        "onebyone.exporting.written": "Exported",
    },
)
