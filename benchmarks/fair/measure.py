"""Time and energy of a network on a chip: plainly mapped, and under the best mapping found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fair.cases import YARDSTICK, ChipCase, NetworkCase
from benchmarks.fair.draws import Kept, ledger_of
from benchmarks.paper.record import read_plain, write_csv
from cimsim.chip.load import chip_hash
from cimsim.energy.ledger import draw, interval
from cimsim.energy.model import STANDING
from cimsim.errors import MappingError
from cimsim.mapping.files import save_mapping
from cimsim.placing.search import Point, search
from cimsim.timing.simulate import simulate

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.mapping.mapping import Mapping

IM2COL, FAST, FRUGAL = "im2col", "fastest", "least energy"
HOW = (IM2COL, FAST, FRUGAL)
NO_ROOM = "does not fit"


@dataclass(frozen=True, slots=True)
class Cell:
    """One network on one chip under one mapping: a cell of the table.

    Attributes
    ----------
    network, hw : str
        `NetworkCase.name` and title of the chip.
    chip : str
        Start of the chip's hash.
    size : str
        Frame, ``WxH``.
    how : str
        ``im2col`` (one copy of each layer), ``fastest`` or ``least energy`` (of what the search
        found within the chip's arrays).
    strategies : str
        What the mapping is made of: ``sdk 9, im2col 2``; `NO_ROOM` and zeros where nothing fits.
    arrays, windows, activations, conversions : int
        Arrays in use; work of one frame.
    interval_s, latency_s : float
        Between frames; until the first one is done.
    energy_j, static_j : float
        Of a frame, and what of it goes with time alone (`cimsim.energy.model.STANDING`). Array
        energy by the chip's activity factor, so that weights do not matter.
    bottleneck : str
    energy_low_j, energy_high_j : float
        5 .. 95 % of what the chip's sources allow.
    block_low, block_high : float
        5 .. 95 % of the energy of the block under the same kind of mapping over this one; these
        and the next are 0 where the other one is not known.
    plain_low, plain_high : float
        Of the network's own plain mapping over this one.
    whole_low, whole_high : float
        Of the plainly mapped block over this one.
    """

    network: str
    hw: str
    chip: str
    size: str
    how: str
    strategies: str
    arrays: int
    windows: int
    activations: int
    conversions: int
    interval_s: float
    latency_s: float
    energy_j: float
    static_j: float
    bottleneck: str
    energy_low_j: float = 0.0
    energy_high_j: float = 0.0
    block_low: float = 0.0
    block_high: float = 0.0
    plain_low: float = 0.0
    plain_high: float = 0.0
    whole_low: float = 0.0
    whole_high: float = 0.0

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What the cell is about."""
        return self.network, self.chip, self.size, self.how

    @property
    def fits(self) -> bool:
        """Whether the chip holds the network."""
        return self.strategies != NO_ROOM


COLUMNS = tuple(entry.name for entry in fields(Cell))


def read_cells(path: Path) -> list[Cell]:
    """Read cells; none when there is no file."""
    return read_plain(path, Cell)


def write_cells(path: Path, cells: Iterable[Cell]) -> None:
    """Write cells; the old file stays whole until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, map(asdict, cells))


@dataclass
class Table:
    """Fills the table and keeps every cell, with the mapping behind it.

    Attributes
    ----------
    size : tuple of int
        Height and width of a frame.
    kept : Path
        Folder of ``cells.csv``, ``mappings/`` and ``draws/``; a cell that is there is not computed
        again. Ratios to the block need its draws: it comes first.
    progress : callable, optional
        Called with a text when a network on a chip is done.
    """

    size: tuple[int, int]
    kept: Path
    progress: Callable[[str], None] | None = None

    def fill(self, jobs: Iterable[tuple[NetworkCase, ChipCase]]) -> list[Cell]:
        """Measure what is missing and return the cells of all jobs."""
        file = self.kept / "cells.csv"
        cells = {cell.place: cell for cell in read_cells(file)}
        found = []
        for network, chip in jobs:
            keys = [(network.name, self._id(chip), self._size, how) for how in HOW]
            if any(key not in cells for key in keys):
                for cell in self._measure(network, chip):
                    cells[cell.place] = cell
                write_cells(file, cells.values())
                if self.progress is not None:
                    self.progress(_told([cells[key] for key in keys]))
            found += [cells[key] for key in keys]
        return found

    def done(self, jobs: Iterable[tuple[NetworkCase, ChipCase]]) -> list[Cell]:
        """Return the cells of the jobs that are there already."""
        cells = {cell.place: cell for cell in read_cells(self.kept / "cells.csv")}
        keys = [(n.name, self._id(c), self._size, how) for n, c in jobs for how in HOW]
        return [cells[key] for key in keys if key in cells]

    def mapping_file(self, network: NetworkCase, chip: ChipCase, how: str) -> Path:
        """Return where a mapping of a cell is kept."""
        return self.kept / "mappings" / f"{self._file(network, chip, how)}.json"

    def _file(self, network: NetworkCase, chip: ChipCase, how: str) -> str:
        return f"{network.name}-{self._id(chip)}-{self._size}-{how.replace(' ', '_')}"

    @property
    def _size(self) -> str:
        return f"{self.size[1]}x{self.size[0]}"

    def _id(self, chip: ChipCase) -> str:
        return chip_hash(chip.chip)[:12]

    def _measure(self, network: NetworkCase, case: ChipCase) -> list[Cell]:
        import cimsim

        loaded = cimsim.load_network(network.model, dict(network.options), "random")
        graph = cimsim.trace(loaded.module, loaded.example(*self.size), name=network.name)
        points = best_mappings(graph, case.chip)
        cells = []
        for how in HOW:
            point = points.get(how)
            cells.append(self._cell(network, case, how, point))
            if point is not None and how != IM2COL:
                save_mapping(point.mapping, self.mapping_file(network, case, how))
        return cells

    def _cell(self, network: NetworkCase, case: ChipCase, how: str, point: Point | None) -> Cell:
        about = network.name, case.title, self._id(case), self._size, how
        if point is None:
            return Cell(*about, NO_ROOM, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, "")
        timeline = simulate(point.mapping)
        clock = case.chip.process.clock_hz
        ledger = ledger_of(point.mapping, timeline)
        spent, drawn = ledger.report(), draw(ledger).total_j
        kept, own = Kept(self.kept / "draws"), self._file(network, case, how)
        kept.write(own, drawn)
        ratios = [
            kept.ratio(self._file(other, case, way), own)
            for other, way in ((YARDSTICK, how), (network, IM2COL), (YARDSTICK, IM2COL))
        ]
        total, slow = point.mapping.total, timeline.bottleneck
        used = ", ".join(f"{name} {count}" for name, count in sorted(point.strategies.items()))
        return Cell(
            *about, used, point.arrays, total.windows, total.activations, total.conversions,
            spent.time_per_frame_s, timeline.latency_s(clock), spent.total_j,
            sum(spent.by_component[name] for name in STANDING),
            f"{slow.name} {slow.stage} {slow.share:.0%}", *interval(drawn),
            *(end for ratio in ratios for end in ratio),
        )  # fmt: skip


def best_mappings(graph: LayerGraph, chip: Chip) -> dict[str, Point]:
    """Return the plain mapping, the fastest and the one of least energy; none that does not fit.

    The plain one is a candidate for all three, so no best mapping is worse than it.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
    """
    import cimsim

    found: dict[str, Point] = {}
    candidates: list[Point] = []
    with suppress(MappingError):  # it may fit where layers share arrays
        found[IM2COL] = point_of(cimsim.map_graph(graph, chip))
        candidates.append(found[IM2COL])
    with suppress(MappingError):
        candidates += search(graph, chip, "latency")
    if candidates:
        found[FAST] = min(candidates, key=lambda point: point.measure("latency"))
        found[FRUGAL] = min(candidates, key=lambda point: point.measure("energy"))
    return found


def point_of(mapping: Mapping) -> Point:
    """Return a mapping with its times and energy, as the search has them."""
    timeline = simulate(mapping)
    return Point(
        mapping, timeline.interval, timeline.cycles_first_frame,
        ledger_of(mapping, timeline).report().total_j,
        {mapping.strategy: len(mapping.layers)},
    )  # fmt: skip


def _told(cells: list[Cell]) -> str:
    first = cells[0]
    told = "; ".join(
        f"{cell.how} {1e3 * cell.interval_s:.4g} ms, {1e3 * cell.energy_j:.3g} mJ"
        if cell.fits
        else f"{cell.how} {NO_ROOM}"
        for cell in cells
    )
    return f"{first.network} on {first.hw}: {told}"
