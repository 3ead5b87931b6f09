"""Blocks of convolutions: alone, in the patterns of known networks, and shared."""

from tests.helpers.fuzz.drawing import MOST_WORK, Drawing, Unfit
from tests.helpers.fuzz.numbers import activation, batch_norm

KERNELS = ((1, 1), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1), (3, 1), (1, 3), (2, 2), (4, 4), (3, 5))
SMALL_KERNELS = ((3, 3), (1, 1), (5, 5), (2, 2))


def add_convolution(draw: Drawing, x: str, channels: int, **facts) -> str:
    """One layer, called once; `facts` are those of `nn.Conv2d`."""
    return draw.line(f"{make_convolution(draw, x, channels, **facts)}({x})")


def make_convolution(draw: Drawing, x: str, channels: int, *, kernel_size=1, **facts) -> str:
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    area = draw.size(x)[0] * draw.size(x)[1] * draw.shape(x)[0]
    depth = draw.channels(x) // facts.get("groups", 1)
    if area * channels * depth * height * width > MOST_WORK:
        raise Unfit
    facts = {"kernel_size": kernel_size, **facts}
    told = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    return draw.layer(f"nn.Conv2d({draw.channels(x)}, {channels}, {told})")


def maybe_dressed(draw: Drawing, x: str) -> str:
    """What mostly follows a convolution: a batch norm, an activation, both or neither."""
    if draw.chance(0.4):
        x = batch_norm(draw, x)
    return activation(draw, x) if draw.chance(0.6) else x


def convolution(draw: Drawing, x: str) -> str:
    """Any kernel, stride, dilation, padding and number of groups."""
    kernel = draw.among(*KERNELS, (3, 3), (3, 3))
    dilation = draw.among(1, 1, 1, 2, (2, 1), (1, 3))
    reach = [
        (one - 1) * (dilation if isinstance(dilation, int) else dilation[place]) + 1
        for place, one in enumerate(kernel)
    ]
    stride = draw.among(1, 1, 1, 2, 2, 3, (1, 2), (2, 1))
    around = (reach[0] // 2, reach[1] // 2)
    padding = draw.among(around, around, around, 0, "valid", (draw.between(0, reach[0]), 1))
    if stride == 1 and draw.chance(0.2):
        padding = "same"
    groups = draw.among(1, 1, 1, *(g for g in (2, 3, 4, 8) if draw.channels(x) % g == 0))
    facts = {"kernel_size": kernel, "stride": stride, "dilation": dilation, "groups": groups}
    if draw.chance(0.1):
        facts["padding_mode"] = draw.among("circular", "reflect", "replicate")
    width = groups * max(1, draw.width() // groups)
    return maybe_dressed(
        draw, add_convolution(draw, x, width, padding=padding, **facts, bias=draw.chance(0.7))
    )


def pointwise(draw: Drawing, x: str) -> str:
    stride = draw.among(1, 1, 1, 2)
    return maybe_dressed(draw, add_convolution(draw, x, draw.width(), stride=stride))


def square(draw: Drawing, x: str) -> str:
    """3x3 with padding, dense: what Winograd's algorithm is for."""
    bias = draw.chance(0.5)
    x = add_convolution(draw, x, draw.width(), kernel_size=3, padding=1, bias=bias)
    return maybe_dressed(draw, x)


def padded_by_hand(draw: Drawing, x: str) -> str:
    """TensorFlow's way: more padding at the bottom and right."""
    top, left = draw.between(0, 2), draw.between(0, 2)
    pad = (left, left + draw.between(0, 1), top, top + draw.between(0, 1))
    padded = draw.line(f"F.pad({x}, {pad})")
    facts = {"kernel_size": draw.among(*SMALL_KERNELS), "stride": draw.among(1, 2)}
    return maybe_dressed(draw, add_convolution(draw, padded, draw.width(), **facts))


def add_depthwise(draw: Drawing, x: str) -> str:
    channels, kernel = draw.channels(x), draw.among(3, 3, 3, 5, 7, 2, (1, 5), (3, 1))
    dilation = draw.among(1, 1, 1, 2)
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(dilation * (one - 1) // 2 for one in sizes)
    facts = {"stride": draw.among(1, 1, 2, 3), "padding": padding, "dilation": dilation}
    facts["groups"] = channels
    return add_convolution(draw, x, channels, kernel_size=kernel, **facts)


def depthwise(draw: Drawing, x: str) -> str:
    if draw.chance(0.2):  # several outputs of each channel
        channels = draw.channels(x)
        return add_convolution(
            draw, x, 2 * channels, kernel_size=3, padding=draw.between(0, 1), groups=channels
        )
    return maybe_dressed(draw, add_depthwise(draw, x))


def separable(draw: Drawing, x: str) -> str:
    """MobileNetV1's pair, once or more."""
    for _ in range(draw.between(1, 3)):
        x = maybe_dressed(draw, add_depthwise(draw, x))
        x = maybe_dressed(draw, add_convolution(draw, x, draw.width()))
    return x


def inverted_bottleneck(draw: Drawing, x: str) -> str:
    """Wide in the middle; with a residual where shapes allow, sometimes gated."""
    start = x
    wide = maybe_dressed(draw, add_convolution(draw, x, min(96, draw.channels(x) * 3)))
    deep = maybe_dressed(draw, add_depthwise(draw, wide))
    if draw.chance(0.2):
        deep = squeeze_excite(draw, deep)
    narrow = draw.channels(start) if draw.chance(0.6) else draw.width()
    end = add_convolution(draw, deep, narrow, bias=draw.chance(0.5))
    if draw.shape(end) == draw.shape(start):
        return draw.line(draw.among(f"{end} + {start}", f"{start} + {end}"))
    return end


def bottleneck(draw: Drawing, x: str) -> str:
    """ResNet's: narrow in the middle, then the residual and its activation."""
    middle = maybe_dressed(draw, add_convolution(draw, x, max(1, draw.channels(x) // 4)))
    facts = {"kernel_size": 3, "padding": 1}
    middle = maybe_dressed(draw, add_convolution(draw, middle, draw.channels(middle), **facts))
    end = add_convolution(draw, middle, draw.channels(x))
    if draw.chance(0.5):
        end = batch_norm(draw, end)
    end = draw.line(draw.among(f"{end} + {x}", f"{x} + {end}", f"{end} + 0.5 * {x}"))
    return draw.line(f"F.relu({end}, inplace={draw.chance(0.5)})")


def squeeze_excite(draw: Drawing, x: str) -> str:
    channels = draw.channels(x)
    mean = draw.line(
        draw.among(
            f"{x}.mean((2, 3), keepdim=True)",
            f"F.adaptive_avg_pool2d({x}, 1)",
            f"F.avg_pool2d({x}, {draw.size(x)})",
        )
    )
    inner = activation(draw, add_convolution(draw, mean, max(1, channels // 4)))
    gate = draw.among("torch.sigmoid({})", "F.hardsigmoid({})", "{}.tanh()")
    gate = draw.line(gate.format(add_convolution(draw, inner, channels)))
    return draw.line(draw.among(f"{x} * {gate}", f"{gate} * {x}", f"{x}.mul({gate})"))


def branches(draw: Drawing, x: str) -> str:
    """An Inception block: 1x1s side by side, one before a 3x3, and a pooled one."""
    one = activation(draw, add_convolution(draw, x, draw.width()))
    two = activation(draw, add_convolution(draw, x, draw.width()))
    two = add_convolution(draw, two, draw.width(), kernel_size=3, padding=1)
    pooled = draw.line(f"F.{draw.among('max', 'avg')}_pool2d({x}, 3, 1, 1)")
    three = add_convolution(draw, pooled, draw.width())
    parts = [one, two, three, *([x] if draw.chance(0.3) else [])]
    draw.random.shuffle(parts)
    return draw.line(f"torch.cat([{', '.join(parts)}], 1)")


def shared(draw: Drawing, x: str) -> str:
    """One layer called twice, on its own result or on two values."""
    facts = draw.among({"kernel_size": 1}, {"kernel_size": 3, "padding": 1})
    called = make_convolution(draw, x, draw.channels(x), **facts)
    first = draw.line(f"{called}({x})")
    other = draw.another(x) if draw.chance(0.5) else activation(draw, first)
    second = draw.line(f"{called}({other})")
    return draw.line(f"{first} + {second}") if draw.chance(0.5) else second


def reparametrized(draw: Drawing, x: str) -> str:
    """RepVGG's sum of a 3x3, a 1x1 and a batch norm of one value."""
    channels = draw.channels(x)
    wide = add_convolution(draw, x, channels, kernel_size=3, padding=1, bias=False)
    narrow = add_convolution(draw, x, channels, bias=False)
    terms = [batch_norm(draw, wide), batch_norm(draw, narrow), batch_norm(draw, x)]
    return activation(draw, draw.line(" + ".join(terms)))
