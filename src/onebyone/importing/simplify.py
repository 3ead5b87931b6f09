"""What exporters write in many words, said in few: constants folded, functions put together.

What is left has the same values, and fewer operators to convert, to run and to explain. Shapes that
follow from the fixed sizes become numbers, so that nothing computes them any more; the batch stays
open.
"""

import math
from typing import TYPE_CHECKING, Any

from onebyone.importing.shapes import fix_reshapes

if TYPE_CHECKING:
    from onnx import ModelProto


def simplify(model: "ModelProto") -> "ModelProto":
    """Return a file's network with its constants folded and its functions put together.

    Args:
        model: With the sizes of its inputs fixed, but for the batch; it is left unchanged.

    Raises:
        Exception: Whatever onnxscript raises; a network that it cannot take is converted as it is.
    """
    from onnxscript import ir, optimizer, rewriter

    copy = ir.from_proto(fix_reshapes(model))
    optimizer.optimize(copy)
    rewriter.rewrite(copy, pattern_rewrite_rules=_rules())
    return ir.to_proto(copy)


def _rules() -> Any:
    """Return what puts functions together that exporters write out."""
    from onnxscript.rewriter import pattern
    from onnxscript.rewriter.rules.common import fuse_hardswish_rules

    hard = fuse_hardswish_rules().rules
    gelus = pattern.RewriteRuleSet(
        [pattern.RewriteRule(written, _gelu) for written in _GELUS], commute=True
    ).rules
    return pattern.RewriteRuleSet([*hard, *gelus])


def _bend(op: Any, x: Any) -> Any:
    """Match `1 + erf(x / sqrt(2))`."""
    from onnxscript.rewriter import pattern

    inner = pattern.OrValue([x / math.sqrt(2), x * math.sqrt(0.5)])
    return op.Erf(inner) + 1.0


def _halved(op: Any, x: Any) -> Any:
    return 0.5 * (x * _bend(op, x))


def _halved_bend(op: Any, x: Any) -> Any:
    return x * (0.5 * _bend(op, x))


def _halved_input(op: Any, x: Any) -> Any:
    return (0.5 * x) * _bend(op, x)


_GELUS = (_halved, _halved_bend, _halved_input)
"""How exporters write GELU where ONNX has none yet."""


def _gelu(op: Any, x: Any) -> Any:
    return op.Gelu(x)
