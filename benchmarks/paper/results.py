"""The points of the figures: measured now, or from the record, and which of the two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from benchmarks.paper.evaluate import Evaluator
from benchmarks.paper.networks import find_weights
from benchmarks.paper.recipe import Entry
from benchmarks.paper.record import Row
from benchmarks.paper.spread import interval

SIGMA = 15.0  # of all figures but the one over sigma
SIGMAS = (5.0, 15.0, 25.0, 35.0, 45.0, 55.0)
BLIND = "_blind"  # variants trained over all noise levels, for the figure over them
OVER_SIGMA = ("cimnet_s8_coarse1", "baseline-o2_s8")
SHIPPED = {"cimnet_s8_coarse1": "cimnet_s8"}  # what is shipped in another form than the paper's

Origin = Literal["measured", "recorded"]


@dataclass(frozen=True, slots=True)
class Point:
    """What one network reaches, the mean of all its trainings, and where it comes from.

    Attributes
    ----------
    row : Row
        Of the first seed, with the mean of PSNR and minutes over the seeds.
    origin : {"measured", "recorded"}
        Measured in this run (or an earlier one of the same output folder), or read from the
        committed record.
    shipped : bool
        The weights are the shipped ones and not those of the equal budget: drawn apart from the
        lines, which only join networks of one budget.
    each : tuple of Row
        One for each seed; empty for ``row`` alone.
    """

    row: Row
    origin: Origin
    shipped: bool = False
    each: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row for each training."""
        return self.each or (self.row,)

    @property
    def half_db(self) -> float | None:
        """Half the 95 % interval of the mean over seeds (Student's t); None for one training."""
        return interval([row.psnr_db for row in self.rows])[1]

    @classmethod
    def of(cls, rows: Sequence[Row], origin: Origin) -> Point:
        """Join the trainings of one network, sorted by seed."""
        each = tuple(sorted(rows, key=lambda row: row.seed or 0))
        minutes = [row.minutes for row in each if row.minutes is not None]
        mean = replace(
            each[0], psnr_db=fmean(row.psnr_db for row in each),
            minutes=fmean(minutes) if minutes else None,
        )  # fmt: skip
        return cls(mean, origin, each=each)


@dataclass(frozen=True)
class Results:
    """All points of one test set.

    Attributes
    ----------
    clips : str
        Title of the test set.
    points : tuple of Point
    """

    clips: str
    points: tuple[Point, ...]

    def series(self, model: str, sigma: float = SIGMA) -> list[Point]:
        """Return a model's points of the equal budget by stride; the block counts as stride 1."""
        return sorted(
            (p for p in self._of(model, sigma) if not p.shipped), key=lambda p: p.row.stride or 1
        )

    def shipped(self, model: str, sigma: float = SIGMA) -> list[Point]:
        """Return the points of a model's shipped weights."""
        return [p for p in self._of(model, sigma) if p.shipped]

    def over_sigma(self, network: str, *, shipped: bool = False) -> list[Point]:
        """Return one network's points by sigma."""
        name = SHIPPED.get(network, network) if shipped else network
        found = [p for p in self.points if p.row.network == name and p.shipped == shipped]
        return sorted(found, key=lambda p: p.row.sigma)

    def point(
        self,
        model: str,
        stride: int | None,
        sigma: float = SIGMA,
        *,
        shipped: bool = False,
        blind: bool = False,
    ) -> Point | None:
        """Return one point, None when there is none; ``blind``: of the training over all sigma."""
        for point in self._of(model, sigma, blind):
            if point.shipped == shipped and point.row.stride == stride:
                return point
        return None

    def _of(self, model: str, sigma: float, blind: bool = False) -> list[Point]:
        return [
            p
            for p in self.points
            if p.row.model == model
            and p.row.sigma == sigma
            and p.row.network.endswith(BLIND) == blind
        ]


def gather(
    evaluator: Evaluator,
    entries: Sequence[Entry],
    weights: Path | None,
    record: Iterable[Row],
    sigmas: Sequence[float] = SIGMAS,
) -> Results:
    """Measure what weights are at hand for, take the rest from the record.

    A network's weights from ``weights`` (the equal budget) win over the recorded row of the same
    seed; recorded trainings of other seeds count beside them. Shipped weights give a point of
    their own, unless they are the very ones of the record.
    """
    name = evaluator.clips.name
    known = [row for row in record if row.clips == name]
    points = []
    for entry in entries:
        everywhere = entry.stem.removesuffix(BLIND) in OVER_SIGMA
        for sigma in sigmas if everywhere else (SIGMA,):
            points += _points(evaluator, entry, weights, known, sigma)
    points += [Point(evaluator.noisy(sigma), "measured") for sigma in sigmas]
    return Results(evaluator.clips.title, tuple(points))


def _points(
    evaluator: Evaluator, entry: Entry, weights: Path | None, known: Sequence[Row], sigma: float
) -> list[Point]:
    rows = [row for row in known if row.network == entry.stem]
    equal = [row for row in rows if row.sigma == sigma]
    measured, shipped = [], []
    for found in find_weights(entry, weights):
        row = evaluator.network(found, sigma)
        same = [old for old in rows if old.sha256 == found.card.sha256]
        if not found.shipped:
            measured.append(row)
        elif not same:
            shipped.append(Point(row, "measured", shipped=True))
        elif not measured:  # the record knows more about the training than the card
            old = same[0]
            row = replace(row, minutes=old.minutes, crops=old.crops, device=old.device)
            equal = [row if one.sha256 == row.sha256 else one for one in equal]
    if measured:
        seeds = {row.seed or 0 for row in measured}
        others = [row for row in equal if (row.seed or 0) not in seeds]
        return [Point.of([*measured, *others], "measured"), *shipped]
    return [*([Point.of(equal, "recorded")] if equal else []), *shipped]


def recordable(results: Results) -> list[Row]:
    """Return the rows that belong into the record: measured with the equal budget, and noisy."""
    return [
        row
        for point in results.points
        if point.origin == "measured" and not point.shipped
        for row in point.rows
    ]
