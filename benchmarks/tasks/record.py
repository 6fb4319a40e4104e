"""What was measured, as rows of two CSV files."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from cimsim.stats import mean_interval

FOLDER = Path(__file__).with_name("results")
ACCURACY, COSTS = FOLDER / "accuracy.csv", FOLDER / "costs.csv"


class _Row:
    def cells(self) -> dict[str, str]:
        """Return the row as text."""
        return {f.name: str(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def of(cls, cells: dict[str, str]) -> Self:
        """Read a row."""
        kinds: dict[str, Any] = {"str": str, "int": int, "float": float}
        return cls(**{f.name: kinds[str(f.type)](cells[f.name]) for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Accuracy(_Row):
    """One programmed chip.

    Attributes
    ----------
    row, weights : str
    samples, seed : int
    float_right, chip_right : int
        Right answers of the float network and of the chip.
    """

    row: str
    weights: str
    samples: int
    seed: int
    float_right: int
    chip_right: int


@dataclass(frozen=True)
class Cost(_Row):
    """Time and energy of one sample.

    Attributes
    ----------
    row, weights : str
    macs, arrays : int
    latency_s, interval_s : float
    energy_j, low_j, high_j : float
        And 5 .. 95 % of what the chip's sources allow.
    """

    row: str
    weights: str
    macs: int
    arrays: int
    latency_s: float
    interval_s: float
    energy_j: float
    low_j: float
    high_j: float


@dataclass(frozen=True)
class Found:
    """All rows."""

    accuracy: tuple[Accuracy, ...]
    costs: tuple[Cost, ...]

    def chips(self, row: str) -> tuple[Accuracy, ...]:
        """Return the chips of a row, of the run with the most samples and the newest weights."""
        mine = [a for a in self.accuracy if a.row == row]
        last = [a for a in mine if a.weights == mine[-1].weights] if mine else []
        most = max((a.samples for a in last), default=0)
        return tuple(a for a in last if a.samples == most)


@dataclass(frozen=True)
class Loss:
    """Accuracies of several chips in percent.

    Attributes
    ----------
    samples : int
    reference : float
        Of the float network.
    chips : tuple of float
    """

    samples: int
    reference: float
    chips: tuple[float, ...]

    @classmethod
    def of(cls, chips: tuple[Accuracy, ...]) -> Loss:
        """Take all chips of a row."""
        samples = chips[0].samples
        return cls(
            samples, 100 * chips[0].float_right / samples,
            tuple(100 * chip.chip_right / samples for chip in chips),
        )  # fmt: skip

    @property
    def on_chip(self) -> float:
        """Mean over the chips."""
        return sum(self.chips) / len(self.chips)

    @property
    def lost(self) -> float:
        """Points that the chip loses."""
        return self.reference - self.on_chip

    @property
    def interval(self) -> tuple[float, float] | None:
        """5 .. 95 % of the mean loss over chips; None of a single chip."""
        if len(self.chips) < 2:
            return None
        low, high = mean_interval(self.chips)
        return self.reference - high, self.reference - low


def read() -> Found:
    """Read both files; those that are missing hold nothing."""
    return Found(
        tuple(Accuracy.of(cells) for cells in _cells(ACCURACY)),
        tuple(Cost.of(cells) for cells in _cells(COSTS)),
    )


def _cells(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
