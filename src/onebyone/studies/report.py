"""What a study leaves in its folder: numbers as JSON and CSV, a picture, and the text."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from onebyone.files import replacing
from onebyone.studies.outcome import StudyResult
from onebyone.studies.plot import draw
from onebyone.studies.text import describe
from onebyone.training.data.data import Data
from onebyone.training.state import writing


def write_report(result: StudyResult, data: Data) -> None:
    """Write `results.json`, `results.csv`, `plot.svg`, `plot.png` and `README.md`.

    Raises:
        TrainingError: If a file cannot be written.
    """
    svg, png = draw(result)
    contents = {
        "results.json": json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n",
        "results.csv": _as_csv(result),
        "plot.svg": svg,
        "plot.png": png,
        "README.md": describe(result, data),
    }
    for name, content in contents.items():
        path = result.out / name
        with writing(path), replacing(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _as_csv(result: StudyResult) -> str:
    """Return a line for each condition and seed."""
    rows = list(_rows(result))
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(result: StudyResult) -> Iterator[dict[str, Any]]:
    for trial in result.trials:
        for name, numbers in trial.rows.items():
            condition = result.conditions[name]
            yield {
                "condition": name,
                "seed": trial.seed,
                **numbers,
                **{key: f"{value:.6g}" for key, value in condition.constants.items()},
            }
