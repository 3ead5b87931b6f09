"""The layers of a network as its user made it: their names, what they share, who watches them."""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from onebyone.errors import UnknownNameError, did_you_mean

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps what its users hang on it."""


class Layers:
    """The modules of a network.

    Args:
        network: The user's, with its hooks.
        keep: Paths of modules that must stay as they are, with all that is in them.

    Raises:
        UnknownNameError: If `keep` names what the network does not have.
    """

    def __init__(self, network: nn.Module, keep: Collection[str] = ()) -> None:
        self.modules = dict(network.named_modules())
        self._keep = tuple(keep)
        self._names: dict[int, list[str]] = {}
        for name, module in network.named_modules(remove_duplicate=False):
            self._names.setdefault(id(module), []).append(name)
        _check_known(self._keep, [name for names in self._names.values() for name in names])

    def __getitem__(self, path: str) -> nn.Module:
        """Return the module at a path."""
        return self.modules[path]

    @cached_property
    def weighted(self) -> Mapping[str, nn.Module]:
        """The convolutions of every kind and the linear layers, by path."""
        kinds = (_ConvNd, nn.Linear, nn.Bilinear)
        return {path: one for path, one in self.modules.items() if isinstance(one, kinds)}

    @property
    def replaceable(self) -> tuple[str, ...]:
        """Paths of the convolutions and batch norms whose place something else could take."""
        return tuple(
            path
            for path, one in self.modules.items()
            if path and isinstance(one, (_ConvNd, _BatchNorm)) and not self.other_names(path)
        )

    @cached_property
    def hooked(self) -> tuple[str, ...]:
        """Paths of the modules that somebody's hooks look at."""
        return tuple(path for path, one in self.modules.items() if _has_hooks(one))

    def is_kept(self, path: str) -> bool:
        """Whether a module is to stay as it is."""
        return any(is_within(path, one) for one in self._keep)

    def other_names(self, path: str) -> list[str]:
        """Return what else the network calls a module."""
        return [name for name in self._names[id(self[path])] if name != path]

    def other_holders(self, path: str) -> list[str]:
        """Return the other modules that hold some of a module's numbers."""
        tensors = self[path].parameters(recurse=False)
        found = (name for tensor in tensors for name in self._holders[storage(tensor)])
        return [name for name in found if name != path]

    @cached_property
    def _holders(self) -> Mapping[int, list[str]]:
        """Paths of the modules that hold numbers, by the memory that these lie in."""
        found: dict[int, list[str]] = {}
        for path, module in self.modules.items():
            for tensor in module.parameters(recurse=False):
                found.setdefault(storage(tensor), []).append(path)
        return found

    def watcher(self, paths: Collection[str]) -> str | None:
        """Return the module whose hooks see what goes from one of these modules to another.

        Hooks on a module that all of them are in see only what goes in and what comes out.
        """
        for hooked in self.hooked:
            inside = [is_within(path, hooked) for path in paths]
            if any(inside) and not all(inside):
                return hooked
        return None


def is_within(path: str, other: str) -> bool:
    """Whether a module is another, or in it."""
    return not other or path == other or path.startswith(f"{other}.")


def storage(tensor: Tensor) -> int:
    """Return what tells the memory of a tensor from others', on the meta device too."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight of a layer."""
    assert isinstance(module.weight, Tensor)
    return module.weight


def _has_hooks(module: nn.Module) -> bool:
    if any(getattr(module, name, None) for name in _HOOKS):
        return True
    return any(tensor._backward_hooks for tensor in module.parameters(recurse=False))


def _check_known(keep: Iterable[str], names: Collection[str]) -> None:
    for name in keep:
        if name not in names:
            raise UnknownNameError(
                f"`keep` names {name!r}, and the network has no such module"
                f"{did_you_mean(name, names)}"
            )
