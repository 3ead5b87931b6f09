"""Why an engine has no result, in a line."""

from onebyone.bench.engines import peer_extras
from onebyone.errors import OneByOneError, first_line, summary


def why_absent(error: Exception) -> str:
    """Say why an engine that failed is absent; of a package that is missing, how to get it."""
    if isinstance(error, ModuleNotFoundError):
        # The package `ai-edge-litert` is imported as `ai_edge_litert`.
        package = (error.name or "").partition(".")[0].replace("_", "-")
        if extra := peer_extras().get(package):
            return f"{package} is not installed: pip install 'onebyone[{extra}]'"
    return first_line(error) if isinstance(error, OneByOneError) else summary(error)
