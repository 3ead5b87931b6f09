"""Blocks that change numbers one by one, or normalize them."""

from tests.helpers.fuzz.drawing import Drawing, Unfit

ACTIVATIONS = (
    "F.relu({x})",
    "F.relu({x}, inplace=True)",
    "{x}.relu()",
    "{x}.relu_()",
    "F.relu6({x})",
    "F.hardtanh({x}, -0.5, 1.5)",
    "{x}.clamp(min=-0.5)",
    "{x}.clamp(max=0.75)",
    "torch.clamp({x}, -1, 2)",
    "F.leaky_relu({x}, 0.1)",
    "F.leaky_relu({x}, 0.3, inplace=True)",
    "torch.sigmoid({x})",
    "F.silu({x})",
    "F.silu({x}, inplace=True)",
    "F.hardsigmoid({x})",
    "F.hardswish({x})",
    "torch.tanh({x})",
    "F.gelu({x})",
    "F.gelu({x}, approximate='tanh')",
    "{x} * torch.sigmoid({x})",
    "{x} * F.relu6({x} + 3) / 6",
)
"""What the compiler has native code for."""

OTHER_FUNCTIONS = (
    "F.elu({x})",
    "F.celu({x}, 0.7)",
    "F.softplus({x})",
    "F.mish({x})",
    "F.selu({x})",
    "F.softsign({x})",
    "F.logsigmoid({x})",
    "torch.exp(-{x}.abs())",
    "torch.where({x} > 0, {x}, 0.1 * {x})",
    "{x}.abs()",
    "{x}.square()",
    "torch.sqrt({x}.square() + 1)",
    "torch.rsqrt({x}.square() + 1)",
    "{x}.pow(2)",
    "-{x}",
    "torch.erf({x})",
    "torch.log1p({x}.abs())",
    "torch.sin({x})",
)

WITH_NUMBERS = (
    "{x} + 1",
    "1 - {x}",
    "{x} * 0.5",
    "{x} / 3",
    "2 / ({x}.abs() + 1)",
    "torch.add({x}, 1, alpha=0.5)",
    "torch.rsub({x}, 1)",
    "torch.maximum({x}, torch.zeros((), dtype={x}.dtype))",
)

OF_TWO = (
    "{x} + {y}",
    "{x} - {y}",
    "{y} - {x}",
    "{x} * {y}",
    "{x} / ({y}.abs() + 1)",
    "torch.maximum({x}, {y})",
    "torch.minimum({y}, {x})",
    "torch.add({x}, {y}, alpha=0.5)",
    "torch.sub({x}, {y}, alpha=2)",
    "torch.lerp({x}, {y}, 0.25)",
    "torch.addcmul({x}, {x}, {y}, value=0.5)",
    "({x} + {y}).relu()",
)


def activation(draw: Drawing, x: str) -> str:
    if draw.chance(0.1):
        kind = draw.among("ReLU6(inplace=True)", "PReLU()", "Hardswish(inplace=True)", "Identity()")
        return draw.line(f"{draw.layer(f'nn.{kind}')}({x})")
    if draw.chance(0.1):
        return draw.line(draw.among(*OTHER_FUNCTIONS).format(x=x))
    return draw.line(draw.among(*ACTIVATIONS).format(x=x))


def arithmetic_with_numbers(draw: Drawing, x: str) -> str:
    return draw.line(draw.among(*WITH_NUMBERS).format(x=x))


def arithmetic(draw: Drawing, x: str) -> str:
    """Two values of one shape, or one that is repeated along height, width or channels."""
    images, channels, height, width = draw.shape(x)
    kind = draw.among("value", "value", "value", "channels", "pixels", "row", "buffer", "buffer")
    if kind == "value":
        y = draw.another(x)
    elif kind == "channels":
        other = draw.another(x, lambda shape: shape[:2] == (images, channels))
        y = draw.line(f"{other}.mean((2, 3), keepdim=True)")
    elif kind == "pixels":
        y = draw.line(f"{draw.another(x)}.mean(1, keepdim=True)")
    elif kind == "row":
        y = draw.line(f"{draw.another(x)}.mean({draw.among(2, 3)}, keepdim=True)")
    else:
        shape = draw.among((channels, 1, 1), (1, channels, 1, 1), (1, 1, height, width), (1,))
        y = draw.buffer(f"torch.linspace(-1, 2, {_count(shape)}).reshape({shape})")
    return draw.line(draw.among(*OF_TWO).format(x=x, y=y))


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def batch_norm(draw: Drawing, x: str) -> str:
    facts = draw.among("", "", ", affine=False", ", eps=0.01")
    return draw.line(f"{draw.layer(f'nn.BatchNorm2d({draw.channels(x)}{facts})')}({x})")


def layer_norm(draw: Drawing, x: str) -> str:
    """ConvNeXt's: of the channels of each pixel."""
    channels = draw.channels(x)
    if channels < 4:  # of a few channels, rounding is what is left
        raise Unfit
    called = draw.layer(f"nn.LayerNorm({channels}{draw.among('', ', elementwise_affine=False')})")
    return draw.line(f"{called}({x}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)")


def group_norm(draw: Drawing, x: str) -> str:
    """Not native; of a value, or of one that lies in memory in another order."""
    _, channels, height, width = draw.shape(x)
    groups = draw.among(*(g for g in (1, 2, 3, 4, 8) if channels % g == 0))
    if channels // groups * height * width < 4:
        raise Unfit
    called = draw.layer(f"nn.GroupNorm({groups}, {channels})")
    if draw.chance(0.2):
        return draw.line(f"{called}({x}.transpose(2, 3))")
    return draw.line(f"{called}({x})")


def softmax(draw: Drawing, x: str) -> str:
    return draw.line(
        f"{draw.among('F.softmax', 'torch.softmax')}({x}, {draw.among(1, 1, 1, 2, 3)})"
    )


def normalize(draw: Drawing, x: str) -> str:
    return draw.line(f"F.normalize({x} + 1, dim=1)")
