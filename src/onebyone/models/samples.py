"""Photos to try a network on, which come with this package.

`sample_photos/NOTICE.md` says whose they are, and on which terms.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent / "sample_photos"

SAMPLE_PHOTOS = tuple(
    _FOLDER / name
    for name in (
        "chelsea.webp",
        "coffee.jpg",
        "camera.png",
        "rocket.jpg",
        "china.jpg",
        "flower.jpg",
    )
)
"""Those whose subject is one of ImageNet's classes."""
