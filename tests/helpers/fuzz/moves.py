"""Blocks that only move numbers, and the heads behind them."""

from tests.helpers.fuzz.drawing import MOST_WORK, Drawing, Unfit
from tests.helpers.fuzz.numbers import activation


def concatenation(draw: Drawing, x: str) -> str:
    """Values of one height and width, some of them twice."""
    images, _, height, width = draw.shape(x)
    found = draw.images(lambda shape: (shape[0], *shape[2:]) == (images, height, width))
    parts = [x, *(draw.among(*found) for _ in range(draw.between(0, 3)))]
    draw.random.shuffle(parts)
    return draw.line(f"torch.cat([{', '.join(parts)}], 1)")


def dense_block(draw: Drawing, x: str) -> str:
    """DenseNet's: each concatenation begins the next one."""
    for _ in range(draw.between(1, 3)):
        called = draw.layer(f"nn.Conv2d({draw.channels(x)}, {draw.among(3, 8, 12)}, 3, padding=1)")
        new = activation(draw, draw.line(f"{called}({x})"))
        x = draw.line(f"torch.cat([{x}, {new}], 1)")
    return x


def part(draw: Drawing, x: str) -> str:
    """A part of the channels, rows or columns."""
    dim = draw.among(1, 1, 1, 2, 3)
    size = draw.shape(x)[dim]
    start = draw.between(0, size // 2)
    stop = draw.between(start + 1, size)
    step = draw.among(1, 1, 1, 2)
    index = f"{start}:{stop}:{step}" if step > 1 else f"{start}:{stop}"
    before = ":, " * dim
    if step == 1 and draw.chance(0.3):
        return draw.line(f"{x}.narrow({dim}, {start}, {stop - start})")
    return draw.line(f"{x}[{before}{index}]")


def halves(draw: Drawing, x: str) -> str:
    """Split, and put together otherwise: cross-stage networks, ShuffleNet."""
    half = draw.channels(x) // 2
    if not half:
        raise Unfit
    left = draw.among(f"{x}.chunk(2, 1)[0]", f"{x}[:, :{half}]", f"torch.split({x}, {half}, 1)[0]")
    right = draw.among(f"{x}.chunk(2, 1)[1]", f"{x}[:, {half}:]", f"torch.split({x}, {half}, 1)[1]")
    a, b = draw.line(left), draw.line(right)
    b = activation(draw, draw.line(f"{_mixer(draw, b)}({b})"))
    return draw.line(f"torch.cat([{a}, {b}], 1)")


def _mixer(draw: Drawing, x: str) -> str:
    return draw.layer(f"nn.Conv2d({draw.channels(x)}, {draw.channels(x)}, 1)")


def shuffle(draw: Drawing, x: str) -> str:
    channels = draw.channels(x)
    groups = draw.among(*(g for g in (1, 2, 3, 4, 8, channels) if channels % g == 0))
    if draw.chance(0.5):
        return draw.line(f"F.channel_shuffle({x}, {groups})")
    n, c, h, w = (f"{x}.shape[{place}]" for place in range(4))
    seen = f"{x}.reshape({n}, {groups}, {c} // {groups}, {h}, {w})"
    return draw.line(f"{seen}.transpose(1, 2).reshape({n}, {c}, {h}, {w})")


def channels_last_linear(draw: Drawing, x: str) -> str:
    """ConvNeXt's perceptron: a linear layer on the last dimension."""
    _, channels, height, width = draw.shape(x)
    wide = draw.width()
    if channels * wide * height * width > MOST_WORK:
        raise Unfit
    called = draw.layer(f"nn.Linear({channels}, {wide})")
    columns = draw.line(f"{x}.permute(0, 2, 3, 1)")
    columns = draw.line(f"{called}({columns})")
    if draw.chance(0.5):
        columns = draw.line(f"F.gelu({columns})")
    back = draw.line(f"{columns}.permute(0, 3, 1, 2)")
    return draw.line(f"{back}.contiguous()") if draw.chance(0.2) else back


def turned(draw: Drawing, x: str) -> str:
    """Rows for columns, mirrored, rolled, repeated."""
    kinds = (
        "{x}.transpose(2, 3)",
        "{x}.transpose(2, 3).contiguous()",
        "{x}.flip(3)",
        "torch.roll({x}, (1, 2), (2, 3))",
        "{x}.repeat(1, 2, 1, 1)",
        "{x}.contiguous(memory_format=torch.channels_last)",
        "{x}.clone()",
        "{x}.mean((2, 3), keepdim=True).expand_as({x})",
        "{x}.unsqueeze(2).squeeze(2)",
        "torch.stack([{x}, {x} + 1], 2).flatten(1, 2)",
        "{x}.view({x}.shape)",
    )
    return draw.line(draw.among(*kinds).format(x=x))


def flatten(draw: Drawing, x: str) -> str:
    """The end of most networks: a vector."""
    if draw.chance(0.6):
        mean = draw.among("{x}.mean((2, 3))", "F.adaptive_avg_pool2d({x}, 1).flatten(1)")
        return draw.line(mean.format(x=x))
    if draw.values[x][0].numel() > 4000:
        raise Unfit
    return draw.line(draw.among("{x}.flatten(1)", "{x}.reshape({x}.shape[0], -1)").format(x=x))


def linear(draw: Drawing, x: str) -> str:
    """Of a vector `(N, C)`."""
    facts = draw.among("", "", ", bias=False")
    called = draw.layer(f"nn.Linear({draw.shape(x)[1]}, {draw.width()}{facts})")
    return draw.line(f"{called}({x})")


def vector_function(draw: Drawing, x: str) -> str:
    kinds = (
        "F.relu({x})",
        "F.softmax({x}, 1)",
        "{x}.tanh()",
        "{x} + 1",
        "F.silu({x})",
        "{x} * {x}",
    )
    return draw.line(draw.among(*kinds).format(x=x))


def vector_norm(draw: Drawing, x: str) -> str:
    width = draw.shape(x)[1]
    if width < 4:
        raise Unfit
    return draw.line(f"{draw.layer(f'nn.LayerNorm({width})')}({x})")


def vector_to_image(draw: Drawing, x: str) -> str:
    return draw.line(
        draw.among("{x}[:, :, None, None]", "{x}.unflatten(1, (-1, 1, 1))").format(x=x)
    )
