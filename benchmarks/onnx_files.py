"""ONNX files of several exporters: whether the compiled network gives what ONNX Runtime gives.

    python benchmarks/onnx_files.py
    python benchmarks/onnx_files.py --files FILE.onnx[:SIZE]...

The first writes networks of timm and torchvision with PyTorch's two exporters, to a folder that
goes away, and prints a line for each; the second does so for files at hand. What writes files with
other exporters is in `benchmarks/onnx_exporters/`.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[1]))

from onebyone.bench.subject import Subject, draw_weights
from onebyone.compiler import compile_model
from onebyone.errors import OneByOneError
from onebyone.exporting.quiet import quiet
from onebyone.importing import import_onnx
from onebyone.importing.check import deviation_of, resolutions_of, run_onnx
from onebyone.importing.file import read_model
from onebyone.importing.inputs import fix_inputs
from onebyone.models.reference import OnnxFile, read_reference

SIDE = 224
TRIED = 2
"""Images that a network is exported with that takes any number; torch would take one as meant."""


class Made(NamedTuple):
    """How a file is written.

    Attributes:
        package: Where the network is from.
        network: What it is called there.
        exporter: "dynamo", which reads `torch.export`, or "script", the older one.
        any_batch: Whether the batch is left open.
    """

    package: str
    network: str
    exporter: str
    any_batch: bool = False


MADE = (
    Made("torchvision", "resnet50", "dynamo", any_batch=True),
    Made("torchvision", "mobilenet_v2", "script", any_batch=True),
    Made("torchvision", "densenet121", "dynamo"),
    Made("torchvision", "shufflenet_v2_x1_0", "script"),
    Made("torchvision", "googlenet", "script", any_batch=True),
    Made("torchvision", "squeezenet1_1", "dynamo"),
    Made("timm", "efficientnet_b0", "script", any_batch=True),
    Made("timm", "tf_efficientnet_lite0", "dynamo"),
    Made("timm", "mobilenetv3_large_100", "dynamo", any_batch=True),
    Made("timm", "regnety_004", "script"),
    Made("timm", "ghostnet_100", "dynamo", any_batch=True),
    Made("timm", "convnext_atto", "script", any_batch=True),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", nargs="+", help="files at hand, as `onebyone` takes them")
    files = parser.parse_args().files
    print("| file | exporter | operators | relative RMS, PyTorch | compiled | run by PyTorch |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    if files:
        for file in files:
            print(row(file), flush=True)  # noqa: T201
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in write_files(Path(folder)):
            print(row(str(path)), flush=True)  # noqa: T201
            path.unlink()


def row(file: str) -> str:
    """Return the line of a file."""
    name, reference = Path(file).name, read_reference(file)
    assert isinstance(reference, OnnxFile)
    try:
        found = import_onnx(reference.path, size=reference.size)
        model = read_model(reference.path)
        inputs = [one.example() for one in fix_inputs(model, reference.size)]
        wanted = run_onnx(model, inputs)
        images = tuple(
            image.permute(0, 3, 1, 2).contiguous() if one.channels_last else image
            for one, image in zip(found.inputs, inputs, strict=True)
        )
        compiled = compile_model(found.network, images)
        given = tree_leaves(compiled(*images))
    except OneByOneError as error:
        return f"| {name} | | | | | {error} |"
    assert wanted is not None
    deviation = deviation_of(given, wanted, resolutions_of(model))
    version = model.producer_version.removesuffix("None").strip()
    producer = f"{model.producer_name or 'unsaid'} {version}".strip()
    operators = f"{sum(found.operators.values())} of {len(found.operators)} kinds"
    fallbacks = sorted({str(one).partition(" in ")[0] for one in compiled.fallbacks})
    return (
        f"| {name} | {producer} | {operators} | {found.deviation:.1e} | {deviation:.1e} | "
        f"{', '.join(fallbacks) or 'nothing'} |"
    )


def write_files(folder: Path) -> Iterator[Path]:
    """Write a file for each network, and give its path."""
    for made in MADE:
        network = build(made)
        images = Subject(made.network, network, (3, SIDE, SIDE)).images(TRIED)
        network = draw_weights(network, images)
        path = folder / f"{made.network}.onnx"
        write(network, images if made.any_batch else images[:1], made, path)
        yield path


def build(made: Made) -> nn.Module:
    """Build a network, with the weights that it starts with."""
    from tests.helpers.oracles import timm, torchvision

    torch.manual_seed(0)
    if made.package == "timm":
        return timm.create_model(made.network).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how its Inceptions will start in a later release
        return torchvision.models.get_model(made.network).eval()


def write(network: nn.Module, images: torch.Tensor, made: Made, path: Path) -> None:
    """Write a network as ONNX."""
    options: dict[str, object] = {"dynamo": made.exporter == "dynamo", "input_names": ["images"]}
    if made.any_batch and made.exporter == "dynamo":
        options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    elif made.any_batch:
        options["dynamic_axes"] = {"images": {0: "batch"}}
    with quiet():
        torch.onnx.export(network, (images,), str(path), external_data=False, **options)


if __name__ == "__main__":
    main()
