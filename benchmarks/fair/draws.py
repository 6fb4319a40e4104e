"""Energies of many chips that the ranges of one allow: kept, so that ratios have an interval.

All energies of one chip are drawn from the same streams (`cimsim.energy.ledger`), so the ratio of
two of them, draw by draw, is surer than either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.energy.idle import working
from cimsim.energy.ledger import Interval, Ledger, interval
from cimsim.files import replacing

if TYPE_CHECKING:
    from cimsim.mapping.mapping import Mapping
    from cimsim.timing.timeline import Timeline

UNKNOWN: Interval = (0.0, 0.0)  # no ratio is 0


@dataclass(frozen=True)
class Kept:
    """Draws by name in a folder.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    def write(self, name: str, drawn: NDArray[np.float64]) -> None:
        """Keep draws; an old file stays whole until the new one is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{name}.npy") as scratch, scratch.open("wb") as handle:
            np.save(handle, drawn)

    def ratio(self, first: str, second: str) -> Interval:
        """Return 5 and 95 % of ``first / second``; `UNKNOWN` where one of them is not kept."""
        files = [self.folder / f"{name}.npy" for name in (first, second)]
        if not all(file.is_file() for file in files):
            return UNKNOWN
        over, under = (np.load(file) for file in files)
        return interval(over / under)


def ledger_of(mapping: Mapping, timeline: Timeline) -> Ledger:
    """Return what a frame is charged by: waiting tiles gated, spilled line buffers at their cost.

    Array energy by the chip's activity factor, so that weights do not matter.
    """
    return Ledger(
        mapping, timeline.interval_s(mapping.chip.process.clock_hz), None,
        working(mapping, timeline), spilled=timeline.spilled,
    )  # fmt: skip
