"""The pictures of docs/compiler-tour.md show what is planned, and the tour's lines run."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.picturing.band import band_of, draw_band
from benchmarks.picturing.block import block_of, draw_block
from benchmarks.picturing.memory import draw_memory, memory_of
from benchmarks.picturing.product import draw_product, product_of
from benchmarks.picturing.road import draw_road, road_of
from benchmarks.picturing.subject import Subject
from benchmarks.picturing.threads import draw_threads, measure_spans
from benchmarks.picturing.tile import Reader, Sum, draw_inner_loop, inner_loop_of
from benchmarks.picturing.tour import PLANNED, TARGET, tour_network
from onebyone.compiler.target import TARGETS, host_target
from onebyone.nn import InvertedResidual, PointwiseConv2d

DOCS = Path(__file__).parents[2] / "docs"
TOUR = DOCS / "compiler-tour.md"
LARGEST_PICTURE_BYTES = 150_000


class Tiny(nn.Module):
    """A block whose expanded rows are larger than a core's cache, and a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.block = InvertedResidual(16, 64, 16)
        self.wider = PointwiseConv2d(16, 96, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(self.wider(self.block(x)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture(scope="module")
def example():
    return torch.randn(1, 16, 72, 72)


@pytest.fixture(scope="module")
def subject(network, example):
    return Subject.of(network, example, TARGETS["avx512"])


def test_the_road_has_every_module_and_every_operation(network, subject):
    road = road_of(subject)
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    assert sum(kind.startswith(("1x1", "3x3")) for kind in road.layers) == len(convolutions)
    assert road.layers.count("batch norm") == len(norms)
    assert road.nodes.count("batch norm") == road.nodes.count("add") == 0
    assert road.operations == len(subject.plan.operations)
    # What runs by rows has a square for each of its convolutions.
    squares = [kind for group in road.groups for kinds in group for kind in kinds]
    assert [kind for kind in squares if kind != "border"] == list(road.nodes)
    assert road.weight_bytes >= 4 * sum(one.weight.numel() for one in convolutions)


def test_a_blocks_layers_go_into_its_multiply_adds(network, example, subject):
    block = block_of(subject, "block")
    assert [layer.name for layer in block.layers if layer.reads_outside] == ["add"]
    assert {layer.node for layer in block.layers} == set(range(len(block.nodes)))
    assert {node.operation for node in block.nodes} == set(range(len(block.steps)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.block(example)
    assert sum(node.macs for node in block.nodes) == counter.get_total_flops() // 2
    with pytest.raises(LookupError, match=r"^no layer of 'blok'$"):
        block_of(subject, "blok")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_chunks_share_out_all_tiles_and_threads_all_chunks(subject, threads):
    product = product_of(subject, "wider", threads)
    done = [one for chunk in range(len(product.chunks)) for one in product.order(chunk)]
    everything = {(t, b) for t in range(product.tiles) for b in range(product.blocks)}
    assert len(done) == len(set(done))
    assert set(done) == everything
    assert sorted(n for share in product.shares for n in share) == list(range(len(product.chunks)))
    assert product.pixels == 72 * 72
    with pytest.raises(LookupError, match="'pool' is global average pool, and not a product"):
        product_of(subject, "pool")


def test_packed_weights_lie_where_the_picture_says(network, subject):
    product = product_of(subject, "wider")
    packed = subject.plan.constants.block().view(torch.float32)
    weight, width = network.wider.matrix.detach(), product.vectors * product.lanes
    for panel in range(product.blocks):
        at = (product.weights_at + panel * product.panel_bytes) // 4
        rows = packed[at : at + product.in_channels * width].view(product.in_channels, width)
        own = weight[panel * width : (panel + 1) * width]
        torch.testing.assert_close(rows[:, : len(own)], own.T, rtol=0, atol=0)


def test_bands_compute_every_row_once_and_read_what_a_convolution_reads(subject):
    band = band_of(subject, "block")
    bands = range(band.bands)
    assert [row for one in bands for row in band.results(one)] == list(range(72))
    computed = [row for one in bands for row in band.reads(one) if row not in band.kept(one)]
    assert computed == list(range(-1, 73))  # a row of zeros above, and one below
    for one in bands:
        assert len(band.reads(one)) <= band.window
        reached = {row + tap for row in band.results(one) for tap in (-1, 0, 1)}
        assert set(band.reads(one)) == reached
    assert band.window_bytes < band.whole_bytes == 4 * 64 * 72 * 72
    with pytest.raises(LookupError, match="no block of three convolutions"):
        band_of(subject, "wider")


def overlapping(memory):
    """Pairs of values that lie in the same bytes at the same time."""
    return [
        (one.name, other.name)
        for number, one in enumerate(memory.values)
        for other in memory.values[:number]
        if one.first <= other.last
        and other.first <= one.last
        and one.start < other.stop
        and other.start < one.stop
    ]


def test_values_that_live_together_lie_apart(subject):
    memory = memory_of(subject)
    assert overlapping(memory) == []
    assert max(value.stop for value in memory.values) <= memory.arena_bytes
    assert all(1 <= value.first <= value.last <= memory.groups for value in memory.values)
    # One that lives on too long would be found.
    first, second, *others = memory.values
    moved = replace(second, start=first.start, first=first.first)
    assert overlapping(replace(memory, values=(first, moved, *others)))


@pytest.mark.parametrize("name", ["avx512", "avx2"])
def test_the_inner_loop_adds_each_product_once(network, example, name):
    loop = inner_loop_of(Subject.of(network, example, TARGETS[name]), "wider")
    sums = [one.deed for one in loop.instructions if isinstance(one.deed, Sum)]
    assert len(sums) == len(set(sums)) == loop.unroll * loop.pixels * loop.vectors
    assert {one.step for one in sums} == set(range(loop.unroll))
    assert len(loop.registers()) == loop.pixels * loop.vectors
    assert loop.depth == 16


def test_an_instruction_that_mixes_steps_is_found():
    reader = Reader(vectors=2, lanes=16)
    for line in ("vmovups\t128(%rsi), %zmm1", "vbroadcastss\t(%rdx,%r11,4), %zmm2"):
        reader.read(line)
    with pytest.raises(ValueError, match="multiplies"):
        reader.read("vfmadd231ps\t%zmm1, %zmm2, %zmm3")
    reader.read("vbroadcastss\t4(%rdx,%r11,4), %zmm2")
    assert reader.read("vfmadd231ps\t%zmm1, %zmm2, %zmm3").deed == Sum(step=1, pixel=0, vector=0)


@pytest.fixture(scope="module")
def spans(network, example):
    return measure_spans(network, example, host_target(), threads=2, calls=2)


def test_groups_follow_each_other(network, example, spans):
    plan = Subject.of(network, example, host_target()).plan
    numbers = range(1, len(plan.groups) + 1)
    assert {span.group for span in spans} == set(numbers)
    for before, after in pairwise(numbers):
        ends = [span.end for span in spans if span.group == before]
        starts = [span.start for span in spans if span.group == after]
        assert max(ends) <= min(starts)


def test_all_are_drawn(subject, spans):
    loop = inner_loop_of(subject, "wider")
    drawings = {
        "road": draw_road(road_of(subject), "Tiny"),
        "block": draw_block(block_of(subject, "block")),
        "product": draw_product(product_of(subject, "wider")),
        "band": draw_band(band_of(subject, "block"), 1),
        "memory": draw_memory(memory_of(subject)),
        "threads": draw_threads(spans, "Tiny"),
        "tile": draw_inner_loop(loop),
    }
    for name, drawing in drawings.items():
        words = [one.text for one in ElementTree.fromstring(drawing).iter() if one.text]
        assert len(words) > 5, name
        assert "NaN" not in drawing, name
    assert f"{len(loop.instructions)} instructions a turn" in drawings["tile"]


def test_the_tours_pictures_are_there_and_small():
    text = TOUR.read_text()
    pictures = [DOCS / one for one in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)]
    assert len(pictures) == 7
    for picture in pictures:
        assert picture.stat().st_size < LARGEST_PICTURE_BYTES, picture
        ElementTree.parse(picture)
    assert set(pictures) == set((DOCS / "images" / "compiler").iterdir())


def test_the_tours_pictures_show_the_present_plan():
    subject = Subject.of(*tour_network(), TARGET)
    for name in ("block", "product", "band"):  # others depend on versions of LLVM or Vega
        kept = (DOCS / "images" / "compiler" / f"{name}.svg").read_text()
        assert kept == PLANNED[name](subject), "run benchmarks/compiler_pictures.py"


def test_the_tours_lines_print_what_it_says(capsys):
    parts = re.findall(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", TOUR.read_text(), re.DOTALL)
    assert sum(bool(said) for _, said in parts) > 5
    names: dict[str, object] = {}
    for lines, said in parts:
        exec(compile(lines, TOUR.name, "exec"), names)
        shown = capsys.readouterr().out
        assert not said or shown == said
        if "assembly" in lines:
            assert "vfmadd231ps" in shown
