"""A compiled network: called like the model that it was made from."""

# pyright: reportImportCycles=false
# `save` imports the file's format when it is called.

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from onebyone.compiler.account import Account
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.fallback import Fallback
from onebyone.compiler.fates import LayerFates, tell_fates
from onebyone.compiler.operator import (
    ResultFacts,
    call_network,
    is_plain,
    is_transformed,
    is_watched,
    register_network,
)
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.profile import LayerTime, Profile, read_timings
from onebyone.compiler.runtime.native import NativeFunction
from onebyone.compiler.runtime.opaque import call_opaque, show_to
from onebyone.compiler.target import Target
from onebyone.errors import ShapeError
from onebyone.graph import Captured, Opaque
from onebyone.graph.calls import Value

if TYPE_CHECKING:
    from onebyone.compiler.library.facts import About
    from onebyone.compiler.library.write import Library


@dataclass(frozen=True, slots=True)
class NativeStep:
    """A part of the network as native code, from values by name to values by name."""

    function: NativeFunction
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    account: Account


Step = NativeStep | Opaque


Batch = Literal["one", "these", "any"]
"""Numbers of images that a network takes: that of its example, several ones, or any."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A file with a compiled network: where it lies, and the digest of what it says at its head."""

    path: Path
    digest: str


class CompiledModel:
    """Run a network as native code, with the operators that the compiler does not know in PyTorch.

    Call it like the network: tensors of the example's shapes, float32, on the CPU, in any memory
    layout. Results are new tensors, and what the network writes into its inputs is written there.
    It may be called from several Python threads; calls take turns. The weights are those at the
    time of compilation.

    Attributes:
        target: Processor that it was compiled for.
        options: What was asked of the compiler.
        threads: Threads that it runs on.
        fallbacks: Operators that run in PyTorch; empty if all is native.
        captured: The network as it was captured.
        native_steps: Its parts that are native code.
        saved: The file that it was saved to or loaded from, if any.
    """

    def __init__(
        self,
        captured: Captured,
        steps: Sequence[Step],
        *,
        target: Target,
        options: CompileOptions,
        fates: LayerFates | None = None,
        chosen: Mapping[str, Choices] | None = None,
    ) -> None:
        self._fates = fates
        self._results: tuple[ResultFacts, ...] | None = None
        self._number = register_network(self)
        self.saved: Saved | None = None
        self.target = target
        self.options = options
        self.threads = options.thread_count
        self.captured = captured
        self._chosen = chosen
        self._inputs = tuple(node.name for node in captured.graph.inputs)
        self._outputs = captured.graph.outputs
        self._steps = tuple(steps)
        opaque = [step for step in steps if isinstance(step, Opaque)]
        self._constants = frozenset(_storage(one) for node in opaque for one in node.tensors())
        self.fallbacks = tuple(map(Fallback.of, opaque))
        self.native_steps = tuple(step for step in self._steps if isinstance(step, NativeStep))
        given = {name for step in self.native_steps for name in step.gives}
        names = [ref.name for ref in self._outputs]
        # What native code gives is new, once.
        self._are_new = not opaque and len({*names} & given) == len(names)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network.

        Raises:
            ShapeError: If an argument is not like the example's, or if one shares memory with
                another that the network writes into.
        """
        outputs = self.call_flat(self.captured.flatten(args, kwargs))
        return self.captured.unflatten(outputs)

    def call_flat(self, tensors: list[Tensor]) -> list[Tensor]:
        """Run the network on its flattened arguments, and return the flattened results.

        Raises:
            ShapeError: As of a call.
        """
        plain = self._check(tensors)
        with torch.no_grad():
            if plain and self.captured.written:
                self.captured.check_apart(tensors)
            outputs = self._run(tensors) if plain else call_network(self._number, tensors)
            if self.captured.written:
                self.captured.write_back(tensors, outputs)
            return outputs

    def run(self, tensors: list[Tensor]) -> list[Tensor]:
        """Run on the flattened arguments, all plain tensors, and return the flattened results."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return self._run(tensors)

    def results(self) -> tuple[ResultFacts, ...]:
        """Return what is known of the flattened results beforehand: what a run on zeros gave."""
        if self._results is None:
            # No mode or transform that is on here reaches a thread of its own.
            with ThreadPoolExecutor(max_workers=1) as beside:
                tensors = beside.submit(self._run_on_zeros).result()
            self._results = tuple(
                ResultFacts(tuple(one.shape), one.stride(), one.dtype) for one in tensors
            )
        return self._results

    def _run_on_zeros(self) -> list[Tensor]:
        wanted = [leaf for leaf in self.captured.in_leaves if isinstance(leaf, Value)]
        return self.run([torch.zeros(v.shape, dtype=v.dtype, device="cpu") for v in wanted])

    def profile(self, *args: Any, rounds: int = 10, **kwargs: Any) -> Profile:
        """Run the network `rounds` times and return what each layer took (the median).

        Inputs stay as they are, whatever the network writes into them.

        Raises:
            ShapeError: If an argument is not like the example's, or `rounds` is below 1.
        """
        tensors = self.captured.flatten(args, kwargs)
        if not self._check(tensors):
            raise ShapeError(
                "only plain tensors can be timed: no fake or lazily negated ones, and no mode that "
                "watches operators"
            )
        if rounds < 1:
            raise ShapeError(f"`rounds` (={rounds}) must be at least 1")
        runs: list[list[LayerTime]] = []
        with torch.no_grad():
            self._run(tensors)
            for _ in range(rounds):
                timed: list[LayerTime] = []
                self._run(tensors, timed)
                runs.append(timed)
        return Profile.of(runs, self.threads)

    @property
    def memory_bytes(self) -> int:
        """Memory that native code runs in: packed weights and tables, and room for activations."""
        return sum(step.function.memory.bytes for step in self.native_steps)

    def export(
        self,
        out: str | Path,
        *,
        name: str | None = None,
        targets: Sequence[str] = (),
        about: "About | None" = None,
        embed: bool = False,
        cc: str | None = None,
    ) -> "Library":
        """Write the network as a library that needs no Python; it gives the same bits.

        Args:
            out: A folder; it is replaced if it is there and an export wrote it.
            name: What the functions of the library begin with; by default what the folder is
                called.
            targets: Names of the processors that it is for, of one architecture; by default the one
                that this network was compiled for. On another, Winograd's algorithm may be chosen
                for other layers.
            about: How images become its input, and names of its classes.
            embed: Whether the weights lie inside the library, not beside it.
            cc: A C compiler's command; by default the system's.

        Raises:
            CompileError: If there are operators without native code, or no C compiler.
            UnknownNameError: If there is no target of a name, or C cannot have the library's.
            ModelError: If the folder cannot be written, or weights have changed since.
        """
        from onebyone.compiler.library.export import export_compiled

        return export_compiled(
            self, out, name=name, targets=targets, about=about, embed=embed, cc=cc
        )

    @property
    def chosen(self) -> Mapping[str, Choices]:
        """How some nodes run in place of what the cost model says, by name."""
        return dict(self._chosen or {})

    def fates(self) -> LayerFates:
        """Return what became of each layer: with whom it was fused, or why not; print it."""
        if self._fates is None:
            accounts = [step.account for step in self.native_steps]
            self._fates = tell_fates(self.captured.graph, accounts)
        return self._fates

    def save(self, path: str | Path) -> None:
        """Write the compiled network to a file that `load_compiled` reads, without the network.

        Raises:
            CompileError: If operators run in PyTorch, or the file cannot be written.
        """
        from onebyone.compiler.saved import save

        self.saved = save({None: {1: self}}, Path(path), "one")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the file that it was saved to or loaded from, and its digest.

        Raises:
            CompileError: If there is none.
        """
        from onebyone.compiler.saved import by_name

        return by_name(self.saved)

    def __repr__(self) -> str:
        """Show what it is, where it runs and what was asked for."""
        count = len(self.fallbacks)
        left = f"{count} operator{'s' if count > 1 else ''} in PyTorch" if count else "fully native"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        strict = ", strict" if self.options.strict else ""
        return (
            f"CompiledModel({self.target.name}, {threads}, {self.options.numerics}{strict}, {left})"
        )

    def _check(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether native code can read the inputs as they are, without PyTorch's help.

        Raises:
            ShapeError: If they, or what PyTorch is told to do with them, do not fit.
        """
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise ShapeError(
                "an input requires a gradient, and compiled networks have none: call it under "
                "torch.inference_mode(), or with x.detach()"
            )
        if torch.compiler.is_dynamo_compiling():
            return False
        if torch.is_autocast_enabled("cpu"):
            raise ShapeError(
                f"autocast to {torch.get_autocast_dtype('cpu')} is on, and compiled networks "
                "compute in float32: call it under torch.autocast('cpu', enabled=False), or run "
                "the network in PyTorch"
            )
        if is_transformed():
            raise ShapeError(
                "compiled networks have no rules for torch.func's transforms (vmap, grad, jvp): "
                "call it outside of them, or transform the network that it was compiled from"
            )
        plain = not is_watched()
        for tensor in tensors:
            if not is_plain(tensor):
                _check_place(tensor)
                plain = False
        return plain

    def _run(self, tensors: list[Tensor], timed: list[LayerTime] | None = None) -> list[Tensor]:
        values: dict[str, Any] = dict(zip(self._inputs, tensors, strict=True))
        for step in self._steps:
            if isinstance(step, Opaque):
                values[step.name] = call_opaque(step, values)
                continue
            given = [_resolved(values[name]) for name in step.takes]
            if timed is None:
                results = step.function(given)
            else:
                results, timings = step.function.timed(given)
                timed += read_timings(step.account.layers, timings)
            values.update(zip(step.gives, results, strict=True))
        outputs = [show_to(ref, values[ref.name]) for ref in self._outputs]
        return outputs if self._are_new else self._renewed(outputs, tensors)

    def _renewed(self, outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        """Copy outputs that lie in the memory of an input, of a constant or of another output."""
        taken = {*self._constants, *map(_storage, inputs)}
        for index, output in enumerate(outputs):
            if _storage(output) in taken:
                outputs[index] = output.clone()
            taken.add(_storage(output))
        return outputs


def _check_place(tensor: Tensor) -> None:
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise ShapeError(
            f"compiled networks take dense tensors on the CPU; got a {tensor.layout} "
            f"tensor on {tensor.device}"
        )


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _resolved(tensor: Tensor) -> Tensor:
    """Return a tensor whose memory has the sign of its numbers; PyTorch may negate lazily."""
    return tensor.resolve_neg() if tensor.is_neg() else tensor
