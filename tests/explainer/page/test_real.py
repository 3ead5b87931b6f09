"""The page of a real report: trained weights, photos, times."""

import pytest
import torch

import onebyone
from onebyone.explainer.samples import sample_images
from tests.helpers.browser import missing, open_browser, visit


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_what_is_shown_at_a_pixel_is_what_pytorch_computes_there(tmp_path):
    network = onebyone.create_model("efficientnet_lite0", weights="imagenet").eval()
    images = sample_images(network.card.preprocess, crops=1).prepared[:3]
    report = onebyone.explain(network, images[:1], images=images, measure_time=True, threads=1)
    assert report.notes == ()
    report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5e6

    first = report.specimens[0]
    outputs = []
    hook = network.get_submodule(first.path).register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output)
    )
    with torch.no_grad():
        network(images[:1])
    hook.remove()
    with open_browser() as browser, visit(browser, tmp_path / "report.html") as found:
        page = found.page
        page.select_option("#which", "0")
        page.fill("#channel", "7")
        page.dispatch_event("#channel", "change")
        page.focus("#after")
        page.keyboard.press("ArrowRight")
        row, column = map(int, page.text_content("#at").strip("()").split(","))
        shown = float(page.get_attribute("#result", "data-value"))
        assert found.complaints == found.requests == []
    wanted = outputs[0][0, 7, row, column]
    pixel = first.input[:, row, column]
    # Each factor is kept to 11 bits.
    tolerance = 2 * 2**-11 * float((pixel * first.weight[7]).abs().sum()) + 1e-5
    assert shown == pytest.approx(float(wanted), abs=tolerance)
