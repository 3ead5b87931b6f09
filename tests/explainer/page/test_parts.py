"""What the page is put together from."""

import re
from base64 import b64decode
from dataclasses import replace
from importlib import resources
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.explainer.page import render_page
from onebyone.explainer.page.advice import advise
from onebyone.explainer.page.blocks import blocks_of
from onebyone.explainer.page.exhibits import exhibits_of
from onebyone.explainer.page.picture import _THINNEST, WIDTH, _widths, draw_pictures
from onebyone.explainer.page.rows import rows_of
from onebyone.explainer.page.svg import PAINT, to_svg
from onebyone.explainer.page.work import alternatives_of, module_lines, work_by_role
from onebyone.explainer.speed import LayerTime
from onebyone.explainer.structure.roles import Role
from onebyone.models import ZOO, build_network
from tests.helpers.oracles import timm
from tests.helpers.reports import bare_report, sample_report


def zoo_report(name):
    with torch.device("meta"):
        is_ours = name in ZOO
        network = build_network(ZOO[name].config) if is_ours else timm.create_model(name[5:])
    return sample_report(network.eval(), 224, model=name)


@pytest.fixture(scope="module")
def report():
    return zoo_report("resnet50")


def test_every_layer_has_a_row_and_its_share(report):
    rows = rows_of(report)
    assert [row.layer for row in rows] == list(report.cost.layers)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert {row.label for row in rows if row.pointwise} <= {role.value for role in Role}


def test_work_by_role_adds_up_to_the_network(report):
    work = work_by_role(rows_of(report))
    assert sum(one.macs for one in work) == report.cost.macs
    assert sum(one.layers for one in work) == len(report.cost.layers)
    for share in ("macs_share", "torch_share", "engine_share"):
        assert sum(getattr(one, share) for one in work) == pytest.approx(1)


def test_there_is_no_share_of_a_time_that_not_every_layer_has(report):
    times = [replace(report.speed.layers[0], engine_seconds=None), *report.speed.layers[1:]]
    work = work_by_role(rows_of(replace(report, speed=replace(report.speed, layers=tuple(times)))))
    assert {one.engine_share for one in work} == {None}
    assert None not in {one.torch_share for one in work}


class Own(nn.Module):
    """Has layers and a parameter of its own beside modules, two of which are alike."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.kernel = nn.Parameter(torch.ones(4, 4, 1, 1))
        self.parts = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 1))

    def forward(self, x):
        return self.parts(nn.functional.conv2d(x, self.kernel) * self.scale)


@pytest.mark.parametrize("make", [Own, lambda: build_network(ZOO["googlenet"].config)])
def test_lines_below_a_line_add_up_to_it(make):
    network = make().eval()
    size = 9 if isinstance(network, Own) else 64
    shape = (1, 4, size, size) if isinstance(network, Own) else (1, 3, size, size)
    report = bare_report(network, shape)
    lines = list(module_lines(report.modules))
    assert (lines[0].macs, lines[0].params) == (report.cost.macs, report.cost.params)
    for number, line in enumerate(lines):
        below = []
        for other in lines[number + 1 :]:
            if other.depth <= line.depth:
                break
            if other.depth == line.depth + 1:
                below.append(other)
        if below:
            for part in ("macs", "params", "pointwise_macs"):
                assert sum(getattr(one, part) for one in below) == getattr(line, part), line
        assert bool(below) == line.has_more


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("resnet50", "Bottleneck", 16),
        ("efficientnet_lite0", "InvertedResidual", 15),
        ("inception_resnet_v2", "InceptionResNetB", 20),
        ("googlenet", "Inception", 9),
        ("timm:convnext_atto", "ConvNeXtBlock", 12),
        ("timm:inception_v3", "InceptionC", 4),
    ],
)
def test_blocks_are_those_that_papers_count(name, kind, count):
    report = zoo_report(name)
    blocks = blocks_of(report.modules, rows_of(report))
    assert sum(block.kind == kind for block in blocks) == count
    assert [row.layer for block in blocks for row in block.rows] == list(report.cost.layers)


def test_like_blocks_are_one_run(report):
    runs = {}
    for block in blocks_of(report.modules, rows_of(report)):
        runs.setdefault(block.run, []).append(block.path)
    assert [len(run) for run in runs.values() if len(run) > 1] == [2, 3, 5, 2]


def corners(svg):
    """Left, right, and heights at both, of each layer drawn."""
    found = re.findall(
        r'data-layer="(\d+)" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)V([\d.]+)L[\d.]+ ([\d.]+)Z"',
        svg,
    )
    for number, left, top, right, top_right, bottom_right, bottom in found:
        yield (
            int(number),
            float(right) - float(left),
            float(bottom) - float(top),
            float(bottom_right) - float(top_right),
        )


def test_the_picture_is_to_scale(report):
    rows = rows_of(report)
    pictures = draw_pictures(blocks_of(report.modules, rows), has_time=True, has_engine=True)
    assert [one.key for one in pictures] == ["macs", "torch", "engine", "even"]
    drawn = list(corners(pictures[0].svg))
    assert [number for number, *_ in drawn] == list(range(len(rows)))
    for (_, width, before, after), row in zip(drawn, rows, strict=True):
        if width > 3:  # thinner ones are drawn so that they are seen
            assert width == pytest.approx(
                row.layer.macs * drawn[3][1] / rows[3].layer.macs, abs=0.3
            )
        channels = row.layer.input_shape[1], row.layer.output_shape[1]
        assert (before / after) ** 2 == pytest.approx(channels[0] / channels[1], rel=0.05)
    for picture in pictures:
        assert WIDTH * 0.9 < sum(width for _, width, *_ in corners(picture.svg)) < WIDTH
    for picture in pictures:
        ElementTree.fromstring(picture.svg)


@given(st.lists(st.just(0.0) | st.floats(1e-12, 1e12), min_size=1, max_size=50))
def test_widths_fill_the_room_in_proportion(sizes):
    room = 20.0 * len(sizes)
    widths = _widths(sizes, room)
    assert min(widths) >= _THINNEST
    if any(sizes):
        assert sum(widths) == pytest.approx(room)
        pairs = [
            (size, width) for size, width in zip(sizes, widths, strict=True) if width > _THINNEST
        ]
        for size, width in pairs:
            assert width * pairs[0][0] == pytest.approx(size * pairs[0][1])


def test_nothing_to_draw_is_no_picture():
    assert draw_pictures([], has_time=False, has_engine=False) == []


def test_alternatives_are_compared_with_the_network_itself(report):
    itself, *others = alternatives_of(report)
    assert itself.is_itself
    assert (itself.macs, itself.macs_factor) == (report.cost.macs, 1)
    assert [one.name for one in others] == [one.name for one in report.counterfactuals]
    for one in others:
        assert one.macs_factor * itself.macs == pytest.approx(one.macs)
        assert one.seconds_factor * itself.seconds == pytest.approx(one.seconds)
    untimed = alternatives_of(replace(report, speed=None))
    assert {(one.seconds, one.seconds_factor) for one in untimed} == {(None, None)}


def test_advice_is_ranked_and_only_given_where_numbers_give_it(report):
    rows = rows_of(report)
    advice = advise(report, rows)
    assert [one.share for one in advice] == sorted((one.share for one in advice), reverse=True)
    assert advice[0].text.startswith("Compile it: ")
    fast = tuple(
        LayerTime(name=row.layer.name, torch_seconds=row.ceiling_seconds, engine_seconds=None)
        for row in rows
    )
    speed = replace(report.speed, layers=fast, engine_seconds=None)
    content = replace(report, information=None, speed=speed)
    assert advise(content, rows_of(content)) == []


def test_too_few_samples_give_no_advice(report):
    scarce = tuple(replace(one, samples=1) for one in report.information.layers)
    information = replace(report.information, layers=scarce)
    found = advise(replace(report, speed=None, information=information), rows_of(report))
    assert found == []


def test_exhibits_have_the_layers_numbers(report):
    specimen = report.specimens[0]
    (exhibit,) = exhibits_of((specimen,), rows_of(report))
    packed = exhibit["weight"]
    halves = np.frombuffer(b64decode(packed["data"]), dtype="<f2").astype(np.float32)
    values = torch.from_numpy(halves.reshape(packed["shape"])) * packed["largest"]
    torch.testing.assert_close(
        values, specimen.weight, rtol=2**-11, atol=packed["largest"] * 2**-24
    )
    assert exhibit["photo"].startswith("data:image/jpeg;base64,")
    assert exhibits_of((replace(specimen, image=None),), [])[0]["photo"] is None


def test_exhibits_are_left_out_where_there_is_no_room_for_them(report):
    large = replace(report.specimens[0], input=torch.zeros(64, 160, 160))
    small = report.specimens[1]
    shown = exhibits_of((large, small, large), rows_of(report))
    assert [one["path"] for one in shown] == [small.path]
    assert "too large for a page" in render_page(replace(report, specimens=(large,)))


def test_charts_have_the_pages_colours_and_ids_of_their_own():
    import altair as alt

    data = alt.Data(values=[{"name": "<b>", "size": 1}])
    bars = alt.Chart(data).mark_bar(color=PAINT["reduce"], clip=True)
    chart = bars.encode(x="size:Q", y="name:N")
    one, two = (to_svg(chart, key=key, title="<t>", description="d") for key in ("one", "two"))
    assert 'fill="var(--reduce)"' in one
    assert not re.findall("|".join(PAINT.values()), one)
    assert one.replace("one-", "two-") == two
    root = ElementTree.fromstring(one)
    assert root[0].text == "<t>"


# Light (linear RGB) as people see it who lack one kind of cones: Machado and others, 2009.
SEEN = {
    "all cones": np.eye(3),
    "no red": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    ),
    "no green": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    ),
}


def lab(light):
    """CIE L*a*b* of linear RGB, in which 2 is a difference that one just sees."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(to_xyz @ np.clip(light, 0, 1) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_of_roles_can_be_told_apart(theme, seen):
    style = resources.files("onebyone.explainer.page").joinpath("style.css").read_text()
    colours = {}
    for role in Role:
        pair = re.search(rf"--{role.name.lower()}: light-dark\((#\w+), (#\w+)\)", style)
        numbers = np.frombuffer(bytes.fromhex(pair[theme + 1][1:]), np.uint8) / 255
        colours[role] = lab(seen @ (((numbers + 0.055) / 1.055) ** 2.4))
    for one, other in combinations(colours, 2):
        assert np.linalg.norm(colours[one] - colours[other]) > 12, (one, other)
