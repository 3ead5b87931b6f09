"""The contract of fates: every captured layer once, and counts that a reader can check."""

import re
from collections import Counter
from collections.abc import Sequence

from onebyone.compiler.account import Account
from onebyone.compiler.fates import HELP, LINE_WIDTH, VERDICTS, LayerFates
from onebyone.graph import Constant, Graph, Input, Opaque


def check_fates(
    fates: LayerFates, graph: Graph, accounts: Sequence[Account]
) -> dict[str, tuple[str, str]]:
    """An fates tells of each captured layer and each operation once, and its text of both.

    Args:
        fates: What is tested.
        graph: As it was captured.
        accounts: What its native parts do.

    Returns:
        The verdict and the detail of each layer, by its place.
    """
    rows = fates.rows
    assert [row.name for row in rows] == list(graph.nodes)
    assert {row.verdict for row in rows} <= set(VERDICTS)
    layers = [layer for account in accounts for layer in account.layers]
    named = {name for row in rows for name in row.operations}
    helpers = Counter(layer.kind for layer in layers if layer.kind in HELP)
    assert named <= {layer.name for layer in layers}, "operations that are not there"
    assert fates.operations == len(layers)
    assert {kind: count for kind, count in fates.helpers if kind != "input"} == {
        kind: count for kind, count in helpers.items() if kind != "input"
    }
    computing = [layer for layer in layers if layer.kind not in HELP]
    assert {layer.name for layer in computing} <= named, "operations that compute no layer"
    places = {row.place for row in rows}
    for row, node in zip(rows, graph, strict=True):
        assert (row.verdict == "in PyTorch") == isinstance(node, Opaque) or row.verdict == "free"
        assert (row.verdict == "constant") == isinstance(node, Constant)
        assert (row.verdict == "input") == isinstance(node, Input)
        is_native = row.verdict in ("alone", "merged", "by rows", "fused")
        assert is_native == bool(row.operations) or row.verdict == "input"
        if row.verdict == "fused":
            hosts = row.detail.removeprefix("into ").removesuffix("; an output").split(" and ")
            assert places.issuperset(hosts) or " + " in row.detail, row
    check_text(fates)
    return {row.place: (row.verdict, row.detail) for row in rows}


def check_text(fates: LayerFates) -> None:
    """The text fits its lines, cuts no word, and has a line for each layer that its head counts."""
    head, body = str(fates).split("\n\n")
    lines = body.splitlines()
    assert max(map(len, [*head.splitlines(), *lines])) <= LINE_WIDTH
    starts = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert len(starts) == len(fates.rows)
    for row, start, stop in zip(fates.rows, starts, [*starts[1:], None], strict=True):
        words = " ".join(lines[start:stop]).split()
        wanted = f"{row.place} {row.kind} {row.verdict} {row.detail}".split()
        for word, whole in zip(words, wanted, strict=True):
            assert _is_shortened(word, whole), f"{word} is not {whole}"
    layers, operations = " ".join(head.split()).split(" layers: ")[1].split(" operations of ")
    counts = [int(number) for number in re.findall(r"(?:^|, )(\d+) ", layers)]
    assert sum(counts) == len(fates.rows)
    assert counts == [fates.count(one) for one in VERDICTS if fates.count(one)]
    parts = [int(number) for number in re.findall(r"(?:: |, )(\d+) ", operations)]
    assert sum(parts) == fates.operations


def _is_shortened(word: str, whole: str) -> bool:
    """Whether a word is as it was, or has lost whole parts of a path in its middle."""
    if word == whole:
        return True
    return any(
        set(word.split(separator)) <= {*whole.split(separator), "…"} for separator in (".", "_")
    )
