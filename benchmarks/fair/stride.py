"""The stride at which array size stops paying: CIM-NET over strides and sizes of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fair.cases import CELLS_PER_CONVERTER
from benchmarks.fair.draws import Kept, ledger_of
from benchmarks.paper.record import read_plain, write_csv
from cimsim.chip.load import chip_hash, load_hw
from cimsim.energy.ledger import draw, interval
from cimsim.timing.simulate import simulate

if TYPE_CHECKING:
    from cimsim.graph.ir import LayerGraph

STRIDES = (2, 4, 8, 16)
ROWS = (256, 512, 1024, 2048)
MANY_TILES = 10**5  # arrays as many as it takes: what is used is counted
# name in the record -> options beside the stride; the zoo leaves the coarse path out from S = 8 on
FORMS: Mapping[str, Mapping[str, int]] = {
    "cimnet": {"coarse": 1},
    "cimnet_coarse0": {"coarse": 0},
}
FORM_TITLES = {"cimnet": "as drawn", "cimnet_coarse0": "two layers"}


@dataclass(frozen=True, slots=True)
class StridePoint:
    """CIM-NET of one stride on arrays of one size, one copy of each layer (`im2col`).

    Attributes
    ----------
    model : str
        One of `FORMS`: as drawn, or without its coarse path.
    stride, rows : int
        Arrays have ``rows`` rows and as many columns of cells.
    chip, size : str
        Start of the chip's hash; frame, ``WxH``.
    arrays, activations, conversions, cycles : int
        Arrays in use; work of a frame; cycles between frames.
    cells : int
        Of the arrays in use, in cells.
    interval_s, energy_j : float
        Between frames; of a frame, by the chip's activity factor.
    energy_low_j, energy_high_j : float
        5 .. 95 % of what the chip's sources allow.
    step_low, step_high : float
        The same of the energy at the stride before over this one; 0 at the first stride.
    """

    model: str
    stride: int
    rows: int
    chip: str
    size: str
    arrays: int
    cells: int
    activations: int
    conversions: int
    cycles: int
    interval_s: float
    energy_j: float
    energy_low_j: float = 0.0
    energy_high_j: float = 0.0
    step_low: float = 0.0
    step_high: float = 0.0

    @property
    def place(self) -> tuple[Any, ...]:
        """What the point is about."""
        return self.model, self.stride, self.rows, self.chip, self.size

    @property
    def cell_seconds(self) -> float:
        """Cells that are held for a frame: what a frame costs in silicon."""
        return self.cells * self.interval_s


COLUMNS = tuple(entry.name for entry in fields(StridePoint))


def read_points(path: Path) -> list[StridePoint]:
    """Read points; none when there is no file."""
    return read_plain(path, StridePoint)


def write_points(path: Path, points: Iterable[StridePoint]) -> None:
    """Write points; the old file stays whole until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, map(asdict, points))


def study(
    size: tuple[int, int],
    kept: Path,
    *,
    hw: str = "eflash40nm",
    model: str = "cimnet",
    strides: Sequence[int] = STRIDES,
    rows: Sequence[int] = ROWS,
    progress: Callable[[str], None] | None = None,
) -> list[StridePoint]:
    """Map and time the network for every stride and array; what ``kept`` holds is not done again.

    Parameters
    ----------
    size : tuple of int
        Height and width of a frame.
    kept : Path
        CSV of finished points.
    hw : str
        Chip whose arrays are cut smaller or larger; a converter serves as many columns as before,
        and there are as many arrays as the network takes.
    model : str
        One of `FORMS`.
    strides, rows : sequence of int
    progress : callable, optional
        Called with a text for each new point.
    """
    import cimsim

    points = {point.place: point for point in read_points(kept)}
    draws = Kept(kept.parent / "draws")
    text, found = f"{size[1]}x{size[0]}", []

    @lru_cache(maxsize=1)
    def graph(stride: int) -> LayerGraph:
        options = {"stride": stride} | dict(FORMS[model])
        network = cimsim.load_network("cimnet", options, "random")
        return cimsim.trace(network.module, network.example(*size), name=f"{model}_s{stride}")

    for stride in strides:
        for edge in rows:
            changes = {
                "array.rows": edge, "array.cols": edge, "tile.count": MANY_TILES,
                "adc.count": edge // CELLS_PER_CONVERTER,
            }  # fmt: skip
            chip = load_hw(hw, changes)
            place = model, stride, edge, chip_hash(chip)[:12], text
            if place not in points:
                mapping = cimsim.map_graph(graph(stride), chip)
                timeline = simulate(mapping)
                ledger = ledger_of(mapping, timeline)
                seconds, total, drawn = ledger.time_per_frame_s, mapping.total, draw(ledger).total_j
                draws.write("-".join(map(str, place)), drawn)
                before = max((s for s in strides if s < stride), default=stride)
                step = draws.ratio(
                    *("-".join(map(str, (model, s, *place[2:]))) for s in (before, stride))
                )
                points[place] = StridePoint(
                    *place, mapping.arrays_used, mapping.arrays_used * edge * edge,
                    total.activations, total.conversions, timeline.interval, seconds,
                    ledger.report().total_j, *interval(drawn),
                    *(step if before < stride else (0.0, 0.0)),
                )  # fmt: skip
                write_points(kept, points.values())
                if progress is not None:
                    progress(
                        f"{model} S = {stride}, arrays of {edge}: {1e3 * seconds:.4g} ms, "
                        f"{mapping.arrays_used} arrays"
                    )
            found.append(points[place])
    return found


def best_stride(points: Iterable[StridePoint], value: Callable[[StridePoint], float]) -> int:
    """Return the stride of the least value; the smaller one of two that are equal."""
    return min(points, key=lambda point: (value(point), point.stride)).stride


def steps(points: Sequence[StridePoint], value: Callable[[StridePoint], float]) -> list[float]:
    """Return what each step to the next stride gains: value before over value after."""
    ordered = sorted(points, key=lambda point: point.stride)
    return [value(a) / value(b) for a, b in pairwise(ordered)]
