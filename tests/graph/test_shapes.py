"""The quick rules for shapes say what PyTorch's own say, or nothing."""

import itertools

import pytest
import torch

from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.shapes import RULES, broadcast, quick_result

aten = torch.ops.aten


def meta(*shape):
    return torch.empty(shape, device="meta")


X, NHWC = meta(2, 4, 7, 5), meta(2, 7, 5, 4).permute(0, 3, 1, 2)
W, B = meta(6, 2, 3, 2), meta(6)
C = meta(4)
POOLS = itertools.product(
    [aten.max_pool2d_with_indices.default, aten.avg_pool2d.default],
    [[2], [3, 2], [9, 1]],
    [[], [2], [1, 3]],
    [[0], [1, 1], [1, 2]],
)
CASES = [
    *[(aten.convolution.default, (X, W, bias, s, p, d, False, [0, 0], g))
      for bias in (None, B) for s in ([1, 1], [2, 3]) for p in ([0, 0], [1, 2])
      for d in ([1, 1], [3, 2], [4, 1]) for g in (2, 3)],
    (aten.convolution.default, (X, W, C, [1, 1], [0, 0], [1, 1], False, [0, 0], 2)),
    (aten.convolution.default, (X, meta(4, 4, 3, 3), None, [1], [0], [1], True, [0], 1)),
    *[(pool, (X, kernel, stride, padding)) for pool, kernel, stride, padding in POOLS],
    (aten.max_pool2d_with_indices.default, (X, [2], [], [0], [2])),
    (aten.max_pool2d_with_indices.default, (X, [2], [2], [1], [1], True)),
    (aten.avg_pool2d.default, (X, [2], [2], [1], True, False, 3)),
    (aten.avg_pool2d.default, (meta(4, 7, 5), [2])),
    *[(aten.native_batch_norm.default, (x, C, None, C, C, False, 0.1, 1e-5))
      for x in (X, NHWC, meta(2, 4), meta(2, 4, 3))],
    (aten.native_batch_norm.default, (X, C, C, None, None, True, 0.1, 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 7, 4), [4], C, C, 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 7, 4), [7, 4], None, None, 1e-5)),
    (aten.mm.default, (meta(3, 4), meta(4, 5))),
    (aten.mm.default, (meta(3, 4), meta(5, 5))),
    (aten.addmm.default, (meta(5), meta(3, 4), meta(4, 5))),
    (aten.addmm.default, (meta(3, 5), meta(3, 4), meta(4, 5))),
    *[(aten._softmax.default, (X, dim, False)) for dim in (1, -1, 4)],
    *[(op, (X, dims, keep)) for op in (aten.mean.dim, aten.amax.default)
      for dims in ([2, 3], [-1], [0], [1, 1], [4]) for keep in (True, False)],
    (aten._adaptive_avg_pool2d.default, (X, [3, 4])),
    (aten._adaptive_avg_pool2d.default, (meta(4, 7, 5), [3, 4])),
    (aten.upsample_nearest2d.default, (X, [9, 3])),
    (aten.upsample_bilinear2d.default, (X, [9, 3], True, 2.0, 2.0)),
    (aten.upsample_nearest2d.default, (X, [0, 3])),
    *[(aten.cat.default, ([X, other], dim))
      for other in (X, meta(2, 3, 7, 5), meta(2, 3)) for dim in (1, -1, 0, 7)],
    *[(getattr(aten, row.operator).default, (x, *[0.5] * len(row.parameters)))
      for row in FUNCTIONS.values() if row.operator
      for x in (X, NHWC, meta(2, 1, 7, 5).expand(2, 4, 7, 5))],
    *[(getattr(aten, name).default, (X,)) for name in ("neg", "gelu", "sigmoid_")],
    (aten.hardtanh.default, (X, 0, 6)),
    (aten.clamp.default, (X, 0, None)),
    *[(aten.add.Tensor, (X, other))
      for other in (NHWC, C, meta(4, 1, 1), meta(3, 1), 2.0, X.long())],
    (aten.add.Tensor, (C, NHWC)),
    (aten.add.Tensor, (meta(4, 1), meta(5))),
    (aten.mul_.Tensor, (X, meta(4, 1, 1))),
    (aten.mul_.Tensor, (meta(4, 1, 1), X)),
    (aten.rsub.Scalar, (X, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "arguments"), CASES)
def test_a_quick_rule_agrees_with_pytorch(operator, arguments):
    quick = quick_result(operator, arguments, {})
    if quick is None:
        return
    wanted = operator(*arguments)
    pairs = (
        [(quick, wanted)] if isinstance(wanted, torch.Tensor) else zip(quick, wanted, strict=True)
    )
    for one, other in pairs:
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
        if operator.overloadpacket in (aten.relu, aten.add):
            assert one.stride() == other.stride()


def test_every_rule_answers_somewhere():
    answered = {op for op, args in CASES if quick_result(op, args, {}) is not None}
    names = {op.overloadpacket.__name__ for op in RULES}
    known = {op.overloadpacket.__name__ for op in answered}
    known |= {"clamp_min", "clamp_max", "sub", "div", "mul", "maximum", "minimum"}
    assert names <= known | {f"{name}_" for name in known}


def test_other_types_and_options_are_left_to_pytorch():
    assert quick_result(aten.relu.default, (X.half(),), {}) is None
    assert quick_result(aten.mean.dim, (X, [1]), {"dtype": torch.float64}) is None
    assert quick_result(aten.cumsum.default, (X, 1), {}) is None


@pytest.mark.parametrize(
    "shapes", [((2, 1), (3,)), ((4, 1, 1), (2, 4, 7, 5)), ((), (2,)), ((0,), (1,))]
)
def test_broadcast(shapes):
    assert broadcast(*shapes) == tuple(torch.broadcast_shapes(*shapes))
