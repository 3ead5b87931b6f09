"""What was made and timed, as JSON, as tables in Markdown, and as a picture."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from onebyone.files import replacing
from shrinking.clocks import SEED, SETTINGS, read_times
from shrinking.making import Made, read_made
from shrinking.methods import METHODS, SHARES
from shrinking.networks import SKELETONS

TITLES = {
    **{name: method.title for name, method in METHODS.items()},
    "ours-tuned": "OneByOne, learnt",
    "l2-tuned": "Torch-Pruning L2, learnt",
    "taylor-tuned": "Torch-Pruning Taylor, learnt",
    "scratch": "OneByOne's structure from scratch",
}

TIMES = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the original's time at which methods are compared."""

LOST = 0.5
"""Points lost at which they are compared."""

MOST_DRAWN = 6.0
"""Points lost, beyond which a network is left out of the picture."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One network of a method: time as a share of the original's, and points lost."""

    time: float
    lost: float


def write_report(runs: Path, folder: Path) -> None:
    """Write `results.json`, `tables.md`, and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    made = read_made(runs / "made")
    times = {
        (name, setting): read_times(runs / f"times-{name}-{setting}.json")
        for name in SKELETONS
        for setting in SETTINGS
    }
    known = {"made": [asdict(one) for one in made]}
    known["times"] = [asdict(one) for found in times.values() for one in found.values()]
    _write(folder / "results.json", json.dumps(known, indent=1) + "\n")
    parts = [
        "Points of accuracy lost, mean over seeds ± standard error; shares are of the original's."
    ]
    for name in SKELETONS:
        lost = points_lost([one for one in made if one.network == name])
        parts += [f"### {name}: points lost by multiply-adds", _by_macs(lost)]
        spots = {
            setting: spots_of(name, lost, {key: one.share for key, one in found.items()})
            for (network, setting), found in times.items()
            if network == name and found
        }
        if spots:
            parts += [f"### {name}: points lost by measured time", _by_time(spots)]
            parts += [f"### {name}: time at {LOST} points lost", _at_loss(spots)]
            _draw(folder, name, spots)
    _write(folder / "tables.md", "\n\n".join(parts) + "\n")


def points_lost(made: Sequence[Made]) -> dict[tuple[str, float], list[float]]:
    """Return how many points of accuracy each seed lost, by method and share."""
    original = {one.seed: one.test for one in made if one.method == "original"}
    lost: dict[tuple[str, float], list[float]] = {}
    for one in made:
        if one.macs and one.method != "original":
            points = 100 * (original[one.seed] - one.test)
            lost.setdefault((one.method, one.share), []).append(points)
    return lost


def spots_of(
    name: str, lost: Mapping[tuple[str, float], list[float]], shares: Mapping[str, float]
) -> dict[str, list[Spot]]:
    """Return each method's networks, none of which another of it beats, the fastest first."""
    found: dict[str, list[Spot]] = {}
    for (method, share), points in lost.items():
        key = Made(network=name, seed=SEED, method=method, share=share).key
        if key in shares and method != "scratch":  # of which there is one network
            found.setdefault(method, []).append(Spot(shares[key], statistics.mean(points)))
    return {method: _unbeaten([*spots, Spot(1.0, 0.0)]) for method, spots in found.items()}


def lost_at(spots: Sequence[Spot], time: float) -> float | None:
    """Return the points lost at a share of the time, on lines between networks.

    None if the fastest of them takes longer.
    """
    if time >= spots[-1].time:
        return spots[-1].lost
    for quick, slow in pairwise(spots):
        if quick.time <= time <= slow.time:
            place = (time - quick.time) / (slow.time - quick.time)
            return quick.lost + place * (slow.lost - quick.lost)
    return None


def time_at(spots: Sequence[Spot], lost: float) -> str:
    """Return the share of the time at which so many points are lost, likewise."""
    for quick, slow in pairwise(spots):
        if quick.lost >= lost >= slow.lost:
            place = (quick.lost - lost) / (quick.lost - slow.lost)
            return f"{quick.time + place * (slow.time - quick.time):.2f}"
    return f"≤ {spots[0].time:.2f}"


def _unbeaten(spots: Iterable[Spot]) -> list[Spot]:
    kept: list[Spot] = []
    for spot in sorted(spots, key=lambda one: (one.lost, one.time)):
        if not kept or spot.time < kept[-1].time:
            kept.append(spot)
    return kept[::-1]


def _by_macs(lost: Mapping[tuple[str, float], list[float]]) -> str:
    rows = [
        [title, *(_mean(lost.get((method, share), [])) for share in SHARES)]
        for method, title in TITLES.items()
        if any((method, share) in lost for share in SHARES)
    ]
    return _table(["", *(f"{share:g}" for share in SHARES)], rows)


def _by_time(spots: Mapping[str, Mapping[str, Sequence[Spot]]]) -> str:
    rows: list[list[str]] = []
    for setting, found in spots.items():
        for method, title in TITLES.items():
            if method in found:
                cells = [lost_at(found[method], time) for time in TIMES]
                words = ["–" if one is None else f"{one:.2f}" for one in cells]
                rows.append([_words(setting), title, *words])
    return _table(["", "", *(f"{time:g}" for time in TIMES)], rows)


def _at_loss(spots: Mapping[str, Mapping[str, Sequence[Spot]]]) -> str:
    methods = [method for method in TITLES if any(method in found for found in spots.values())]
    rows = [
        [
            TITLES[method],
            *(time_at(found[method], LOST) if method in found else "–" for found in spots.values()),
        ]
        for method in methods
    ]
    return _table(["", *map(_words, spots)], rows)


def _words(setting: str) -> str:
    runtime, batch = SETTINGS[setting]
    name = {"compiled": "compiled", "onnxruntime": "ONNX Runtime"}[runtime]
    return f"{name}, {batch}"


def _mean(points: Sequence[float]) -> str:
    if not points:
        return "–"
    mean = f"{statistics.mean(points):.2f}"
    if len(points) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(points) / len(points) ** 0.5:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _draw(folder: Path, name: str, spots: Mapping[str, Mapping[str, Sequence[Spot]]]) -> None:
    import altair as alt
    import vl_convert

    values = [
        {
            "setting": _words(setting),
            "method": TITLES[method],
            "time": spot.time,
            "lost": spot.lost,
        }
        for setting, found in spots.items()
        for method, some in found.items()
        for spot in some
        if spot.lost <= MOST_DRAWN
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_line(point=True)
        .encode(
            x=alt.X("time:Q", title="time, share of the original's", scale=alt.Scale(zero=True)),
            y=alt.Y("lost:Q", title="points lost", scale=alt.Scale(reverse=True)),
            color=alt.Color(
                "method:N",
                title=None,
                sort=list(TITLES.values()),
                scale=alt.Scale(scheme="tableau20"),
            ),
        )
        .properties(width=330, height=230)
        .facet(facet=alt.Facet("setting:N", title=None), columns=2)
    )
    found = chart.to_dict()
    found["config"] = {"background": "white", "font": "sans-serif", "view": {"stroke": None}}
    with replacing(folder / f"{name}.svg") as temporary:
        temporary.write_bytes(vl_convert.vegalite_to_svg(found).encode())


def _write(file: Path, text: str) -> None:
    with replacing(file) as temporary:
        temporary.write_text(text)
