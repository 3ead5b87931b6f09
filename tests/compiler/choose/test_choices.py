"""Choices are data: any of them may be replaced, and no number changes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.compiler import compile_model, plan_model
from onebyone.compiler.choose.choices import Band, Choices
from onebyone.compiler.choose.choose import choose
from onebyone.compiler.choose.filtering import winograds_for
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.target import TARGETS, can_run, host_target, is_able
from onebyone.errors import CompileError
from onebyone.graph import Convolution, Function, capture
from onebyone.models import create_model
from tests.compiler.every_kind import EveryKind
from tests.helpers.compiled import Net, run_graph


@pytest.fixture(scope="module")
def everything():
    x = torch.randn(2, 3, 17, 15, generator=torch.Generator().manual_seed(0))
    return rewrite_graph(capture(EveryKind().eval(), (x,)).graph), x


def is_direct(node, one):
    is_dense = isinstance(node, Convolution) and not node.is_depthwise
    return is_dense and not (one.winograd or one.band or one.along_rows)


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_other_choices_give_the_same_bits(everything, data):
    """Tiles, parts and inner loops, for every node; the algorithm is what results depend on."""
    graph, x = everything
    parts = st.tuples(st.integers(1, 7), st.integers(1, 7))
    chosen = {}
    for name, one in choose(graph, host_target()).items():
        tile = one.tile and TileSize(data.draw(st.integers(1, 6)), data.draw(st.integers(1, 2)))
        inner, shared = (data.draw(st.sampled_from(["channels", "pixels"])) for _ in range(2))
        may_be_cut = inner == "pixels" and is_direct(graph.nodes.get(name), one)
        rows = graph[name].kernel_size[0] if may_be_cut else 1
        chosen[name] = replace(
            one,
            tile=tile,
            inner=inner,
            shared=shared,
            kernel_parts=data.draw(st.sampled_from([1, rows])),
            parts=data.draw(parts),
            transform_parts=data.draw(parts),
        )
    expected = run_graph(graph, [x], threads=1)
    got = run_graph(graph, [x], threads=2, chosen=chosen)
    assert all(map(torch.equal, got, expected))


CUT = [
    (target, numerics)
    for target in TARGETS.values()
    for numerics in ("fp32-direct", "fp16-weights", "bf16")
    if can_run(target) and is_able(target, numerics)
    if target.bf16 == ("pairs" if numerics == "bf16" else "")
]


@pytest.mark.parametrize(("target", "numerics"), CUT, ids=[f"{t.name} {n}" for t, n in CUT])
def test_a_kernel_in_parts_gives_the_same_bits(target, numerics):
    """With a last block of channels that is narrower, groups, borders and a residual."""
    net, options, border = Net(), CompileOptions(numerics=numerics), {"padding": (1, 1, 1, 1)}
    x = net.input(2, 20, 7, 9)
    wide = net.convolution(x, 150, (3, 3), activation=Function("silu"), **border)
    kept = net.convolution(wide, 150, (3, 3), groups=2, residual=wide, **border)
    graph = net.graph(kept, net.convolution(kept, 33, (5, 1), stride=(2, 2)))
    chosen = {
        name: replace(
            one,
            kernel_parts=graph[name].kernel_size[0],
            inner="pixels",
            converted="in tiles",
            parts=(3, 2),
        )
        for name, one in choose(graph, target, options).items()
        if isinstance(graph.nodes.get(name), Convolution)
    }
    values = net.values()
    expected = run_graph(graph, values, target=target, options=options)
    got = run_graph(graph, values, target=target, options=options, chosen=chosen)
    assert all(map(torch.equal, got, expected))


def test_large_kernels_are_cut_for_the_private_cache():
    """Two parts fit, and each chunk has several tiles."""
    target = replace(TARGETS["avx512"], level2_bytes=2 << 20)
    net = Net()
    graph = net.graph(net.convolution(net.input(1, 512, 9, 9), 512, (3, 3)))
    name = next(node.name for node in graph if isinstance(node, Convolution))
    one = choose(graph, target, CompileOptions(numerics="fp32-direct"))[name]
    part_bytes = 4 * one.tile.vectors * target.lanes * 512 * 9 // one.kernel_parts
    assert one.kernel_parts == 3
    assert 2 * part_bytes <= target.level2_bytes / 2
    assert one.parts[0] * 4 <= 49 // one.tile.pixels + 1


@pytest.mark.parametrize(
    ("channels", "size", "cores"), [(512, 58, 2), (512, 114, 2), (64, 30, 16), (512, 114, 16)]
)
def test_chunks_of_large_kernels_are_enough_and_their_sums_stay_near(channels, size, cores):
    target = TARGETS["avx512"]
    speeds = replace(target.speeds, cores=cores)
    target = replace(target, level2_bytes=2 << 20, speeds=speeds)
    net = Net()
    graph = net.graph(net.convolution(net.input(1, 512, size, size), channels, (3, 3)))
    name = next(node.name for node in graph if isinstance(node, Convolution))
    one = choose(graph, target, CompileOptions(numerics="fp32-direct"))[name]
    assert one.kernel_parts == 3
    assert one.chunks >= cores
    plan = plan_execution(graph, target, CompileOptions(numerics="fp32-direct"))
    assert 4 * plan.scratch_size <= target.level2_bytes // 4 + 4 * 6000  # a tile more


def test_what_is_chosen_is_what_runs():
    graph = rewrite_graph(capture(create_model("resnet18"), (torch.zeros(1, 3, 64, 64),)).graph)
    target = TARGETS["avx512"]
    plan = plan_execution(graph, target)
    name = next(name for name, one in plan.choices.items() if one.winograd)
    direct = replace(plan.choices[name], winograd=None, tile=TileSize(3, 2))
    other = plan_execution(graph, target, chosen={name: direct})
    kinds = [
        {one.name: one.note for one in made.operations if one.name.startswith(name)}
        for made in (plan, other)
    ]
    assert kinds[0][name].startswith("Winograd")
    assert kinds[1][name].startswith("tile 3x32")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_algorithms_do_not_depend_on_the_number_of_images(target):
    """Bits would, if they did."""
    found = []
    for images in (1, 5):
        x = torch.zeros(images, 3, 96, 96)
        graph = rewrite_graph(capture(create_model("googlenet"), (x,)).graph)
        found.append({name: one.winograd for name, one in choose(graph, target).items()})
    assert found[0] == found[1]


def test_every_operation_has_its_choices():
    graph = rewrite_graph(capture(EveryKind().eval(), (torch.zeros(1, 3, 17, 15),)).graph)
    plan = plan_execution(graph, TARGETS["avx2"])
    for operation in plan.operations:
        if operation.what not in ("border", "transform", "copy"):
            assert operation.name in plan.choices
    assert all(one.seconds > 0 for one in plan.choices.values())


@pytest.fixture(scope="module")
def mobilenet():
    """A graph with a stride, with bands, and its choices."""
    graph = rewrite_graph(capture(create_model("mobilenet_v2"), (torch.zeros(3, 3, 64, 64),)).graph)
    return graph, choose(graph, TARGETS["avx2"])


WAY = winograds_for((3, 3))[0]
WRONG = {
    "no choices": (lambda _: "fast", "`Choices` were wanted, and 'fast' came"),
    "no parts": (lambda one: replace(one, parts=(0, 1)), "whole numbers of at least 1"),
    "half a part": (lambda one: replace(one, parts=(1.5, 1)), "whole numbers of at least 1"),
    "one part": (lambda one: replace(one, parts=(1,)), "parts .* must be a pair"),
    "a part a number": (lambda one: replace(one, parts=(1 << 20, 2)), "1048576 chunks at most"),
    "no pixels": (lambda one: replace(one, tile=TileSize(0, 1)), "whole numbers of at least 1"),
    "no tile": (lambda one: replace(one, tile=None), "a convolution needs a `tile`"),
    "a large tile": (lambda one: replace(one, tile=TileSize(9, 2)), "18 registers was chosen"),
    "a word": (lambda one: replace(one, inner="rows"), "`inner` .='rows'. must be 'channels' or"),
    "another word": (lambda one: replace(one, shared="all"), "`shared` .='all'. must be"),
    "half a kernel": (lambda one: replace(one, kernel_parts=2), "`kernel_parts` .=2. must divide"),
    "images left over": (lambda one: replace(one, together=2), "`together` .=2. must divide 3"),
    "strided Winograd": (lambda one: replace(one, winograd=WAY), "Winograd F.* is not for this"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_would_change_results_is_refused(mobilenet, change, message):
    graph, choices = mobilenet
    other = {"conv_stem": change(choices["conv_stem"])}  # its stride is 2
    with pytest.raises(CompileError, match=message):
        plan_execution(graph, TARGETS["avx2"], chosen=other)


def test_what_is_not_beside_a_depthwise_convolution_is_in_no_band_with_it(mobilenet):
    graph, choices = mobilenet
    last = [name for name in choices if name in graph.nodes and choices[name].tile][-1]
    band = Band(head=None, depthwise="blocks.0.0.conv_dw", tail=last, rows_at_once=1)
    with pytest.raises(CompileError, match=f"{last}: .* cannot run by rows together"):
        plan_execution(graph, TARGETS["avx2"], chosen={last: replace(choices[last], band=band)})


def test_winograd_is_not_for_direct_numerics():
    network, x = torch.nn.Conv2d(64, 64, 3, padding=1).eval(), torch.randn(1, 64, 56, 56)
    (plan,) = plan_model(network, x)
    chosen = {name: one for name, one in plan.choices.items() if one.winograd}
    assert chosen
    with pytest.raises(CompileError, match="is not for this node and these `numerics`"):
        plan_model(network, x, numerics="fp32-direct", chosen=chosen)


@pytest.mark.parametrize("make", [compile_model, plan_model])
def test_a_targets_name_is_not_a_target(make):
    network, x = torch.nn.Conv2d(3, 24, 1).eval(), torch.randn(2, 3, 9, 9)
    with pytest.raises(CompileError, match="`target` .='neon'. must be a `Target`.*avx2"):
        make(network, x, target="neon")


@pytest.mark.parametrize("make", [compile_model, plan_model])
def test_a_choice_for_nothing_is_refused(make):
    network, x = torch.nn.Conv2d(3, 24, 1).eval(), torch.randn(2, 3, 9, 9)
    with pytest.raises(CompileError, match="there is nothing to choose for 'nowhere'"):
        make(network, x, chosen={"nowhere": Choices(tile=TileSize(1, 1))})


def test_convolutions_of_a_band_agree_on_it(mobilenet):
    graph, choices = mobilenet
    first = next(name for name, one in choices.items() if one.band)
    alone = {first: replace(choices[first], band=None)}
    with pytest.raises(CompileError, match=f"{first}: '.*' is to run in another way|{first!r} is"):
        plan_execution(graph, TARGETS["avx2"], chosen=alone)


def test_another_choice_is_another_entry_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path))
    network, x = torch.nn.Conv2d(3, 24, 1).eval(), torch.randn(2, 3, 9, 9)
    (plan,) = plan_model(network, x)
    ((name, one),) = ((name, one) for name, one in plan.choices.items() if one.tile)
    first = compile_model(network, x)
    second = compile_model(network, x, chosen={name: replace(one, tile=TileSize(2, 1))})
    assert "tile 2x" in str(second.fates())
    assert "tile 2x" not in str(first.fates())
    assert torch.equal(first(x), second(x))
    assert "tile 2x" not in str(compile_model(network, x).fates())
