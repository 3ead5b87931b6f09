"""Blocks that change height and width."""

from tests.helpers.fuzz.drawing import Drawing


def max_pool(draw: Drawing, x: str) -> str:
    kernel = draw.among(2, 3, 3, 5, (1, 3), (3, 2))
    stride = draw.among(1, 2, 2, 3, (2, 1))
    least = kernel if isinstance(kernel, int) else min(kernel)
    facts = f"{kernel}, {stride}, {draw.between(0, least // 2)}, ceil_mode={draw.chance(0.3)}"
    if draw.chance(0.1):
        facts += ", dilation=2"
    return draw.line(f"F.max_pool2d({x}, {facts})")


def avg_pool(draw: Drawing, x: str) -> str:
    kernel = draw.among(2, 3, 3, 5, (1, 3), (3, 2))
    least = kernel if isinstance(kernel, int) else min(kernel)
    facts = f"{kernel}, {draw.among(1, 2, 3, (2, 1))}, {draw.between(0, least // 2)}"
    facts += f", ceil_mode={draw.chance(0.3)}, count_include_pad={draw.chance(0.5)}"
    if draw.chance(0.1):
        facts += ", divisor_override=7"
    return draw.line(f"F.avg_pool2d({x}, {facts})")


def adaptive_pool(draw: Drawing, x: str) -> str:
    size = draw.among(1, 1, 2, 3, 7, (1, 4), (None, 3), (5, 2))
    return draw.line(f"F.adaptive_{draw.among('avg', 'max')}_pool2d({x}, {size})")


def global_pool(draw: Drawing, x: str) -> str:
    kinds = (
        "{x}.mean((2, 3), keepdim=True)",
        "{x}.mean((-1, -2), keepdim=True)",
        "{x}.amax((2, 3), keepdim=True)",
        "{x}.sum((2, 3), keepdim=True) / ({x}.shape[2] * {x}.shape[3])",
        "F.adaptive_avg_pool2d({x}, 1)",
        "F.adaptive_max_pool2d({x}, 1)",
    )
    return draw.line(draw.among(*kinds).format(x=x))


def upsample(draw: Drawing, x: str) -> str:
    mode = draw.among("nearest", "nearest", "bilinear", "bilinear", "bilinear", "bicubic", "area")
    facts = f"mode={mode!r}"
    if mode in ("bilinear", "bicubic"):
        facts += f", align_corners={draw.chance(0.5)}"
    if draw.chance(0.5):
        height, width = draw.size(x)
        size = (draw.between(1, 2 * height + 1), draw.between(1, 2 * width + 1))
        return draw.line(f"F.interpolate({x}, size={size}, {facts})")
    scale = draw.among(2, 2, 3, 1.5, 0.5, 1.3, (2.0, 1.0))
    return draw.line(f"F.interpolate({x}, scale_factor={scale}, {facts})")


def pad(draw: Drawing, x: str) -> str:
    mode = draw.among("constant", "constant", "constant", "reflect", "replicate", "circular")
    around = tuple(draw.between(-1 if draw.chance(0.1) else 0, 2) for _ in range(4))
    value = f", value={draw.among(0.0, 0.5, -1.0)}" if mode == "constant" else ""
    return draw.line(f"F.pad({x}, {around}, mode={mode!r}{value})")


def pixel_shuffle(draw: Drawing, x: str) -> str:
    if draw.channels(x) % 4 == 0:
        return draw.line(f"F.pixel_shuffle({x}, 2)")
    return draw.line(f"F.pixel_unshuffle({x}, 2)")
