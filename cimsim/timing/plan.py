"""From a mapping to the tables of the event loop: rules become numbers, once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import SimulationError
from cimsim.graph.ir import Window
from cimsim.mapping.dataflow import Need, Unit
from cimsim.mapping.mapping import Mapping
from cimsim.timing.rules import STAGES, StageCycles, matrix_cycles, vector_cycles

Ints = NDArray[np.int64]
Schedule = Literal["pipelined", "sequential"]
Resource = tuple[str, int]  # ("vector", tile); ("interconnect", 0)


@dataclass(frozen=True, slots=True)
class Pipe:
    """One pipeline.

    Attributes
    ----------
    name : str
        Layer or vector unit.
    replica : int
    units : tuple of int
        Indices of the units that use it.
    resources : dict
        Stage number -> the shared resource that its services ask for.
    """

    name: str
    replica: int
    units: tuple[int, ...]
    resources: dict[int, Resource]


@dataclass(frozen=True, slots=True)
class Work:
    """A unit that does something, with what the event loop needs to know of it.

    Attributes
    ----------
    unit : Unit
    pipes : tuple of int
        Indices of its pipelines, by replica.
    per_activation : int
        Windows of one activation.
    arrays, columns : int
        Arrays fired and physical columns converted by one activation (one pulse).
    cycles : StageCycles
        In each stage those of the slowest replica.
    needs : tuple of (int, Need)
        Index of the producer, inputs left out.
    """

    unit: Unit
    pipes: tuple[int, ...]
    per_activation: int
    arrays: int
    columns: int
    cycles: StageCycles
    needs: tuple[tuple[int, Need], ...]

    @property
    def activations(self) -> int:
        """Activations of one frame."""
        return -(-self.unit.windows // self.per_activation)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that runs, in execution order, and the pipelines that it runs on."""

    works: tuple[Work, ...]
    pipes: tuple[Pipe, ...]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All shared resources in use."""
        return tuple(sorted({r for pipe in self.pipes for r in pipe.resources.values()}))

    def shared(self) -> dict[Resource, int]:
        """How many stages of all pipelines ask for each resource."""
        users: dict[Resource, int] = defaultdict(int)
        for pipe in self.pipes:
            for stage, resource in pipe.resources.items():
                if any(bus_cycles(self.works[u].cycles)[stage] for u in pipe.units):
                    users[resource] += 1
        return users


def bus_cycles(cycles: StageCycles) -> tuple[int, int, int, int, int, int]:
    """Cycles of each stage's (longest) service on its resource."""
    return (
        cycles.load_first, 0, cycles.convert, cycles.reduce_bus, cycles.post, cycles.store,
    )  # fmt: skip


def make_plan(mapping: Mapping) -> Plan:
    """Assign the units of a mapped network to pipelines.

    Raises
    ------
    SimulationError
        If a unit has no windows.
    """
    active = [unit for unit in mapping.units if unit.kind != "input"]
    empty = [unit.name for unit in active if unit.windows < 1]
    if empty:
        raise SimulationError(
            f"network '{mapping.graph.name}': no windows in {', '.join(empty)}; "
            "the frames are smaller than the kernel, use a larger size"
        )
    index = {unit.name: i for i, unit in enumerate(active)}
    builder = _Builder(mapping, index)
    works = tuple(builder.add(unit) for unit in active)
    pipes = tuple(
        Pipe(name, replica, tuple(builder.users[name]), resources)
        for name, replica, resources in builder.pipes
    )
    return Plan(works, pipes)


class _Builder:
    """Collects pipelines and the home tiles of units."""

    def __init__(self, mapping: Mapping, index: dict[str, int]) -> None:
        self.mapping, self.chip, self.index = mapping, mapping.chip, index
        self.pipes: list[tuple[str, int, dict[int, Resource]]] = []
        self.first: dict[str, int] = {}  # layer or vector unit -> its first pipeline
        self.users: dict[str, list[int]] = defaultdict(list)
        self.home: dict[str, int] = {}

    def add(self, unit: Unit) -> Work:
        """Add a unit after all units that it needs."""
        needs = tuple((self.index[n.producer], n) for n in unit.needs if n.producer in self.index)
        if unit.kind == "vector":
            default = self.mapping.layers[0].slots[0][0].tile if self.mapping.layers else 0
            last = max(needs, key=lambda need: need[0], default=None)
            self.home[unit.name] = default if last is None else self.home[last[1].producer]
            pipes = self._pipes(unit, unit.name, [self.home[unit.name]])
            return Work(unit, pipes, 1, 0, 0, vector_cycles(unit, self.chip), needs)
        layer = self.mapping.layer_of[unit.name]
        homes = [slots[0].tile for slots in layer.slots]
        self.home[unit.name] = homes[0]
        cycles = [
            matrix_cycles(unit, layer.layout, slots, len(layer.slots), self.chip)
            for slots in layer.slots
        ]
        slowest = StageCycles(*(max(values) for values in zip(*map(astuple, cycles), strict=True)))
        columns = sum(layer.layout.cols_used) * self.chip.weights.slices
        return Work(
            unit, self._pipes(unit, layer.name, homes), layer.layout.windows_per_activation,
            layer.layout.n_arrays, columns, slowest, needs,
        )  # fmt: skip

    def _pipes(self, unit: Unit, name: str, homes: list[int]) -> tuple[int, ...]:
        if name not in self.first:
            self.first[name] = len(self.pipes)
            self.pipes += [
                (name, r, self._resources(unit.kind, home)) for r, home in enumerate(homes)
            ]
        self.users[name].append(self.index[unit.name])
        return tuple(range(self.first[name], self.first[name] + len(homes)))

    def _resources(self, kind: str, home: int) -> dict[int, Resource]:
        vector = home if self.chip.vector.scope == "tile" else 0
        found: dict[int, Resource] = {STAGES.index("POST"): ("vector", vector)}
        if self.chip.interconnect.kind != "ideal":
            found[STAGES.index("STORE")] = ("interconnect", 0)
        if kind == "matrix":
            found[STAGES.index("LOAD")] = ("buffer", home)
            if self.chip.adc.shared == "tile":
                found[STAGES.index("CONVERT")] = ("adc", home)
            if self.chip.interconnect.kind != "ideal":
                found[STAGES.index("REDUCE")] = ("interconnect", 0)
        return found


# Dependencies as tables: window (y, x) needs table_y[y] + table_x[x] windows of the producer.

_NOTHING = -(1 << 60)  # makes the sum negative: the window lies above or left of the map


def need_tables(work: Work, producer: Work, need: Need) -> tuple[Ints, Ints]:
    """Return how many windows of the producer's raster order each window row and column needs."""
    rows, cols = work.unit.grid
    if need.window is None:
        return np.full(rows, producer.unit.windows, np.int64), np.zeros(cols, np.int64)
    last_y = _last_windows(need.window, 0, rows, producer.unit)
    last_x = _last_windows(need.window, 1, cols, producer.unit)
    table_y = np.where(last_y < 0, _NOTHING, last_y * producer.unit.grid[1])
    table_x = np.where(last_x < 0, _NOTHING, last_x + 1)
    return table_y, table_x


def whole_tables(work: Work, producer: Work) -> tuple[Ints, Ints]:
    """Return the tables of a unit that waits for the producer's whole frame."""
    rows, cols = work.unit.grid
    return np.full(rows, producer.unit.windows, np.int64), np.zeros(cols, np.int64)


def release_table(work: Work, producer: Work, need: Need) -> Ints:
    """Return the pixels of the producer that nobody needs once 0, 1, ... window rows are stored."""
    rows, (grid_y, grid_x) = work.unit.grid[0], producer.unit.grid
    block_y, block_x = producer.unit.block
    freed = np.zeros(rows + 1, np.int64)
    if need.window is not None:
        top = need.window.padding[0]
        first = np.arange(rows) * need.window.stride[0] - top
        freed[:-1] = np.clip(first // block_y, 0, grid_y)
    freed[-1] = grid_y
    return freed * block_y * grid_x * block_x


def _last_windows(window: Window, axis: int, count: int, producer: Unit) -> Ints:
    """Return the producer's window row or column that each window needs last; < 0: none."""
    size = producer.grid[axis] * producer.block[axis]
    before = window.padding[2 * axis]
    last = np.arange(count, dtype=np.int64) * window.stride[axis] - before
    last += window.extent[axis] - 1
    return np.minimum(last, size - 1) // producer.block[axis]


def ranges(groups: Iterable[int], n: int) -> tuple[Ints, Ints]:
    """Return the start and the length of each group 0 .. n-1 in a list sorted by group."""
    counts = np.bincount(np.asarray(list(groups), np.int64), minlength=n).astype(np.int64)
    return np.cumsum(counts) - counts, counts
