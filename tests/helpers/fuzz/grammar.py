"""What networks are made of: a table of blocks, and how they follow each other."""

from collections.abc import Callable

from tests.helpers.fuzz import convolutions, images, moves, numbers, opaque, writes
from tests.helpers.fuzz.drawing import Drawing
from tests.helpers.fuzz.network import Network, write_text

Block = Callable[[Drawing, str], str]
"""Adds lines that read the value of that name, and returns the name of what they give."""

BLOCKS: dict[Block, int] = {
    convolutions.convolution: 10,
    convolutions.pointwise: 6,
    convolutions.square: 5,
    convolutions.padded_by_hand: 2,
    convolutions.depthwise: 5,
    convolutions.separable: 5,
    convolutions.inverted_bottleneck: 5,
    convolutions.bottleneck: 4,
    convolutions.squeeze_excite: 4,
    convolutions.branches: 4,
    convolutions.shared: 2,
    convolutions.reparametrized: 2,
    numbers.activation: 6,
    numbers.arithmetic: 7,
    numbers.arithmetic_with_numbers: 3,
    numbers.batch_norm: 3,
    numbers.layer_norm: 2,
    numbers.softmax: 2,
    numbers.group_norm: 1,
    numbers.normalize: 1,
    images.max_pool: 4,
    images.avg_pool: 4,
    images.adaptive_pool: 2,
    images.global_pool: 1,
    images.upsample: 5,
    images.pad: 2,
    images.pixel_shuffle: 1,
    moves.concatenation: 6,
    moves.dense_block: 2,
    moves.part: 4,
    moves.halves: 3,
    moves.shuffle: 3,
    moves.channels_last_linear: 2,
    moves.turned: 2,
    moves.flatten: 2,
    opaque.function: 1,
    opaque.topk: 1,
    opaque.conv_transpose: 1,
    opaque.attention: 1,
    opaque.rows_attention: 1,
    writes.write_whole: 2,
    writes.write_of_two: 1,
    writes.write_part: 1,
    writes.write_input: 1,
}
"""Blocks that read an image `(N, C, H, W)`, and how often they are drawn."""

VECTOR_BLOCKS: dict[Block, int] = {
    moves.linear: 4,
    moves.vector_function: 3,
    moves.vector_norm: 1,
    moves.vector_to_image: 3,
}
"""Blocks that read a vector `(N, C)`."""

LAYOUTS = {
    "contiguous": "torch.randn({n}, {c}, {h}, {w})",
    "channels last": "torch.randn({n}, {c}, {h}, {w}).to(memory_format=torch.channels_last)",
    "sliced": "torch.randn({n}, 2 * {c}, {h}, {w} + 3)[:, ::2, :, 2:-1]",
    "transposed": "torch.randn({n}, {c}, {w}, {h}).transpose(2, 3)",
    "expanded": "torch.randn({n}, {c}, 1, {w}).expand({n}, {c}, {h}, {w})",
    "mirrored batch": "torch.randn({h}, {c}, {n}, {w}).permute(2, 1, 0, 3)",
}
"""How the caller's tensors lie in memory."""

FIRST_CHANNELS = (3, 3, 1, 2, 4, 8, 16, 17, 33)


def draw_network(seed: int) -> Network:
    """Draw a network; the same for the same seed."""
    draw = Drawing(seed)
    batch = draw.among(1, 1, 1, 2, 3, 4)
    _draw_arguments(draw, batch)
    x = "a0"
    for _ in range(draw.among(2, 3, 4, 5, 6, 8, 10)):
        x = _draw_block(draw, x)
    return Network(
        seed=seed,
        text=write_text(draw, _draw_results(draw, x), seed),
        batch=batch,
        has_nan=draw.chance(0.1),
        is_direct=draw.chance(0.3),
        target=draw.among("", "", "", "", "avx2", "baseline"),
        level2_bytes=draw.among(0, 0, 0, 1 << 14, 1 << 16),
    )


def _draw_arguments(draw: Drawing, batch: int) -> None:
    """Mostly small images; a few are so large that convolutions run in bands."""
    side = draw.among((1, 8), (4, 16), (4, 16), (9, 33), (9, 33), (24, 64), (64, 128), (128, 256))
    height, width = draw.between(*side), draw.between(*side)
    for number in range(draw.among(1, 1, 1, 1, 2, 3)):
        channels = draw.among(*FIRST_CHANNELS)
        if number and draw.chance(0.3):  # a state, or a gate
            height, width = draw.among((height, width), (1, 1), (2 * height, 2 * width))
        layout = LAYOUTS[draw.among("contiguous", "contiguous", *LAYOUTS)]
        draw.argument(layout.format(n=batch, c=channels, h=height, w=width))


def _draw_block(draw: Drawing, x: str) -> str:
    """Draw a block behind `x`, or behind an earlier value; the next that fits."""
    found = [name for name, value in draw.values.items() if value.ndim in (2, 4)]
    if draw.chance(0.2):
        x = draw.among(*found)
    blocks = BLOCKS if draw.values[x].ndim == 4 else VECTOR_BLOCKS
    for _ in range(8):
        (block,) = draw.random.choices(list(blocks), list(blocks.values()))
        result = draw.attempt(block, x)
        if result is not None:
            return result
    return x


def _draw_results(draw: Drawing, x: str) -> str:
    """What `forward` returns: the last value, and sometimes others, an input or a constant."""
    results = [x]
    inner = [name for name in draw.values if name not in draw.arguments]
    while draw.chance(0.35):
        results.append(draw.among(*(inner or [x])))
    if draw.chance(0.05):
        results.append(draw.among(*draw.arguments))
    if draw.chance(0.05):
        results.append(draw.buffer("torch.linspace(-1, 1, 6).reshape(1, 6, 1, 1)"))
    if draw.chance(0.03):
        results.append("torch.ones(7, 3)")  # not as many as there are images
    draw.random.shuffle(results)
    if len(results) == 1:
        return results[0]
    if draw.chance(0.3):
        return f'{{"first": {results[0]}, "others": [{", ".join(results[1:])}]}}'
    return ", ".join(results)
