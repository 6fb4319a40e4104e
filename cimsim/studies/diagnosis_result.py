"""What a diagnosis found: numbers by layer and cause, as JSON and as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from cimsim.display.tables import Rows, html_table

WITHIN = 0.2  # of a loss: further off, the sum of the parts is doubted
DECIBELS = 300.0  # stands for no error at all, so that JSON stays JSON


@dataclass(frozen=True, eq=False)
class LayerErrors:
    """One layer's errors.

    Attributes
    ----------
    name : str
        Of the matrix.
    kind : str
        ``conv2d``, ``linear`` ...
    snr_alone_db : float
        Its exact output over its own error, both on the input that the chip gives it, dB.
    snr_db : float
        The float network's output over the difference of the chip's, errors of all layers before it
        included, dB.
    snr_by_cause_db : dict of str to float
        Its exact output over the error of each cause alone, dB.
    """

    name: str
    kind: str
    snr_alone_db: float
    snr_db: float
    snr_by_cause_db: dict[str, float]


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much of a loss comes from each layer and cause.

    Attributes
    ----------
    name, unit : str
        What is lost: ``PSNR`` in dB; ``output error`` in % of its power; ``top-1`` in points.
    reference, on_chip : float or None
        Of float network and chip.
    loss : float
    gives : dict of str to dict of str to float
        Layer -> cause -> what of the loss comes from it, in ``unit``.
    """

    name: str
    unit: str
    reference: float | None
    on_chip: float | None
    loss: float
    gives: dict[str, dict[str, float]]

    @property
    def total(self) -> float:
        """Sum over layers and causes."""
        return math.fsum(value for row in self.gives.values() for value in row.values())

    @property
    def unexplained(self) -> float:
        """What the sum lacks of the loss."""
        return self.loss - self.total

    @property
    def holds(self) -> bool:
        """Whether the sum comes near the loss."""
        return abs(self.unexplained) <= WITHIN * abs(self.loss)

    @property
    def by_layer(self) -> dict[str, float]:
        """Sum over causes, largest first."""
        return _ranked({name: math.fsum(row.values()) for name, row in self.gives.items()})

    @property
    def by_cause(self) -> dict[str, float]:
        """Sum over layers, largest first."""
        sums: dict[str, float] = {}
        for row in self.gives.values():
            for cause, value in row.items():
                sums[cause] = sums.get(cause, 0.0) + value
        return _ranked(sums)

    @property
    def ranked(self) -> list[tuple[str, str, float]]:
        """All pairs of layer and cause with what they give, largest first."""
        pairs = [(n, c, v) for n, row in self.gives.items() for c, v in row.items()]
        return sorted(pairs, key=lambda pair: -pair[2])


@dataclass(frozen=True, eq=False)
class Switched:
    """What one cause costs on the whole chip, measured by runs with it switched on and off.

    Attributes
    ----------
    cause : str
    off : float
        What the chip gains without it, all others there.
    on : float
        What the float network loses to it alone.
    """

    cause: str
    off: float
    on: float


@dataclass(frozen=True, eq=False)
class Diagnosis(Rows):
    """Which layer hurts, and why.

    Attributes
    ----------
    network, chip, asked : str
        What ran on what, and on which data.
    samples, detailed : int
        Frames or samples; how many of them were looked at cause by cause.
    causes : tuple of str
        Those that the chip has.
    layers : tuple of LayerErrors
        In the order of execution.
    attributions : tuple of Attribution
        The first is what everything is ranked by.
    switched : tuple of Switched
        Where it was asked for.
    run_s, all_s : float
        Processor time of the run alone, and with all that the diagnosis does beside it, s.
    notes : tuple of str
    """

    network: str
    chip: str
    asked: str
    samples: int
    detailed: int
    causes: tuple[str, ...]
    layers: tuple[LayerErrors, ...]
    attributions: tuple[Attribution, ...]
    switched: tuple[Switched, ...] = ()
    run_s: float = 0.0
    all_s: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def first(self) -> Attribution:
        """What everything is ranked by."""
        return self.attributions[0]

    def as_dict(self) -> dict[str, object]:
        """Return plain data."""
        data = asdict(self)
        for row, one in zip(data["attributions"], self.attributions, strict=True):
            row |= {"sum": one.total, "unexplained": one.unexplained,
                     "by_layer": one.by_layer, "by_cause": one.by_cause}  # fmt: skip
        return data

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False)

    def to_csv(self) -> str:
        """Return a table with a row for each layer and cause."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        named = [f"{a.name} / {a.unit}" for a in self.attributions]
        table.writerow(["layer", "cause", "SNR of the cause / dB", *named])
        for layer in self.layers:
            for cause, snr in layer.snr_by_cause_db.items():
                gives = [a.gives.get(layer.name, {}).get(cause, 0.0) for a in self.attributions]
                table.writerow([layer.name, cause, f"{snr:.4g}", *(f"{v:.6g}" for v in gives)])
        return out.getvalue()

    def rows(self) -> list[dict[str, object]]:
        """Return a plain row for each layer and cause: SNR in dB, and what mending it gives."""
        return [
            {"layer": layer.name, "cause": cause, "snr_db": snr}
            | {f"{a.name} / {a.unit}": a.gives.get(layer.name, {}).get(cause, 0.0)
               for a in self.attributions}
            for layer in self.layers
            for cause, snr in layer.snr_by_cause_db.items()
        ]  # fmt: skip

    def _repr_html_(self) -> str:
        first = self.first
        rows = [(name, cause, f"{value:+.3f}") for name, cause, value in first.ranked]
        below = [
            f"{first.name}: {first.loss:.3f} {first.unit} are lost, the parts sum up to "
            f"{first.total:.3f}",
            *self.notes,
        ]
        title = f"{self.network} on {self.chip}: which layer hurts, and why"
        return html_table(title, rows, ("layer", "cause", f"gives / {first.unit}"), below)

    def __repr__(self) -> str:
        worst = ", ".join(f"{n} {c} {v:+.2f}" for n, c, v in self.first.ranked[:3])
        return f"Diagnosis({self.network} on {self.chip}: {self.first.unit} {worst})"


def decibels(signal: float, error: float) -> float:
    """Return signal over error, dB; `DECIBELS` where nothing differs."""
    if error <= 0 or signal <= 0:
        return DECIBELS if error <= 0 else -DECIBELS
    return max(-DECIBELS, min(10 * math.log10(signal / error), DECIBELS))


def _ranked(values: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(values.items(), key=lambda item: -item[1]))
