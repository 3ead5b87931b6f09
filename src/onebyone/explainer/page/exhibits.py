"""1x1s at work, as numbers that a script in the page can read."""

from base64 import b64encode
from io import BytesIO
from typing import Any

from torch import Tensor

from onebyone.explainer.page.rows import Row
from onebyone.explainer.specimen import Specimen

_ROOM = 1_600_000
"""Characters that exhibits may take up in a page."""


def exhibits_of(specimens: tuple[Specimen, ...], rows: list[Row]) -> list[dict[str, Any]]:
    """Return the specimens that there is room for, as what JSON can say.

    Numbers are float16 in base64, as parts of the largest of their tensor, which is given beside
    them: three digits are enough to look at, and half as long.
    """
    by_name = {row.layer.name: row for row in rows}
    exhibits: list[dict[str, Any]] = []
    room = _ROOM
    for one in specimens:
        exhibit = _exhibit(one, by_name.get(one.name))
        size = sum(len(exhibit[key]["data"]) for key in ("input", "weight"))
        if size <= room:
            exhibits.append(exhibit)
            room -= size
    return exhibits


def _exhibit(one: Specimen, row: Row | None) -> dict[str, Any]:
    return {
        "path": one.path or one.name,
        "label": row.label if row else "1x1",
        "follows": row.follows if row else "",
        "photo": _photo(one.image) if one.image is not None else None,
        "input": _numbers(one.input),
        "weight": _numbers(one.weight),
        "bias": [round(number, 6) for number in one.bias.tolist()],
        "stride": list(one.stride),
    }


def _numbers(tensor: Tensor) -> dict[str, Any]:
    """Pack a tensor; `largest` is 1 where all its numbers are 0."""
    largest = float(tensor.abs().max()) or 1.0
    halves = (tensor.float() / largest).half().contiguous().numpy()
    data = b64encode(halves.astype("<f2").tobytes()).decode()
    return {"shape": list(tensor.shape), "largest": largest, "data": data}


def _photo(image: Tensor) -> str:
    """Return an image `(3, H, W)` as a URL that holds it."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode()
