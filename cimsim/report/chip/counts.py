"""Windows, array activations, ADC conversions and weights of networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

from cimsim.chip.spec import Chip
from cimsim.graph.coverage import Coverage, coverage
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.layout import Counts, count
from cimsim.mapping.mapping import layouts, matrix_name

COLUMNS = ("windows", "activations", "conversions", "macs")


@dataclass(frozen=True, slots=True)
class CountRow:
    """One network on one kind of array, whether the chip has room for it or not.

    Attributes
    ----------
    name, title : str
        Key such as ``cimnet-s8`` and display name.
    pixels : int
        Pixels of one frame.
    counts : Counts
        Of one frame; each programmed matrix counts once for weights and arrays.
    coverage : Coverage
        Which share of the network that is.
    """

    name: str
    title: str
    pixels: int
    counts: Counts
    coverage: Coverage

    def per_pixel(self, column: str) -> float:
        """Count per pixel of the frame."""
        return float(getattr(self.counts, column)) / self.pixels

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "pixels": self.pixels,
            "per_frame": asdict(self.counts),
            "per_pixel": {column: self.per_pixel(column) for column in COLUMNS},
            "coverage": self.coverage.to_dict(),
        }


class RowData(TypedDict):
    """What ``dataclasses.asdict`` makes of a row."""

    name: str
    title: str
    pixels: int
    counts: dict[str, int]
    coverage: dict[str, object]


def row_of(data: RowData) -> CountRow:
    """Return a row from what ``dataclasses.asdict`` made of it, also after a way through JSON."""
    return CountRow(
        data["name"], data["title"], data["pixels"], Counts(**data["counts"]),
        Coverage.from_dict(data["coverage"]),
    )  # fmt: skip


def count_row(name: str, title: str, graph: LayerGraph, chip: Chip, strategy: str) -> CountRow:
    """Count one network; weights are not needed, the chip only gives the size of the arrays."""
    found = layouts(graph, chip, strategy)
    total, matrices = Counts(), dict[str, Counts]()
    for op in graph.matrix_ops:
        counted = count(op, found[op.name], chip)
        total += counted
        matrices[matrix_name(op)] = counted
    once = {
        "weights": sum(c.weights for c in matrices.values()),
        "cells": sum(c.cells for c in matrices.values()),
        "arrays": sum(c.arrays for c in matrices.values()),
    }
    height, width = graph.inputs[0].output.grid
    counts = Counts(**(asdict(total) | once))
    return CountRow(name, title, height * width, counts, coverage(graph, chip))


@dataclass(frozen=True, slots=True)
class Ratio:
    """One comparison of a CIM-NET, with what it is and where it comes from."""

    network: str
    name: str
    value: float
    unit: str
    meaning: str


def comparisons(rows: Sequence[CountRow]) -> list[Ratio]:
    """Compare CIM-NET with the block and with o2 at each stride that both have.

    The CIM-NET paper's "1/77" multiplies S^2 by its window ratio to o2; counted exactly against the
    FastDVDnet block the ratio is another one, and array activations and ADC conversions differ
    again.
    """
    by_name = {row.name: row for row in rows}
    block, found = by_name.get("fastdvdnet-block"), []
    for name, row in by_name.items():
        if not name.startswith("cimnet-s"):
            continue
        stride = int(name.removeprefix("cimnet-s"))
        o2 = by_name.get(f"baseline-o2-s{stride}")
        if o2 is not None:
            ratio = o2.counts.windows / row.counts.windows
            found += [
                Ratio(row.title, "saved", 100 * (1 - 1 / ratio), "%", "windows fewer than o2"),
                Ratio(row.title, "paper", stride**2 * ratio, "x", "S^2 * windows o2 / CIM-NET"),
            ]
        if block is not None:
            for column, meaning in _EXACT.items():
                value = getattr(block.counts, column) / getattr(row.counts, column)
                found.append(Ratio(row.title, f"exact {column}", value, "x", meaning))
    return found


_EXACT = {
    "windows": "FastDVDnet block / CIM-NET",
    "activations": "the same: arrays fired",
    "conversions": "the same: columns digitised",
}
