"""Which networks compile, how exactly, and what is left to PyTorch: the table of docs/coverage.md.

    .venv/bin/python benchmarks/coverage.py [NAME...] [--write docs/coverage.md]

Each network is compiled both ways, `onebyone.compile` and `torch.compile(backend="onebyone")`, and
its output for a few images is compared with float64 PyTorch (relative root mean square); beside it
stands what float32 PyTorch makes of the same network. Weights are drawn as `onebyone bench` draws
them; a network that amplifies rounding beyond the promise with those is examined with its own
initial weights as well. The page is written whole, counts and exceptions included. Runs on, with
what failed named at the end, and ends with status 1 if a network failed or broke the promise.
"""

import argparse
import copy
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import onebyone
from onebyone.bench.subject import draw_weights, is_steady
from onebyone.compiler import backend as door  # noqa: TC001
from onebyone.models.registry import ZOO

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.helpers.oracles import timm

PROMISE = 1e-5
FACTOR = 5
"""How many times PyTorch's own float32 error a network's may be where that is beyond `PROMISE`."""
IMAGES = 4  # one image's error is a matter of luck: it is up to three times another's
SIZE = 128
SIZES = {"inception_resnet_v2": 160, "inception_v4": 160, "inception_v3": 160, "nin_cifar10": 32}
TIMM = [
    "resnet18",
    "resnet50d",
    "resnext50_32x4d",
    "seresnet50",
    "skresnet18",
    "resnest14d",
    "ecaresnet50t",
    "wide_resnet50_2",
    "res2net50_26w_4s",
    "resnetv2_50",
    "resnetblur18",
    "regnetx_008",
    "regnety_008",
    "regnetz_b16",
    "densenet121",
    "vgg16_bn",
    "vgg11",
    "convnext_atto",
    "convnext_tiny",
    "convnextv2_atto",
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "efficientnetv2_rw_t",
    "tf_efficientnet_b0",
    "tf_efficientnetv2_b0",
    "mnasnet_100",
    "fbnetc_100",
    "spnasnet_100",
    "lcnet_100",
    "mixnet_s",
    "tinynet_a",
    "hardcorenas_a",
    "repvgg_a0",
    "mobileone_s0",
    "inception_v3",
    "inception_v4",
    "xception41",
    "xception65",
    "legacy_xception",
    "dla34",
    "dla60",
    "hrnet_w18_small",
    "ghostnet_100",
    "ghostnetv2_100",
    "dpn68",
    "cspresnet50",
    "cspdarknet53",
    "darknet53",
    "selecsls42b",
    "dm_nfnet_f0",
    "nf_regnet_b1",
    "rexnet_100",
    "gernet_s",
    "vovnet39a",
    "ese_vovnet19b_dw",
    "hgnet_tiny",
    "inception_next_atto",
    "fasternet_t0",
    "repghostnet_050",
    "starnet_s1",
    "semnasnet_075",
    "efficientnet_es",
    "edgenext_xx_small",
    "convmixer_768_32",
]


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one network."""

    name: str
    size: int
    direct_rms: float
    backend_rms: float
    eager_rms: float
    fallbacks: tuple[str, ...]
    seconds: float

    @property
    def rms(self) -> float:
        """The larger of both ways' errors."""
        return max(self.direct_rms, self.backend_rms)

    @property
    def is_kept(self) -> bool:
        """Whether the promise is."""
        return self.rms <= max(PROMISE, FACTOR * self.eager_rms)


def relative_rms(got: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the difference, relative to that of the expected numbers."""
    return float(((got.double() - expected).square().mean() / expected.square().mean()).sqrt())


def make(name: str) -> tuple[nn.Module, int]:
    """Return a network in evaluation mode with initial weights, and the size of its input."""
    torch.manual_seed(0)
    size = SIZES.get(name.removeprefix("timm:"), SIZE)
    if name.startswith("timm:"):
        return timm.create_model(name.removeprefix("timm:"), pretrained=False).eval(), size
    return onebyone.create_model(name), size


def examine(name: str) -> list[Row]:
    """Compare a network with weights that make all of its numbers matter.

    Where they amplify rounding beyond the promise, a second row has its initial weights.
    """
    network, size = make(name)
    drawn = draw_weights(network, torch.randn(2, 3, size, size))
    if not is_steady(drawn, torch.randn(1, 3, size, size)):
        return [compare(f"{name}, initial weights", network.eval(), size)]
    row = compare(name, drawn, size)
    if row.rms <= PROMISE:
        return [row]
    return [row, compare(f"{name}, initial weights", make(name)[0], size)]


def compare(name: str, network: nn.Module, size: int) -> Row:
    """Compile a network both ways and compare."""
    x = torch.randn(IMAGES, 3, size, size)
    with torch.inference_mode():
        expected = copy.deepcopy(network).double()(x.double())
    start = time.perf_counter()
    fast = onebyone.compile(network, x)
    seconds = time.perf_counter() - start
    found = Counter(fallback.operator for fallback in fast.fallbacks)
    torch.compiler.reset()
    specialized: list[door.Specialized] = []

    def backend(graph_module, example_inputs):
        specialized.append(torch._dynamo.lookup_backend("onebyone")(graph_module, example_inputs))
        return specialized[-1]

    through = torch.compile(network, backend=backend)
    with torch.inference_mode():
        direct, also, eager = fast(x), through(x), network(x)
    assert all(part.compiled for part in specialized), "torch.compile's graph ran in PyTorch"
    return Row(
        name,
        size,
        relative_rms(direct, expected),
        relative_rms(also, expected),
        relative_rms(eager, expected),
        tuple(f"{operator.removeprefix('aten.')} x{count}" for operator, count in found.items()),
        seconds,
    )


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| network | input | `compile` | `backend=` | PyTorch float32 | runs in PyTorch |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        left = ", ".join(row.fallbacks) or "nothing: fully native"
        lines.append(
            f"| {row.name} | {row.size} | {row.direct_rms:.1e} | {row.backend_rms:.1e} "
            f"| {row.eager_rms:.1e} | {left} |"
        )
    return "\n".join(lines)


PAGE = """\
# Coverage: which networks compile, and how exactly

Made whole by `python benchmarks/coverage.py --write docs/coverage.md`. Each network is compiled
both ways, with `onebyone.compile` and with `torch.compile(model, backend="onebyone")`, and its
output for {images} random images is compared with PyTorch in float64: the root of the mean square
of the difference, relative to that of the output. Beside it is what PyTorch makes of the same
network in float32. Images are small. Weights are drawn (see `bench/subject.py`), so that every
layer has its say; a network that amplifies rounding with these is shown with its own initial
weights as well.

The promise: results are within {promise:.0e} of float64 or, where the network itself amplifies
rounding beyond that, within {factor} times the error of PyTorch's own float32.

{total} networks, {native} of them fully native, both ways; {within} are within {promise:.0e}.
{beyond}

`python benchmarks/rounding.py NAME` says for one network and several images what adds to its error:
the rounding of the weights that batch norms were folded into, sums, Winograd's algorithm. One
image's error may be several times another's, in PyTorch as well.

{table}
"""


def page(rows: list[Row], failed: list[str]) -> str:
    """Return the whole of docs/coverage.md."""
    first = {row.name.partition(",")[0]: row for row in reversed(rows)}
    beyond = [row for row in first.values() if row.rms > PROMISE]
    said = "; ".join(
        f"{row.name} ({row.rms:.1e}; PyTorch {row.eager_rms:.1e}, "
        f"{row.rms / row.eager_rms:.1f} times that)"
        for row in reversed(beyond)
    )
    broken = [row.name for row in rows if not row.is_kept]
    lines = [f"Beyond it: {said}." if said else ""]
    lines += [f"The promise is broken by: {', '.join(broken)}."] if broken else []
    lines += [f"Not compiled: {', '.join(failed)}."] if failed else []
    return PAGE.format(
        images=IMAGES,
        promise=PROMISE,
        factor=FACTOR,
        total=len(first) + len(failed),
        native=sum(not row.fallbacks for row in first.values()),
        within=len(first) - len(beyond),
        beyond=" ".join(filter(None, lines)),
        table=table(rows),
    )


def main() -> None:
    """Examine all networks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", type=Path, help="the page to write")
    arguments = parser.parse_args()
    names = arguments.names or [*ZOO, *(f"timm:{name}" for name in TIMM)]
    rows, failed = [], []
    for name in names:
        try:
            for row in examine(name):
                rows.append(row)
                print(table([row]).splitlines()[-1], f"{row.seconds:.1f} s", flush=True)  # noqa: T201
        except Exception as error:
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)  # noqa: T201
            if arguments.names:
                traceback.print_exc()
    text = page(rows, failed)
    print(text.partition("\n| network |")[0])  # noqa: T201
    if arguments.write:
        arguments.write.write_text(text)
    sys.exit(bool(failed) or not all(row.is_kept for row in rows))


if __name__ == "__main__":
    main()
