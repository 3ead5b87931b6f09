"""The page in a real browser: what it shows, what it does, and what it leaves alone."""

import csv
import io
import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from onebyone.errors import MissingPackageError, OneByOneError
from onebyone.explainer.page import render_page, write_page
from onebyone.models import ZOO, build_network
from tests.helpers.browser import DESKTOP, PHONE, missing, open_browser, visit
from tests.helpers.light import hide
from tests.helpers.reports import bare_report, sample_report

in_browser = pytest.mark.skipif(bool(missing()), reason=missing())

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture(scope="module")
def report():
    with torch.device("meta"):
        network = build_network(ZOO["efficientnet_lite0"].config).eval()
    return sample_report(network, 224, model="efficientnet_lite0")


@pytest.fixture(scope="module")
def file(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.to_html(path)
    return path


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser, file):
    """The page at a desk; it must have asked for nothing and complained of nothing at the end."""
    with visit(browser, file) as found:
        yield found.page
        assert found.complaints == []
        assert found.requests == []


@in_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_silent(browser, file, tmp_path, size, scheme):
    with visit(browser, file, size=size, scheme=scheme) as found:
        page = found.page
        inner, outer = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert inner <= outer
        picture = tmp_path / f"{scheme}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 100_000
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
        assert (found.complaints, found.requests) == ([], [])


@in_browser
def test_letters_can_be_read_in_both_themes(page):
    """The contrast of each text with the paper behind it is WCAG's for small letters, 4.5."""
    script = """() => {
      const part = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      const light = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b); };
      const probe = document.body.appendChild(document.createElement("i"));
      const of = (name) => { probe.style.color = `var(--${name})`;
        return light(getComputedStyle(probe).color); };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const least = (names, papers) => Math.min(...names.flatMap(
        (name) => papers.map((paper) => ratio(of(name), of(paper)))));
      const roles = ["reduce", "project", "expand", "mix", "shortcut", "merge", "gate", "head"];
      return [least(["ink", "soft", "accent"], ["paper", "sheet"]), least(roles, ["paper"])];
    }"""
    for theme in ("light", "dark"):
        while page.text_content("#theme") != theme:
            page.click("#theme")
        letters, marks = page.evaluate(script)
        assert letters >= 4.5
        assert marks >= 3  # WCAG's for graphics


@in_browser
def test_the_table_sorts_by_every_column(page, report):
    heads = page.locator("#table thead th")
    for column in range(heads.count()):
        head = heads.nth(column)
        values = []
        for _ in range(2):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") in ("ascending", "descending")
            cells = f"#table tbody tr :is(td, th):nth-child({column + 1})"
            read = "cells => cells.map(cell => cell.dataset.v ?? cell.textContent.trim())"
            values.append(page.locator(cells).evaluate_all(read))
        # Equal cells stand together, and the other order is the opposite one.
        first, second = (list(dict.fromkeys(one)) for one in values)
        assert first == second[::-1]
        if "n" in (head.get_attribute("class") or ""):
            numbers = list(map(float, first))
            assert sorted(numbers) in (numbers, numbers[::-1])
    assert page.locator("#table th[aria-sort]").count() == 1


@in_browser
def test_the_most_costly_layer_comes_first_when_asked_for(page, report):
    page.locator("#table thead button", has_text=re.compile("^MACs$")).click()
    most = max(report.cost.layers, key=lambda layer: layer.macs)
    assert page.text_content("#table tbody tr:first-child td:nth-child(8)") == f"{most.macs:,}"


@in_browser
def test_the_table_filters_by_words_and_by_role(page, report):
    shown = page.locator("#table tbody tr:not([hidden])")
    assert shown.count() == len(report.cost.layers)
    page.fill("#find", "  Stage NO-SUCH")
    assert shown.count() == 0
    page.fill("#find", "BLOCKS.1. linear")
    assert shown.locator("th").all_text_contents() == ["blocks.1.0.conv_pwl", "blocks.1.1.conv_pwl"]
    page.select_option("#only", "depthwise")
    assert shown.count() == 0
    page.fill("#find", "")
    layers = [layer for layer in report.cost.layers if layer.kind == "depthwise"]
    assert shown.count() == len(layers)
    assert f"{sum(layer.macs for layer in layers):,} multiply-adds" in page.text_content("#found")


@in_browser
def test_the_table_can_be_taken_away(page, report):
    with page.expect_download() as download:
        page.click("#csv")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert download.value.suggested_filename == "efficientnet_lite0.csv"
    assert [int(row["macs"]) for row in rows] == [layer.macs for layer in report.cost.layers]
    with page.expect_download() as download:
        page.click("#json")
    content = json.loads(download.value.path().read_text())
    assert content == json.loads(json.dumps(report.to_json()))


def exact_values(specimen, channel, row, column):
    """The output pixel and the products that it is the sum of, in float64."""
    down, across = specimen.stride
    pixel = specimen.input[:, row * down, column * across].double()
    products = specimen.weight[channel].double() * pixel
    return float(products.sum() + specimen.bias[channel]), products


@in_browser
def test_the_pixel_under_the_pointer_is_computed(page, report):
    specimen = report.specimens[0]
    channels, height, width = specimen.input.shape
    page.fill("#channel", "5")
    page.dispatch_event("#channel", "change")
    after = page.locator("#after")
    box = after.bounding_box()
    after.hover(position={"x": box["width"] * 3.5 / width, "y": box["height"] * 2.5 / height})
    assert page.text_content("#at") == "(2, 3)"
    value, products = exact_values(specimen, 5, 2, 3)
    shown = float(page.get_attribute("#result", "data-value"))
    # Each factor is kept to 11 bits.
    tolerance = 2 * 2**-11 * float(products.abs().sum()) + 1e-6
    assert shown == pytest.approx(value, abs=tolerance)
    assert "y[5] = " in page.text_content("#equation")
    assert f"[channel {int(products.abs().argmax())}]" in page.text_content("#equation")
    assert f"the other {channels - 4}" in page.text_content("#equation")


@in_browser
def test_the_arrow_keys_move_the_pixel(page, report):
    page.focus("#before")
    before = page.text_content("#at")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    row, column = map(int, re.findall(r"\d+", before))
    assert page.text_content("#at") == f"({row + 1}, {column + 1})"
    value, products = exact_values(report.specimens[0], 0, row + 1, column + 1)
    shown = float(page.get_attribute("#result", "data-value"))
    assert shown == pytest.approx(value, abs=2 * 2**-11 * float(products.abs().sum()) + 1e-6)


@in_browser
def test_another_layer_can_be_looked_at(page, report):
    page.select_option("#which", "1")
    channels, height, width = report.specimens[1].input.shape
    assert f"{channels} channels of {height}×{width}" in page.text_content("#before-size")
    page.focus("#after")
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    value, products = exact_values(report.specimens[1], 0, height // 2, 0)
    shown = float(page.get_attribute("#result", "data-value"))
    assert shown == pytest.approx(value, abs=2 * 2**-11 * float(products.abs().sum()) + 1e-6)


@in_browser
def test_the_picture_says_what_is_pointed_at(page, report):
    page.hover('.picture-box:not([hidden]) [data-layer="3"]')
    assert report.cost.layers[3].path in page.text_content("#readout")
    page.focus(".picture-box:not([hidden]) .picture")
    page.keyboard.press("ArrowRight")
    assert report.cost.layers[4].path in page.text_content("#readout")
    page.keyboard.press("Enter")
    assert page.text_content("#table tr.here th") == report.cost.layers[4].path
    page.check("input[value=even]")
    widths = page.locator('[data-width="even"] .layer').evaluate_all(
        "layers => layers.map(layer => layer.getBBox().width)"
    )
    assert max(widths) == pytest.approx(min(widths), abs=0.2)


@in_browser
def test_modules_fold(page):
    lines = page.locator("#modules tbody tr:not([hidden])")
    page.click("text=top")
    top = lines.count()
    page.locator("#modules button.fold[aria-expanded=false]").first.click()
    assert lines.count() > top
    page.click("text=three levels")
    assert lines.count() > top


@in_browser
def test_paper_has_everything_open_and_no_controls(page):
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("#csv").is_hidden()
    assert page.pdf().startswith(b"%PDF")
    assert page.locator("details table").first.is_visible()


@in_browser
def test_names_are_only_names(browser, report, tmp_path):
    layers = (replace(report.cost.layers[0], path=EVIL, name=EVIL), *report.cost.layers[1:])
    evil = replace(
        report,
        model=EVIL,
        weights=EVIL,
        cost=replace(report.cost, layers=layers, not_counted=(EVIL,)),
        modules=replace(report.modules, kind=EVIL),
        notes=(EVIL, "</script>"),
        specimens=(replace(report.specimens[0], path=EVIL),),
    )
    path = tmp_path / "evil.html"
    write_page(evil, path)
    with visit(browser, path) as found:
        found.page.on("dialog", lambda dialog: pytest.fail("a name was run"))
        assert found.page.text_content("h1") == EVIL
        found.page.hover('.picture-box:not([hidden]) [data-layer="0"]')
        assert EVIL in found.page.text_content("#readout")
        assert (found.complaints, found.requests) == ([], [])


@in_browser
@pytest.mark.parametrize(
    ("network", "shape"),
    [(nn.Conv2d(3, 8, 3), (1, 3, 9, 9)), (nn.Linear(5, 3), (2, 5)), (nn.ReLU(), (1, 3))],
    ids=["no 1x1", "no image", "no layer"],
)
def test_little_to_say_makes_a_page_too(browser, tmp_path, network, shape):
    report = bare_report(network.eval(), shape)
    path = tmp_path / "bare.html"
    write_page(report, path)
    with visit(browser, path, size=PHONE) as found:
        assert report.notes[0] in found.page.text_content("main")
        assert "Nothing was timed" in found.page.text_content("#speed")
        assert (found.complaints, found.requests) == ([], [])


def test_the_same_report_is_the_same_page(report, file):
    assert render_page(report) == file.read_text(encoding="utf-8")


def test_the_page_holds_all_that_it_needs_and_is_small(file):
    content = file.read_text(encoding="utf-8")
    assert len(content.encode()) < 2_000_000
    # Links lead into the page; other addresses are names of XML's, which nobody asks for.
    assert set(re.findall(r"https?://[^\s\"'<]+", content)) <= {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r'(?:href|src)="(?!#|data:)[^"]*"', content)) == set()
    ids = re.findall(r'\bid="([^"]+)"', content)
    assert len(ids) == len(set(ids))


def test_headings_come_in_order(file):
    levels = [int(level) for level in re.findall(r"<h(\d)", file.read_text(encoding="utf-8"))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("package", ["altair", "jinja2", "vl_convert"])
def test_a_missing_package_is_named_with_its_cure(report, tmp_path, monkeypatch, package):
    hide(monkeypatch, package)
    name = package.replace("_", "-")
    with pytest.raises(MissingPackageError, match=rf"{name}.*pip install 'onebyone\[html\]'$"):
        write_page(report, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_line(report, tmp_path):
    with pytest.raises(OneByOneError, match=r"report\.html: a report was to be written, and can"):
        write_page(report, tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize("with_layers", [True, False])
def test_times_that_are_not_there_are_accounted_for(report, with_layers):
    layers = tuple(replace(one, engine_seconds=None) for one in report.speed.layers)
    speed = replace(
        report.speed,
        layers=layers if with_layers else (),
        engine_seconds=None,
        why_not_compiled="no compiler",
        why_not_by_layer="" if with_layers else "no single steps",
    )
    page = render_page(replace(report, speed=speed))
    assert "No time of compiled code: no compiler." in page
    assert ("No times of layers: no single steps." in page) != with_layers
    assert ('value="torch"' in page) == with_layers
    assert 'value="engine"' not in page
    assert ('id="roofline-title"' in page) == with_layers
    assert "Nothing was timed" not in page
