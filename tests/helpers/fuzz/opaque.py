"""Blocks that PyTorch runs between native code."""

from tests.helpers.fuzz.drawing import MOST_WORK, Drawing, Unfit

FUNCTIONS = (
    "{x}.cumsum({dim})",
    "torch.sort({x}, dim={dim})[0]",
    "torch.logsumexp({x}, {dim}, keepdim=True).expand_as({x})",
    "F.lp_pool2d({x}.abs() + 1, 2, 2)",
    "F.local_response_norm({x}, 3)",
    "F.unfold({x}, 1).reshape({x}.shape)",
    "torch.cumprod({x}.tanh(), {dim})",
    "F.dropout({x}, 0.5, training=False)",
    "F.glu(torch.cat([{x}, {x}], 1), 1)",
    "{x}.median(1, keepdim=True)[0] + {x}",
    "torch.einsum('nchw,nkhw->nckh', {x}, {x}) / {x}.shape[3]",
    "torch.tril({x})",
    "{x}.to({x}.dtype)",
)


def function(draw: Drawing, x: str) -> str:
    dim = draw.among(1, 2, 3)
    return draw.line(draw.among(*FUNCTIONS).format(x=x, dim=dim))


def topk(draw: Drawing, x: str) -> str:
    """Only the values: which of two equal ones comes first is nobody's promise."""
    return draw.line(f"{x}.topk({draw.between(1, draw.channels(x))}, dim=1)[0]")


def conv_transpose(draw: Drawing, x: str) -> str:
    channels, wide = draw.channels(x), draw.width()
    height, width = draw.size(x)
    if channels * wide * height * width * 9 > MOST_WORK:
        raise Unfit
    facts = draw.among("2, stride=2", "3, stride=2, padding=1, output_padding=1", "3", "1")
    return draw.line(f"{draw.layer(f'nn.ConvTranspose2d({channels}, {wide}, {facts})')}({x})")


def attention(draw: Drawing, x: str) -> str:
    """Every pixel looks at all pixels, in one of the ways that people write it."""
    _, channels, height, width = draw.shape(x)
    pixels = height * width
    if pixels > 256:
        raise Unfit
    scale = f"{channels} ** -0.5"
    tokens = draw.line(f"{x}.flatten(2).transpose(1, 2)")
    kind = draw.among("matmul", "bmm", "einsum", "sdpa", "channels")
    if kind == "sdpa":
        mixed = draw.line(f"F.scaled_dot_product_attention({tokens}, {tokens}, {tokens})")
    elif kind == "channels":
        seen = draw.line(f"({tokens}.transpose(1, 2) @ {tokens} / {pixels}).softmax(-1)")
        mixed = draw.line(f"{tokens} @ {seen}")
    else:
        products = {
            "matmul": f"{tokens} @ {tokens}.transpose(1, 2)",
            "bmm": f"torch.bmm({tokens}, {tokens}.transpose(1, 2))",
            "einsum": f"torch.einsum('npc,nqc->npq', {tokens}, {tokens})",
        }
        seen = draw.line(f"({products[kind]} * {scale}).softmax(-1)")
        mixed = draw.line(f"torch.bmm({seen}, {tokens})")
    size = f"{x}.shape[2], {x}.shape[3]"
    back = draw.line(f"{mixed}.transpose(1, 2).reshape({x}.shape[0], {channels}, {size})")
    return draw.line(f"{x} + {back}")


def rows_attention(draw: Drawing, x: str) -> str:
    """Products of matrices with sizes of 1 among them."""
    if draw.size(x)[0] * draw.size(x)[1] ** 2 * draw.channels(x) > MOST_WORK:
        raise Unfit
    return draw.line(f"{x} @ {x}.transpose(2, 3).softmax(-1)")
