"""`onebyone.open_native`: an exported library, called from Python; needs numpy, and no PyTorch."""

import _ctypes
import ctypes
import os
from collections import deque
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from onebyone.errors import NativeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

ABI = 1
FILE_ERROR = 5
MOST_AXES = 4


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("rank", c_int),
        ("shape", c_size_t * MOST_AXES),
        ("strides", c_size_t * MOST_AXES),
        ("per_image", c_size_t),
    )


class _Facts(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        *((name, c_int) for name in ("batch", "any_batch", "batch_count")),
        ("batches", POINTER(c_int)),
        ("channels", c_int),
        *((name, POINTER(c_float)) for name in ("mean", "deviation")),
        *((f"{name}_count", c_int) for name in ("input", "output", "class", "target")),
        *((name, POINTER(_Tensor)) for name in ("inputs", "outputs")),
        *((name, POINTER(c_char_p)) for name in ("classes", "targets")),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        *((name, c_int) for name in ("batch", "threads", "layout")),
        *((name, c_void_p) for name in ("parallel_for", "user", "workspace")),
        ("workspace_bytes", c_size_t),
    )


@dataclass(frozen=True, slots=True)
class NativeTensor:
    """An input or an output of a library.

    Attributes:
        name: What it is called.
        shape: For a call on `batch` images.
        strides: Numbers between neighbours along each axis.
        per_image: Numbers for each image of a call; 0 if it is the same for any number of them.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    per_image: int

    def shape_for(self, images: int) -> tuple[int, ...]:
        """Return its shape for a call on so many images."""
        return (images, *self.shape[1:]) if self.per_image else self.shape


class NativeNetwork:
    """Call an exported library with numpy arrays.

    It may be called from several Python threads at once; each call has memory of its own, and all
    share the weights. It is a context manager, and closes itself at the end.

    Attributes:
        name: Of the network.
        target: The kind of processor that its code is for.
        targets: All that the library has code for, the best first.
        inputs: What it reads.
        outputs: What it gives.
        batch: Images of the smallest call.
        batches: Numbers of images that there is code for at once, the smallest first.
        any_batch: Whether calls of several times the smallest number are allowed, in parts of
            `batches`; else only those are.
        mean: Of each channel, on a scale of 0 to 1; empty if unknown.
        deviation: Likewise.
        classes: A name for each score; empty if unknown.
        threads: Threads of each call.
    """

    def __init__(self, folder: Path, *, threads: int, target: str | None) -> None:
        self._free: deque[c_void_p] = deque()
        self._network = c_void_p()
        self._name, self._library = _load(folder)
        self._is_closed = False
        about = self._about()
        self.name: str = about.name.decode()
        self.batch: int = about.batch
        self.batches = tuple(about.batches[: about.batch_count])
        self.any_batch = bool(about.any_batch)
        self.inputs = _tensors(about.inputs, about.input_count)
        self.outputs = _tensors(about.outputs, about.output_count)
        self.mean = tuple(about.mean[: about.channels]) if about.channels else ()
        self.deviation = tuple(about.deviation[: about.channels]) if about.channels else ()
        self.classes = _texts(about.classes, about.class_count)
        self.targets = _texts(about.targets, about.target_count)
        self.threads = threads
        weights = folder / f"{self.name}.weights"
        path = os.fsencode(weights) if weights.exists() else None
        wanted = None if target is None else target.encode()
        self._call(str(folder), "open", path, wanted, c_uint(ABI), byref(self._network))
        found = self._function("target")
        found.restype = c_char_p
        self.target: str = found(self._network).decode()

    def __call__(self, *inputs: "np.ndarray[Any, Any]") -> Any:
        """Run the network on arrays of float32.

        Returns:
            The result; a tuple if there are several.

        Raises:
            NativeError: If an input is not as the library wants it, or no memory is left.
        """
        results = self.run(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: "Sequence[np.ndarray[Any, Any]]") -> "list[np.ndarray[Any, Any]]":
        """Run the network on arrays, and return all results."""
        import numpy as np

        images = self._images(inputs)
        arrays = [np.ascontiguousarray(one) for one in inputs]
        results = [_empty(one, images) for one in self.outputs]
        context = self._context()
        try:
            self._call("run", "run", context, _addresses(arrays), _addresses(results), images)
        finally:
            self._free.append(context)
        return results

    def _images(self, inputs: "Sequence[np.ndarray[Any, Any]]") -> int:
        """Return how many images the inputs are for.

        Raises:
            NativeError: If they are not as the library wants them.
        """
        if len(inputs) != len(self.inputs):
            raise NativeError(
                f"{self.name} reads {len(self.inputs)} arrays "
                f"({', '.join(one.name for one in self.inputs)}); got {len(inputs)}"
            )
        counts = set()
        for wanted, given in zip(self.inputs, inputs, strict=True):
            shape, kind = tuple(given.shape), str(given.dtype)
            images = shape[0] if shape and wanted.per_image else self.batch
            fits = shape == wanted.shape_for(images) and self._takes(images)
            if kind != "float32" or not fits:
                others = self._other_sizes() if wanted.per_image else ""
                raise NativeError(
                    f"{self.name}: input {wanted.name!r} must be float32 of shape {wanted.shape}"
                    f"{others}; got {kind} of shape {shape}"
                )
            if wanted.per_image:
                counts.add(images)
        if len(counts) > 1:
            raise NativeError(f"{self.name}: inputs must be for the same number of images")
        return counts.pop() if counts else self.batch

    def _takes(self, images: int) -> bool:
        is_multiple = self.any_batch and images > 0 and images % self.batch == 0
        return is_multiple or images in self.batches

    def _other_sizes(self) -> str:
        if self.any_batch:
            return ", or several times as many images"
        others = " or ".join(map(str, self.batches[1:]))
        return f", or {others} images" if others else ""

    def _context(self) -> c_void_p:
        """Return a context that no other call has."""
        if not self._network:
            raise NativeError(f"{self.name} has been closed; open it again")
        try:
            return self._free.pop()
        except IndexError:
            context = c_void_p()
            options = _Options(threads=self.threads)
            self._call("context", "context_open", self._network, byref(options), byref(context))
            return context

    def close(self) -> None:
        """Give back memory and threads; no call may be running."""
        while self._free:
            _void(self._function("context_close"), self._free.pop())
        if self._network:
            _void(self._function("close"), self._network)
        self._network = c_void_p()
        if not self._is_closed:
            # Else who exports again into this folder, and opens that, would be given this library.
            _ctypes.dlclose(self._library._handle)
        self._is_closed = True

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Close it if nobody has."""
        if hasattr(self, "_is_closed"):
            self.close()

    def __repr__(self) -> str:
        """Show its name, where it runs and on what."""
        return f"NativeNetwork({self.name}, {self.target}, {self.threads} threads)"

    def _about(self) -> Any:
        version = self._function("abi_version")()
        if version != ABI:
            raise NativeError(
                f"{self._name}: a library of interface version {ABI} was wanted, and it has "
                f"{version}; export it again with this version of onebyone"
            )
        about = self._function("about")
        about.restype = POINTER(_Facts)
        return about().contents

    def _function(self, name: str) -> Any:
        return self._library[f"{self._name}_{name}"]

    def _call(self, place: str, name: str, *arguments: Any) -> None:
        error = self._function(name)(*arguments)
        if error:
            text = self._function("error_text")
            text.restype = c_char_p
            reason = f" ({os.strerror(ctypes.get_errno())})" if error == FILE_ERROR else ""
            raise NativeError(f"{place}: {text(error).decode()}{reason}")


def open_native(
    folder: str | Path, *, threads: int = 1, target: str | None = None
) -> NativeNetwork:
    """Open a folder that `onebyone export --to native` has written.

    Args:
        folder: The folder.
        threads: Threads of each call; the caller's is one of them.
        target: The kind of processor whose code is to run; by default the best that runs here.

    Returns:
        What is called with numpy arrays.

    Raises:
        NativeError: If there is no library, this processor cannot run it, or the weights are
            damaged.
    """
    return NativeNetwork(Path(folder), threads=threads, target=target)


def _load(folder: Path) -> tuple[str, ctypes.CDLL]:
    found = sorted(folder.glob("lib*.so"))
    if len(found) != 1:
        raise NativeError(
            f"{folder}: a folder that `onebyone export --to native` has written was wanted; "
            f"there are {len(found)} files lib*.so in it"
        )
    try:
        library = ctypes.CDLL(str(found[0].absolute()), use_errno=True)
        name = found[0].stem.removeprefix("lib")
        _ = library[f"{name}_abi_version"]
    except (OSError, AttributeError) as error:
        raise NativeError(f"{found[0]} is no library for this machine ({error})") from error
    return name, library


def _void(function: Any, argument: c_void_p) -> None:
    function.restype = None
    function(argument)


def _tensors(tensors: Any, count: int) -> tuple[NativeTensor, ...]:
    return tuple(
        NativeTensor(
            name=one.name.decode(),
            shape=tuple(one.shape[: one.rank]),
            strides=tuple(one.strides[: one.rank]),
            per_image=one.per_image,
        )
        for one in tensors[:count]
    )


def _texts(texts: Any, count: int) -> tuple[str, ...]:
    return tuple(text.decode() for text in texts[:count]) if count else ()


def _empty(tensor: NativeTensor, images: int) -> "np.ndarray[Any, Any]":
    """Return memory for a result for some images, as the library lays it out."""
    import numpy as np

    shape = tensor.shape_for(images)
    order = sorted(range(len(shape)), key=lambda axis: -tensor.strides[axis])
    memory = np.empty([shape[axis] for axis in order], np.float32)
    return memory.transpose(np.argsort(order))


def _addresses(arrays: "Sequence[np.ndarray[Any, Any]]") -> Any:
    return (c_void_p * len(arrays))(*(one.ctypes.data for one in arrays))
