"""Why an engine has no result, in a line."""

from onebyone.bench.engines import peer_packages
from onebyone.errors import OneByOneError, first_line, summary

_FOR_EXPORT = ("onnx", "onnxscript")
"""What several peers need besides the package that they come in."""


def why_absent(error: Exception) -> str:
    """Say why an engine that failed is absent; of a package that is missing, how to get it."""
    extra = (*_FOR_EXPORT, *peer_packages())
    if isinstance(error, ModuleNotFoundError) and error.name in extra:
        return f"{error.name} is not installed: pip install 'onebyone[bench]'"
    return first_line(error) if isinstance(error, OneByOneError) else summary(error)
