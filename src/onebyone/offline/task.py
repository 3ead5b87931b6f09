"""What a user asks for, before anything of it is loaded."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from onebyone.models.reference import CheckpointFile, FileFactory, OnnxFile, read_reference
from onebyone.offline.engine import Engine


@dataclass(frozen=True, slots=True)
class Task:
    """What is predicted, and by what.

    Attributes:
        model: As for `onebyone.load_model`.
        weights: Likewise.
        engine: What runs the network.
        top: How many classes to name for each photo.
    """

    model: str
    weights: str | None
    engine: Engine
    top: int

    def from_anywhere(self) -> "Task":
        """Return the same for a process that runs in another folder."""
        model, weights = self.model, self.weights
        match read_reference(model):
            case CheckpointFile(path):
                model = str(path.absolute())
            case FileFactory(path, factory):
                model = f"{path.absolute()}:{factory}"
            case OnnxFile(path) as file:
                model = str(replace(file, path=path.absolute()))
            case _:
                pass
        if weights is not None and Path(weights).is_file():
            weights = str(Path(weights).absolute())
        return replace(self, model=model, weights=weights)

    def to_json(self) -> dict[str, Any]:
        """Return the task as what `json` can write."""
        return asdict(self) | {"engine": self.engine.value}
