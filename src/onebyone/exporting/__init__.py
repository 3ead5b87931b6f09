"""Networks for other programs: as ONNX, as PyTorch's own package, or as a library for C."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.exporting.by_name import export
    from onebyone.exporting.native_folder import plan_native, write_native
    from onebyone.exporting.written import Exported

__all__ = ["Exported", "export", "plan_native", "write_native"]
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.exporting.by_name": "export",
        "onebyone.exporting.native_folder": "plan_native write_native",
        "onebyone.exporting.written": "Exported",
    },
)
