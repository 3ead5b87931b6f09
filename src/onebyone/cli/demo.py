"""`onebyone demo`: the story of the program, on one pretrained network and real photos."""

from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from onebyone.cli.console import bar, progress, stdout
from onebyone.errors import MissingPackageError
from onebyone.explain import CostReport, LayerKind, count_cost
from onebyone.models import Prediction, load_model, open_photo, predict

MODEL = "efficientnet_lite0"
BAR_WIDTH = 30

PHOTOS = (
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
"""Photos that packages of the extra `demo` carry: the package's import name, and the file in it."""


def demo() -> None:
    """Classify real photos with a pretrained network, and show where its 1x1s are."""
    photos = [_find_photo(package, path) for package, path in PHOTOS]
    network, card = load_model(MODEL, weights="imagenet")
    size = card.preprocess.input_size
    cost = count_cost(network, (1, 3, size, size))
    predict(network, card, open_photo(photos[0]))  # the first run of a network is a slow one
    predictions = [
        predict(network, card, open_photo(photo), top=1)
        for photo in progress(photos, "classifying")
    ]
    console = stdout()
    console.print(
        f"[bold]{MODEL}[/]: {cost.params / 1e6:.2f} M parameters, {cost.macs / 1e6:.0f} M "
        "multiply-adds an image.\n"
        f"Its real ImageNet weights ({card.license}) on {len(photos)} real photos, in PyTorch:\n"
    )
    console.print(_predictions_table(photos, predictions))
    console.print("\n[bold]Where its 1x1 convolutions are[/]\n")
    console.print(_cost_table(cost))
    console.print(
        f"\nA 1x1 convolution applies one small matrix to the channels of every pixel. They are "
        f"{len(cost.of_kind(LayerKind.POINTWISE))} of the {len(cost.layers)} layers here and do "
        f"{cost.macs_share(LayerKind.POINTWISE):.0%} of the work.\n\n"
        f"Your turn:  onebyone predict {MODEL} PHOTO...\n"
        "            onebyone models"
    )


def _find_photo(package: str, path: str) -> Path:
    spec = find_spec(package)  # looks, and does not import
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"the demo's photos come with {package}, which is not installed; install the extra: "
            "pip install 'onebyone[demo]'"
        )
    return Path(spec.origin).parent / path


def _predictions_table(photos: list[Path], predictions: list[Prediction]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("photo", style="bold")
    table.add_column("top class")
    table.add_column("probability", justify="right")
    table.add_column("time", justify="right")
    for photo, prediction in zip(photos, predictions, strict=True):
        best = prediction.top[0]
        table.add_row(
            photo.name,
            f"{best.label} [dim]{best.index}[/]",
            f"{best.probability:.1%}",
            f"{prediction.seconds * 1e3:.0f} ms",
        )
    return table


def _cost_table(cost: CostReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("kind", style="bold")
    for heading in ("layers", "multiply-adds", "share"):
        table.add_column(heading, justify="right")
    table.add_column("", width=BAR_WIDTH, no_wrap=True)
    for kind in LayerKind:
        layers, share = cost.of_kind(kind), cost.macs_share(kind)
        if layers:
            table.add_row(
                kind.value,
                f"{len(layers)}",
                f"{sum(layer.macs for layer in layers) / 1e6:.1f} M",
                f"{share:.1%}",
                f"[{'green' if kind is LayerKind.POINTWISE else 'dim'}]{bar(share, BAR_WIDTH)}[/]",
            )
    return table
