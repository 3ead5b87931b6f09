"""What tuning has found on this machine, by layer: kept between runs, and handed on as a file."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from onebyone.compiler.choose.check import check_way
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.machine.calibrate import machine_facts
from onebyone.compiler.target import Target
from onebyone.errors import CompileError
from onebyone.files import replacing
from onebyone.graph import Convolution, Pair
from onebyone.store import keep_content, read_content

FORMAT = 3

_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, CompileError)
"""What reading something else ends in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The fastest way of a layer.

    Args:
        pixels: Of a tile.
        vectors: Of a tile's channels.
        inner: What a chunk's inner loop goes through.
        shared: What threads share out.
        parts: Into how many parts pixels and channels are cut.
        kernel_parts: Into how many the kernel's rows.
        ways: How many ways have been measured.
        seconds: What it took, of all threads together.
        untuned_seconds: What the way took that the cost model expected to be the fastest.
        expected_seconds: What the cost model expected of that one.
    """

    pixels: int
    vectors: int
    inner: Literal["channels", "pixels"]
    shared: Literal["channels", "pixels"]
    parts: Pair
    kernel_parts: int
    ways: int
    seconds: float
    untuned_seconds: float
    expected_seconds: float

    def applied_to(self, choices: Choices) -> Choices:
        """Return how the layer runs, which would run as `choices` say."""
        return replace(
            choices,
            tile=TileSize(self.pixels, self.vectors),
            inner=self.inner,
            shared=self.shared,
            parts=self.parts,
            kernel_parts=self.kernel_parts,
        )

    @classmethod
    def of(cls, way: Choices, **measured: Any) -> Self:
        """Return the finding that a way is the fastest, with what was measured."""
        assert way.tile is not None
        size = {"pixels": way.tile.pixels, "vectors": way.tile.vectors}
        cuts = {"parts": way.parts, "kernel_parts": way.kernel_parts}
        return cls(**size, inner=way.inner, shared=way.shared, **cuts, **measured)

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Self:
        """Return what was written.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
        """
        known: dict[str, Any] = {**facts, "parts": tuple(facts["parts"])}
        found = cls(**known)
        times = (found.seconds, found.untuned_seconds, found.expected_seconds)
        if type(found.ways) is not int or not all(math.isfinite(one) and one > 0 for one in times):
            raise ValueError("nothing that was measured")
        return found


class Wisdom:
    """Findings of one machine, by what the layer is; what is added is kept at once."""

    def __init__(self, target: Target) -> None:
        self._target, self._facts = target, machine_facts(target)
        known = json.dumps({"wisdom": FORMAT} | self._facts, sort_keys=True)
        self._key = hashlib.sha256(known.encode()).hexdigest()
        self.findings: dict[str, Finding] = self._read()

    def add(self, findings: Mapping[str, Finding]) -> None:
        """Take in what was found, and keep it."""
        # Another process may have found others meanwhile.
        self.findings = self._read() | self.findings | dict(findings)
        text = json.dumps(self._content(), indent=1)
        summary = {"wisdom": f"{len(self.findings)} layers"}
        keep_content(self._key, text.encode(), summary)

    def export(self, path: Path) -> None:
        """Write a file that `take_in` reads on a machine like this one.

        Raises:
            CompileError: If it cannot be written.
        """
        text = json.dumps(self._content(), indent=1)
        try:
            with replacing(path) as temporary:
                temporary.write_text(text + "\n")
        except OSError as error:
            raise CompileError(f"cannot write {path} ({error.strerror})") from error

    def take_in(self, path: Path) -> int:
        """Take in what a file of `export` says, and keep it; return how many layers.

        Raises:
            CompileError: If it is no such file, or of another kind of machine.
        """
        try:
            content = json.loads(path.read_text())
            findings = dict(self._findings(content))
        except OSError as error:
            raise CompileError(f"{path}: cannot be read ({error.strerror})") from error
        except _DAMAGED as error:
            raise CompileError(
                f"{path}: is no file that `onebyone tune --export` has written, or it is another "
                "version's"
            ) from error
        if content["machine"] != json.loads(json.dumps(self._facts)):
            raise CompileError(
                f"{path}: was found on another machine ({content['machine'].get('processor')}, "
                f"{content['machine'].get('cores')} cores); tune on this one"
            )
        self.add(findings)
        return len(findings)

    def _content(self) -> dict[str, Any]:
        layers = {name: asdict(finding) for name, finding in sorted(self.findings.items())}
        return {"format": FORMAT, "machine": self._facts, "layers": layers}

    def _read(self) -> dict[str, Finding]:
        content = read_content(self._key)
        try:
            return {} if content is None else dict(self._findings(json.loads(content)))
        except _DAMAGED:
            return {}

    def _findings(self, content: Mapping[str, Any]) -> Iterator[tuple[str, Finding]]:
        if content["format"] != FORMAT or not isinstance(content["machine"], dict):
            raise ValueError("another format")
        for name, facts in content["layers"].items():
            finding = Finding.of_json(facts)
            check_way(finding.applied_to(Choices()), self._target)
            yield str(name), finding


def layer_key(node: Convolution, choices: Choices, in_shape: tuple[int, ...], threads: int) -> str:
    """Return what a layer is, as far as its time goes, for people to read."""
    facts = [
        f"{'x'.join(map(str, node.kernel_size))} convolution",
        f"{'x'.join(map(str, in_shape))} -> {'x'.join(map(str, node.shape))}",
        f"stride {'x'.join(map(str, node.stride))}",
        f"dilation {'x'.join(map(str, node.dilation))}",
        f"groups {node.groups}",
        "residual" if node.inputs[1:] else "",
        node.activation.name if node.activation else "",
        f"Winograd {choices.winograd}" if choices.winograd else "",
        "weights as halves" if choices.unit == "halves" else "",
        f"threads {threads}",
    ]
    return ", ".join(filter(None, facts))
