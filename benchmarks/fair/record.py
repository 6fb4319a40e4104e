"""The committed record of the comparison, and merging new results into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fair.measure import Cell, read_cells, write_cells
from benchmarks.fair.quality import Judged, read_judged, write_judged
from benchmarks.fair.stride import StridePoint, read_points, write_points
from benchmarks.fair.stride_db import StrideDb, read_strides, write_strides

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
    strides : tuple of StrideDb
        PSNR over strides.
    """

    cells: tuple[Cell, ...] = ()
    judged: tuple[Judged, ...] = ()
    points: tuple[StridePoint, ...] = ()
    strides: tuple[StrideDb, ...] = ()

    @classmethod
    def read(cls, folder: Path = RESULTS) -> Record:
        """Read a record; what has no file is empty."""
        return cls(
            tuple(read_cells(folder / "cells.csv")), tuple(read_judged(folder / "quality.csv")),
            tuple(read_points(folder / "stride.csv")),
            tuple(read_strides(folder / "stride_db.csv")),
        )  # fmt: skip

    def write(self, folder: Path = RESULTS) -> None:
        """Write the four files."""
        write_cells(folder / "cells.csv", self.cells)
        write_judged(folder / "quality.csv", self.judged)
        write_points(folder / "stride.csv", self.points)
        write_strides(folder / "stride_db.csv", self.strides)

    def merged(
        self,
        cells: Iterable[Cell] = (),
        judged: Iterable[Judged] = (),
        points: Sequence[StridePoint] = (),
        strides: Sequence[StrideDb] = (),
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
        # a PSNR on other clips does not stand beside these
        clips = {row.clips for row in strides}
        old_strides = [row for row in self.strides if not clips or row.clips in clips]
        levels = {row.place: row for row in (*old_strides, *strides)}
        return Record(
            tuple(kept.values()), tuple(quality.values()), tuple(study.values()),
            tuple(levels.values()),
        )  # fmt: skip
