"""`onebyone bench`: our compiler beside its peers."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onebyone.bench.numerics import FP32
from onebyone.bench.peers import DEFAULT_PEERS, PEERS
from onebyone.cli.console import print_json, stdout, tell, watch
from onebyone.compiler.target import host_target
from onebyone.compiler.threads import MOST_THREADS

if TYPE_CHECKING:
    from onebyone.bench import Comparison, IsolatedComparison

AGAINST = ",".join(DEFAULT_PEERS)
OTHERS = ", ".join(name for name in PEERS if name not in DEFAULT_PEERS)


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Zoo names, timm:NAME, torchvision:NAME, file.py:factory, net.onnx, or "
            "checkpoints.",
        ),
    ],
    against: Annotated[
        str,
        typer.Option(
            metavar="ENGINES",
            help=f"Peers to compare with, between commas; there are also {OTHERS}; or all.",
        ),
    ] = AGAINST,
    numerics: Annotated[
        Literal["fp32", "bf16"],
        typer.Option(help="bf16: engines that can compute in bfloat16 do so as well."),
    ] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Images a call.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="Threads for each engine; by default all cores at hand."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each engine has.")] = 20,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate", help="Give each engine a process of its own, and time bursts as well."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time networks on our compiler and on its peers, in turn.

    Named networks get random weights: the time does not depend on them. Every engine's output is
    checked against PyTorch in float64.
    """
    from onebyone.models import check_reference

    for model in models:
        check_reference(model)
    if numerics != FP32:
        host_target(numerics)  # a processor that cannot is told so before anything is loaded
    from onebyone.bench import (
        check_peers,
        compare,
        compare_isolated,
        describe_machine,
        find_engines,
        load_subject,
    )
    from onebyone.bench.table import render

    names = check_peers(name.strip() for name in against.split(",") if name.strip())
    machine = describe_machine()
    threads = threads or machine.cores
    comparisons: list[Comparison | IsolatedComparison] = []
    with redirect_stdout(sys.stderr):  # what engines and users' files print is no result
        tell(f"loading {', '.join(models)}")
        subjects = [load_subject(model) for model in models]
    if not as_json:
        stdout().print(f"{machine}\n", markup=False)
    while subjects:
        subject = subjects.pop(0)
        with redirect_stdout(sys.stderr):
            comparison = (compare_isolated if isolate else compare)(
                subject,
                find_engines(names, numerics),
                batch=batch,
                threads=threads,
                rounds=rounds,
                numerics=numerics,
                watch=watch,
            )
        comparisons.append(comparison)
        if not as_json:
            stdout().print(render(comparison), crop=False)  # a line an absent engine
    if as_json:
        results = [comparison.to_json() for comparison in comparisons]
        print_json({"machine": machine.to_json(), "results": results})
