"""The committed record of the comparison, and merging new results into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fair.measure import Cell, read_cells, write_cells
from benchmarks.fair.quality import Judged, read_judged, write_judged
from benchmarks.fair.stride import StridePoint, read_points, write_points

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Record:
    """Everything the page is written from.

    Attributes
    ----------
    cells : tuple of Cell
        Time and energy.
    judged : tuple of Judged
        PSNR on the chip.
    points : tuple of StridePoint
        The study over strides.
    """

    cells: tuple[Cell, ...] = ()
    judged: tuple[Judged, ...] = ()
    points: tuple[StridePoint, ...] = ()

    @classmethod
    def read(cls, folder: Path = RESULTS) -> Record:
        """Read a record; what has no file is empty."""
        return cls(
            tuple(read_cells(folder / "cells.csv")), tuple(read_judged(folder / "quality.csv")),
            tuple(read_points(folder / "stride.csv")),
        )  # fmt: skip

    def write(self, folder: Path = RESULTS) -> None:
        """Write the three files."""
        write_cells(folder / "cells.csv", self.cells)
        write_judged(folder / "quality.csv", self.judged)
        write_points(folder / "stride.csv", self.points)

    def merged(
        self,
        cells: Iterable[Cell] = (),
        judged: Iterable[Judged] = (),
        points: Sequence[StridePoint] = (),
    ) -> Record:
        """Return this record with new rows in place of old ones about the same.

        Chips are told apart by their titles here: a chip whose numbers changed replaces its old
        self. Frames of another size start anew, so that a record never mixes two.
        """
        new_cells = list(cells)
        sizes = {one.size for one in (*new_cells, *points)}
        old_cells = [c for c in self.cells if not sizes or c.size in sizes]
        old_points = [p for p in self.points if not sizes or p.size in sizes]
        kept = {(c.hw, c.network, c.how): c for c in (*old_cells, *new_cells)}
        quality = {row.place: row for row in (*self.judged, *judged)}
        study = {(p.model, p.stride, p.rows): p for p in (*old_points, *points)}
        return Record(tuple(kept.values()), tuple(quality.values()), tuple(study.values()))
