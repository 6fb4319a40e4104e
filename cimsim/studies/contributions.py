"""What the parts of a network give, and what a chip would save without them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.boundary import json_text
from cimsim.graph.cutting import Part, largest

Instead = Literal["zero", "mean", "mixed"]
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Loss:
    """How much worse the score is without a part; below zero: better.

    Attributes
    ----------
    value : float
        Mean over programmings and frames, in the unit of the score.
    noise : float or None
        Its standard error: ``sqrt(var(frames) / T + var(programmings) / S)``, each variance that of
        means over the other one. None where there is one frame and one programming.
    """

    value: float
    noise: float | None

    @classmethod
    def of(cls, differences: NDArray[np.float64]) -> Loss:
        """Sum up paired differences.

        Parameters
        ----------
        differences : float64 [S, T]
            Score of the whole network less that without the part; NaN where nothing was measured.
        """
        known = ~np.isnan(differences)
        rows, columns = differences[known.any(1)], differences[:, known.any(0)]
        errors = [
            np.nanmean(table, axis=axis).var(ddof=1) / size
            for table, axis, size in ((rows, 1, len(rows)), (columns, 0, columns.shape[1]))
            if size > 1
        ]
        value = float(np.nanmean(differences))
        return cls(value, math.sqrt(sum(errors)) if errors else None)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a network takes of the chip.

    Attributes
    ----------
    matrices, arrays : int
    energy_j : float
        Of one frame.
    interval_cycles : int
        Between two frames when frames stream.
    latency_cycles : int
        Of the first frame.
    """

    matrices: int
    arrays: int
    energy_j: float
    interval_cycles: int
    latency_cycles: int


@dataclass(frozen=True, slots=True)
class Variant:
    """A network without one part.

    Attributes
    ----------
    instead : {"zero", "mean", "mixed"}
        What stands in the part's place: nothing, or its mean per channel; of several parts at
        once perhaps this for some and that for others.
    loss : Loss
        Of the float32 network.
    chip_loss : Loss or None
        On the chip.
    costs : Costs
        Of the network that is left, mapped anew.
    """

    instead: Instead
    loss: Loss
    chip_loss: Loss | None
    costs: Costs

    @property
    def judged(self) -> Loss:
        """The loss that counts: on the chip, where that was measured."""
        return self.chip_loss or self.loss


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one part gives.

    Attributes
    ----------
    part : Part
    gone : frozenset of str
        Nodes that go with it: they serve it alone, or have the same value in every frame then.
    matrices : tuple of str
        The matrix operations among them.
    variants : tuple of Variant
        A layer by its mean; a branch left out, and by its mean.
    """

    part: Part
    gone: frozenset[str]
    matrices: tuple[str, ...]
    variants: tuple[Variant, ...]

    @property
    def best(self) -> Variant:
        """The variant that loses least."""
        return min(self.variants, key=lambda variant: variant.judged.value)

    def could_go(self, threshold: float) -> bool:
        """Whether the part gives less than a threshold or than the noise of the measure."""
        loss = self.best.judged
        return loss.value < max(threshold, loss.noise or 0.0)


@dataclass(frozen=True)
class Ablation:
    """All parts of a network, one taken away at a time.

    Attributes
    ----------
    network, chip : str
    measure, unit : str
        What was measured, and the unit of the score.
    score : float
        Of the whole float32 network.
    chip_score : float or None
        On the chip.
    programmings, frames : int
        Whole ones that were measured.
    threshold : float
        Below it, or below its noise, a part could go.
    costs : Costs
        Of the whole network.
    energy_from : str
        See `cimsim.energy.model.EnergyReport`.
    contributions : tuple of Contribution
        Branches, then layers.
    together : Contribution or None
        All that could go at once, where that is more than one part.
    interrupted : bool
        Whether Ctrl-C ended it before all frames and programmings were measured.
    notes : tuple of str
    """

    network: str
    chip: str
    measure: str
    unit: str
    score: float
    chip_score: float | None
    programmings: int
    frames: int
    threshold: float
    costs: Costs
    energy_from: str
    contributions: tuple[Contribution, ...]
    together: Contribution | None = None
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    def __getitem__(self, label: str) -> Contribution:
        """Return a part's contribution by ``kind name``."""
        return {each.part.label: each for each in self.contributions}[label]

    @property
    def could_go(self) -> tuple[Contribution, ...]:
        """What could go, without what is inside of another part that could."""
        spare = [each for each in self.contributions if each.could_go(self.threshold)]
        kept = largest({each.part: each.gone for each in spare})
        return tuple(each for each in spare if each.part in kept)

    @property
    def where(self) -> str:
        """What the losses that count were measured on."""
        if self.chip_score is None:
            return "float32"
        times = "" if self.programmings == 1 else f", {self.programmings} programmings"
        return f"on {self.chip}{times}"

    def recorded(self) -> dict[str, tuple[float, float | None]]:
        """Return what a weight card keeps: part -> what it gives and the noise of that."""
        digits = 4
        return {
            each.part.label: (
                round(each.best.judged.value, digits),
                None if each.best.judged.noise is None else round(each.best.judged.noise, digits),
            )
            for each in self.contributions
        }

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield one flat row for each part and each thing in its place."""
        unit = self.unit
        for each in (*self.contributions, *([self.together] if self.together else [])):
            for variant in each.variants:
                losses = {"": variant.loss, "chip_": variant.chip_loss}
                row: dict[str, object] = {
                    "part": each.part.name, "kind": each.part.kind, "instead": variant.instead,
                }  # fmt: skip
                for where, loss in losses.items():
                    row[f"{where}loss_{unit}"] = None if loss is None else loss.value
                    row[f"{where}noise_{unit}"] = None if loss is None else loss.noise
                row["could_go"] = each.could_go(self.threshold) and variant is each.best
                row["matrices_gone"] = len(each.matrices)
                left = asdict(variant.costs)
                row |= {f"{name}_saved": asdict(self.costs)[name] - left[name] for name in left}
                yield row | {f"{name}_left": left[name] for name in left}

    def to_csv(self) -> str:
        """Return `rows` as a CSV table."""
        rows = list(self.rows())
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["part"], restval="")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_json(self) -> str:
        """Return everything as JSON."""
        data = {
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in _TOLD},
            "costs": asdict(self.costs),
            "parts": list(self.rows()),
            "gone": {each.part.label: list(each.matrices) for each in self.contributions},
            "could_go": [each.part.label for each in self.could_go],
            "notes": list(self.notes),
        }
        return json_text.dump(json_text.without_infinities(data))


_TOLD = (
    "network", "chip", "measure", "unit", "score", "chip_score", "programmings", "frames",
    "threshold", "energy_from", "interrupted",
)  # fmt: skip
