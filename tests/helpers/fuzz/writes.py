"""Blocks that write into values that are there, as PyTorch lets people do."""

from tests.helpers.fuzz.drawing import Drawing, Unfit

WHOLE = ("{x}.add_(1)", "{x}.mul_(0.5)", "{x} += 0.25", "{x}.clamp_(min=0)", "{x}.sigmoid_()")
OF_TWO = ("{x}.add_({y})", "{x} += {y}", "{x}.mul_({y})", "{x}.copy_({y})", "{x} -= {y}")
PARTS = (
    "{x}[:, :{half}] += 1",
    "{x}[:, {half}:] *= 0.5",
    "{x}[:, :, ::2].zero_()",
    "{x}[..., 1:] = 0.5",
    "{x}.narrow(1, 0, {half} or 1).relu_()",
    "{x}[:, 0] = {x}[:, -1] + 1",
    "{x}.permute(0, 2, 3, 1).mul_(2)",
    "{x}.chunk(2, 1)[0].tanh_()",
)


def write_whole(draw: Drawing, x: str) -> str:
    return draw.write(draw.among(*WHOLE).format(x=x), x)


def write_of_two(draw: Drawing, x: str) -> str:
    return draw.write(draw.among(*OF_TWO).format(x=x, y=draw.another(x)), x)


def write_part(draw: Drawing, x: str) -> str:
    return draw.write(draw.among(*PARTS).format(x=x, half=draw.channels(x) // 2), x)


def write_input(draw: Drawing, x: str) -> str:
    """Into the caller's tensor; its value goes on, or another's."""
    writable = [name for name in draw.arguments if _is_writable(draw, name)]
    if not writable:
        raise Unfit
    name = draw.among(*writable)
    same = draw.shape(name) == draw.shape(x)
    kinds = WHOLE + PARTS + (OF_TWO if same else ())
    half = draw.channels(name) // 2
    draw.write(draw.among(*kinds).format(x=name, y=x, half=half), name)
    return x


def _is_writable(draw: Drawing, name: str) -> bool:
    value = draw.values[name]
    return value.ndim == 4 and all(
        stride or size == 1 for stride, size in zip(value.stride(), value.shape, strict=True)
    )
