"""Following a network that looks at numbers, by what it does for those of one example."""

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from onebyone.graph.calls import Value
from onebyone.graph.recorder import Recorder, looks_at_numbers, replaced


class DecidingRecorder(Recorder):
    """Record what a network does for the numbers of one example.

    Tensors still have no numbers. Where the network looks at some, all that was recorded until then
    is run on the example.
    """

    def __init__(self, network: object) -> None:
        super().__init__(network)
        self.decisions: list[str] = []
        """Where the network looked at numbers, or drew some at random; once for each time."""
        self._numbers: dict[Value, Any] = {}
        self._done = 0  # how many calls have been run

    def add_input(self, tensor: Tensor, example: Tensor) -> Value:
        """Give the tensor that stands for an input its value, and that its numbers."""
        value = super().add_input(tensor, example)
        self._numbers[value] = example
        return value

    def _look(self, func: OpOverload) -> None:
        self._note(func)

    def _check_not_random(self, func: OpOverload) -> None:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self._note(func)

    def _note(self, func: OpOverload) -> None:
        place = self.node_path or self.places.running()
        self.decisions.append(f"{place} ({func})" if place else str(func))

    def _outcome(self, func: OpOverload, refs: tuple[Any, Any], twins: tuple[Any, Any]) -> Any:
        if not looks_at_numbers(func, twins[0]):
            return super()._outcome(func, refs, twins)
        self._run_what_was_recorded()
        args, kwargs = self._filled(refs)
        found = func(*args, **kwargs)
        self.looked = (*self.looked, *(leaf for leaf in refs[0] if isinstance(leaf, Value)))
        return replaced(found, self._twin)

    def _run_what_was_recorded(self) -> None:
        for call in self.calls[self._done :]:
            args, kwargs = self._filled((call.args, dict(call.kwargs)))
            result = call.target(*args, **kwargs)
            results = result if call.has_many else (result,)
            for value, number in zip(call.outputs, results, strict=True):
                if value is not None:
                    self._numbers[value] = number
        self._done = len(self.calls)

    def _filled(self, tree: Any) -> Any:
        """Put numbers in the place of values, in nested tuples, lists and dicts."""
        if isinstance(tree, Value):
            return self._numbers[tree]
        if isinstance(tree, (tuple, list)):
            return type(tree)([self._filled(item) for item in tree])
        if isinstance(tree, dict):
            return {key: self._filled(item) for key, item in tree.items()}
        return tree
