"""Split a gain in two: what the mapping gives, and what the architecture gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.fair.cases import YARDSTICK
from benchmarks.fair.measure import FAST, FRUGAL, IM2COL, Cell

Value = Callable[[Cell], float]


def interval(cell: Cell) -> float:
    """Return seconds between frames."""
    return cell.interval_s


def latency(cell: Cell) -> float:
    """Return seconds until the first frame is done."""
    return cell.latency_s


def joules(cell: Cell) -> float:
    """Return the energy of a frame."""
    return cell.energy_j


@dataclass(frozen=True, slots=True)
class Split:
    """Gain from the block, plainly mapped, to another network under its best mapping.

    Each order of the two steps is a product: ``mapping_first * architecture_then`` and
    ``architecture_first * mapping_then`` both are `total`.

    Attributes
    ----------
    network, hw : str
    mapping_first : float
        Block plainly mapped / block under its best mapping.
    architecture_then : float
        Block under its best mapping / network under its best one: like with like.
    architecture_first : float
        Block / network, both plainly mapped: what papers compare.
    mapping_then : float
        Network plainly mapped / network under its best mapping.
    """

    network: str
    hw: str
    mapping_first: float
    architecture_then: float
    architecture_first: float
    mapping_then: float

    @property
    def total(self) -> float:
        """The whole gain."""
        return self.mapping_first * self.architecture_then

    @property
    def architecture_share(self) -> float:
        """Share of the gain that is architecture, in logarithms, mean over both orders.

        NaN where there is no gain to share (``total`` is 1).
        """
        whole = math.log(self.total)
        if whole == 0:
            return math.nan
        return math.log(self.architecture_then * self.architecture_first) / (2 * whole)


def split(cells: Iterable[Cell], value: Value, best: str = FAST) -> list[Split]:
    """Return the split of every network but the block, on every chip that holds both.

    Parameters
    ----------
    cells : iterable of Cell
    value : callable
        What is compared: `interval`, `latency`, `joules`.
    best : str
        Which best mapping: ``fastest`` or ``least energy``.

    Raises
    ------
    ValueError
        For another kind of mapping.
    """
    if best not in (FAST, FRUGAL):
        raise ValueError(f"best: expected {FAST!r} or {FRUGAL!r}, got {best!r}")
    table = {(c.hw, c.network, c.how): value(c) for c in cells if c.fits}
    found = []
    for hw, network in dict.fromkeys((hw, network) for hw, network, _ in table):
        keys = [(hw, n, how) for n in (YARDSTICK.name, network) for how in (IM2COL, best)]
        if network == YARDSTICK.name or any(key not in table for key in keys):
            continue
        plain, mapped, other_plain, other_mapped = (table[key] for key in keys)
        found.append(
            Split(
                network, hw, plain / mapped, mapped / other_mapped, plain / other_plain,
                other_plain / other_mapped,
            )
        )  # fmt: skip
    return found


def of(splits: Sequence[Split], network: str, hw: str) -> Split | None:
    """Return one network's split on one chip, None when there is none."""
    return next((s for s in splits if (s.network, s.hw) == (network, hw)), None)
