"""What must hold of a compiled network, through both doors."""

import copy
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from onebyone.compiler.compile import compile_model
from onebyone.compiler.model import CompiledModel
from onebyone.errors import OneByOneError
from onebyone.graph import capture
from tests.helpers.fuzz.network import Network, put_nan

EPS = torch.finfo(torch.float32).eps
ROOM = 10
"""How many times PyTorch's own error ours may be: Winograd's algorithm makes two to ten times
the errors of a sum."""


@dataclass(slots=True)
class Verdict:
    """What was found of one network.

    Args:
        seed: It was drawn from.
        findings: What is wrong, a line each (or more, where an error had more).
        refusals: What `compile` said it cannot do, where PyTorch can.
        kinds: Kinds of nodes in its graph, and of algorithms in its plan.
        is_native: Whether nothing was left to PyTorch.
        worst: The largest error, as a share of what is allowed.
        seconds: That it took.
    """

    seed: int
    findings: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    is_native: bool = False
    worst: float = 0.0
    seconds: float = 0.0


class Wrong(Exception):  # noqa: N818  # it is the subject that is wrong
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What PyTorch makes of a network: in float64, and how far float32 is from that.

    Args:
        outputs: In float64.
        spec: How they are nested.
        allowed: Largest error and root of the mean square of errors, for each output.
        inputs: What the network leaves of its inputs, in float32.
    """

    outputs: list[Tensor]
    spec: Any
    allowed: list[tuple[float, float]]
    inputs: list[Tensor]


def judge(network: Network, *, doors: Sequence[str] = ("compile", "backend")) -> Verdict:
    """Compile a network and compare it with PyTorch."""
    verdict, start = Verdict(network.seed), time.perf_counter()
    scope = network.load()
    model: nn.Module = scope.make_network()

    def inputs() -> tuple[Tensor, ...]:
        made = scope.make_inputs()
        if network.has_nan:
            # What is shared within a tensor would be written to twice.
            made = tuple(one.contiguous() if 0 in one.stride() else one for one in made)
            put_nan(made)
        return made

    with torch.no_grad():
        expected = expect(model, inputs)
        if "compile" in doors:
            _note(
                verdict, "compile", lambda: judge_compile(network, model, inputs, expected, verdict)
            )
        if "backend" in doors:
            _note(
                verdict, "backend", lambda: judge_backend(network, model, inputs, expected, verdict)
            )
    verdict.seconds = time.perf_counter() - start
    return verdict


def _note(verdict: Verdict, door: str, run: Callable[[], None]) -> None:
    """Run a judge, and note what it finds and what the compiler warns of."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        for warning in caught:
            _note_warning(verdict, door, str(warning.message))
    except Wrong as wrong:
        verdict.findings.append(f"{door}: {wrong}")
    except OneByOneError as error:
        if "\n" in str(error).strip():
            verdict.findings.append(f"{door}: an error of several lines: {error}")
        else:
            verdict.refusals.append(f"{door}: {error}")
    except Exception as error:
        verdict.findings.append(f"{door}: {type(error).__name__}: {error}")


def _note_warning(verdict: Verdict, door: str, text: str) -> None:
    """A network that PyTorch's door left to PyTorch was refused."""
    if "not compiled" in text:
        verdict.refusals.append(f"{door}: {text}")
    if "onebyone" in text and "\n" in text.strip():
        verdict.findings.append(f"{door}: a warning of several lines: {text}")


def expect(model: nn.Module, inputs: Callable[[], tuple[Tensor, ...]]) -> Expected:
    """Run PyTorch in float64, and in float32 in several ways to see how much rounding matters."""
    exact, spec = tree_flatten(_doubled(model)(*(one.double() for one in inputs())))
    left = inputs()
    runs = [tree_flatten(model(*left))[0]]
    around = torch.Generator().manual_seed(0)
    shaken = (
        one.double() * (1 + EPS * torch.randn(one.shape, generator=around)) for one in inputs()
    )
    runs.append(tree_flatten(_doubled(model)(*shaken))[0])
    last = (
        one.contiguous(
            memory_format=torch.channels_last if one.ndim == 4 else torch.contiguous_format
        )
        for one in inputs()
    )
    runs.append(tree_flatten(model(*last))[0])
    terms = 16 + sum(
        module.weight[0].numel()
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
    )
    allowed = []
    for index, wanted in enumerate(exact):
        size = _finite(wanted, wanted)
        least = 2 * EPS * terms**0.5
        largest, rms = 16 * least * float(size.abs().max()), least * _rms(size)
        for run in runs:
            error = _finite(run[index].double() - wanted, wanted)
            largest = max(largest, ROOM * float(error.abs().max()))
            rms = max(rms, ROOM * _rms(error))
        allowed.append((largest, rms))
    return Expected(exact, spec, allowed, list(left))


def judge_compile(
    network: Network,
    model: nn.Module,
    inputs: Callable[[], tuple[Tensor, ...]],
    expected: Expected,
    verdict: Verdict,
) -> None:
    """`onebyone.compile`: numbers, inputs, threads, batch, and a second call."""
    facts = {"numerics": network.numerics, "target": network.choose_target()}
    compiled = compile_model(model, inputs(), threads=1, **facts)
    verdict.is_native = not compiled.fallbacks
    verdict.kinds = sorted(kinds_of(model, inputs(), compiled))
    given = inputs()
    result = compiled(*given)
    first = [one.clone() for one in tree_flatten(result)[0]]
    verdict.worst = check_outputs(result, expected)
    check_inputs(given, inputs(), expected)
    for one in tree_flatten(result)[0]:
        one.fill_(7)  # a result is the caller's: nobody else sees what becomes of it
    check_inputs(given, inputs(), expected)
    check_bits(compiled(*inputs()), first, "a second call")
    for threads in (2, 3):
        several = compile_model(model, inputs(), threads=threads, **facts)
        check_bits(several(*inputs()), first, f"{threads} threads")
    if verdict.is_native and network.batch > 1:
        for number in range(network.batch):
            one = tuple(x[number : number + 1] for x in inputs())
            alone = tree_flatten(compile_model(model, one, threads=2, **facts)(*one))[0]
            parts = [x[number : number + 1] if len(x) == network.batch else x for x in first]
            check_bits(alone, parts, f"image {number} alone")


def judge_backend(
    network: Network,
    model: nn.Module,
    inputs: Callable[[], tuple[Tensor, ...]],
    expected: Expected,
    verdict: Verdict,
) -> None:
    """`torch.compile(backend="onebyone")`: numbers, inputs, and a second call."""
    options = {"numerics": network.numerics, "threads": 2}
    through, given = _through(model, backend="onebyone", options=options), inputs()
    try:
        result = through(*given)
    except Exception:
        if _is_beyond_pytorch(model, inputs):
            return
        raise
    first = [one.clone() for one in tree_flatten(result)[0]]
    verdict.worst = max(verdict.worst, check_outputs(result, expected))
    check_inputs(given, inputs(), expected)
    check_bits(through(*inputs()), first, "a second call")


def _through(model: nn.Module, **facts: Any) -> Callable[..., Any]:
    torch.compiler.reset()
    return torch.compile(model, dynamic=False, **facts)


def _is_beyond_pytorch(model: nn.Module, inputs: Callable[[], tuple[Tensor, ...]]) -> bool:
    """Whether PyTorch's door does not open for this network, whoever stands behind it."""
    try:
        _through(model, backend="eager")(*inputs())
    except Exception:
        return True
    return False


def check_outputs(result: Any, expected: Expected) -> float:
    """Outputs are those of float64, but for rounding; NaN and infinities stand where they do.

    Returns:
        The largest error, as a share of what is allowed.

    Raises:
        Wrong: If they are not.
    """
    got, spec = tree_flatten(result)
    if spec != expected.spec:
        raise Wrong(f"nested as {spec}, not as {expected.spec}")
    shares = [0.0]
    for index, (one, wanted) in enumerate(zip(got, expected.outputs, strict=True)):
        if one.shape != wanted.shape or one.dtype != torch.float32:
            raise Wrong(
                f"output {index} is {one.dtype} {tuple(one.shape)}, not {tuple(wanted.shape)}"
            )
        finite = wanted.isfinite()
        same = torch.equal(
            one.double().masked_fill(finite, 0).nan_to_num(7, 8, 9),
            wanted.masked_fill(finite, 0).nan_to_num(7, 8, 9),
        )
        if not same or not one[finite].isfinite().all():
            raise Wrong(f"output {index}: NaN or infinities stand in other places")
        error, (largest, rms) = _finite(one.double() - wanted, wanted), expected.allowed[index]
        shares += [float(error.abs().max()) / (largest or EPS), _rms(error) / (rms or EPS)]
        if max(shares[-2:]) > 1:
            raise Wrong(
                f"output {index}: errors of {float(error.abs().max()):.2g}, {_rms(error):.2g} rms; "
                f"allowed are {largest:.2g}, {rms:.2g}"
            )
    return max(shares)


def check_inputs(given: Sequence[Tensor], before: Sequence[Tensor], expected: Expected) -> None:
    """Inputs are as they were, or as the network leaves them in PyTorch.

    Raises:
        Wrong: If they are not.
    """
    for index, (one, old, left) in enumerate(zip(given, before, expected.inputs, strict=True)):
        if _same(old, left):
            if not _same(one, old):
                raise Wrong(f"input {index} was changed")
        elif not torch.allclose(one, left, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise Wrong(f"input {index} is not what PyTorch leaves there")


def check_bits(result: Any, first: Sequence[Tensor], when: str) -> None:
    """Outputs are the same bits again.

    Raises:
        Wrong: If they are not.
    """
    for index, (one, wanted) in enumerate(zip(tree_flatten(result)[0], first, strict=True)):
        if not _same(one, wanted):
            raise Wrong(f"output {index} has other bits: {when}")


def kinds_of(model: nn.Module, inputs: tuple[Tensor, ...], compiled: CompiledModel) -> set[str]:
    """The kinds of nodes and of algorithms."""
    found = {node.kind for node in capture(model, inputs).graph}
    plan = compiled.profile(*inputs, rounds=1)
    return found | {f"{one.layer.kind} kernel" for one in plan.layers}


def _doubled(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double()


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))


def _finite(tensor: Tensor, by: Tensor) -> Tensor:
    """The numbers where `by` is finite, at least one."""
    return torch.cat([tensor[by.isfinite()].flatten(), tensor.new_zeros(1)]).nan_to_num(0, 0, 0)


def _rms(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def summarize(verdicts: Sequence[Verdict]) -> str:
    """Return a table of what the networks had in them, and what was found."""
    kinds = Counter(kind for verdict in verdicts for kind in verdict.kinds)
    width = max(map(len, kinds), default=0)
    lines = [f"{kind:{width}} {count:5}" for kind, count in sorted(kinds.items())]
    wrong = sum(bool(verdict.findings) for verdict in verdicts)
    refused = sum(bool(verdict.refusals) for verdict in verdicts)
    native = sum(verdict.is_native for verdict in verdicts)
    worst = max((verdict.worst for verdict in verdicts), default=0.0)
    seconds = sum(verdict.seconds for verdict in verdicts)
    lines.append(
        f"{len(verdicts)} networks: {wrong} with findings, {refused} refused, {native} fully "
        f"native; the largest error is {worst:.0%} of what is allowed; {seconds:.0f} s"
    )
    return "\n".join(lines)
