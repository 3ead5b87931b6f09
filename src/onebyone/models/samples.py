"""Photos to try a network on, which packages of the extra `demo` carry."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from onebyone.errors import MissingPackageError


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """Name a photo that a package carries: the package's import name, and the file in it."""

    package: str
    file: str

    def find(self) -> Path:
        """Return where it lies; the package is looked for, and not imported.

        Raises:
            MissingPackageError: If the package is not installed.
        """
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise MissingPackageError(
                f"the sample photos come with {self.package}, which is not installed; install the "
                "extra: pip install 'onebyone[demo]'"
            )
        return Path(spec.origin).parent / self.file


SAMPLE_PHOTOS = (
    SamplePhoto("skimage", "data/chelsea.png"),
    SamplePhoto("skimage", "data/coffee.png"),
    SamplePhoto("skimage", "data/camera.png"),
    SamplePhoto("skimage", "data/rocket.jpg"),
    SamplePhoto("sklearn", "datasets/images/china.jpg"),
    SamplePhoto("sklearn", "datasets/images/flower.jpg"),
    SamplePhoto("skimage", "data/motorcycle_left.png"),
)
"""Those whose subject is one of ImageNet's classes."""
