"""What the card of some weights says about each part of the network, put into a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from cimsim.display.doubts import Doubt
from cimsim.graph.cutting import branches, gone, largest, matrices
from cimsim.graph.ir import LayerGraph
from cimsim.session.result import Result

THRESHOLD = 0.02  # dB: less is no reason to keep a layer

Given = Mapping[str, tuple[float, float | None]]


def doubts(graph: LayerGraph, given: Given, measured_on: str) -> tuple[Doubt, ...]:
    """Name the branches whose layers give nothing that could be told from noise.

    Parameters
    ----------
    graph : LayerGraph
    given : mapping
        Part -> (what it gives in dB, noise of that), see `cimsim.zoo.weights.Card`.
    measured_on : str
        For the message.

    Returns
    -------
    tuple of Doubt
        One for each branch with layers of its own, without those inside of another one.
    """
    weak = {}
    for part in branches(graph):
        lost = gone(graph, part.cuts)
        value, noise = given.get(part.label, (math.inf, None))
        if value < max(THRESHOLD, noise or 0.0) and any(matrices(graph, lost)):
            weak[part] = lost
    found = []
    for part in largest(weak):
        value, noise = given[part.label]
        n = len(list(matrices(graph, weak[part])))
        about = "" if noise is None else f" ± {noise:.2f}"
        found.append(
            Doubt(
                "idle-branch",
                f"branch {part.name} ({n} of {len(graph.matrix_ops)} layers) gives "
                f"{_rounded(value)}{about} dB ({measured_on})",
                "cimsim ablate shows what the chip saves without it; other weights, or training "
                "that uses it, are the way to keep it",
            )
        )
    return tuple(found)


def with_contributions(result: Result, given: Given) -> Result:
    """Return a result whose rows say what each layer gives, where that is known.

    Parameters
    ----------
    result : Result
    given : mapping
        As for `doubts`.
    """
    known = {label.partition(" ")[2]: value for label, (value, _) in given.items()
             if label.startswith("layer ")}  # fmt: skip
    if not known:
        return result
    rows = (
        row | ({"contribution_db": known[row["layer"]]} if row["layer"] in known else {})
        for row in result.layers
    )
    return replace(result, layers=tuple(rows))


def _rounded(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00")
