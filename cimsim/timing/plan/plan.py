"""From a mapping to the numbers of the event loop: who runs where, needs what, for how long."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx

from cimsim.chip.spec import Chip
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp, Window
from cimsim.mapping.dataflow import Dependency, Unit, frame_units
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Mapping, Slot
from cimsim.mapping.traffic import stations
from cimsim.timing.spec.buffers import Edge, capacities, pixel_bytes
from cimsim.timing.spec.memories import first_memory
from cimsim.timing.spec.routes import IO_TILE, Resource
from cimsim.timing.spec.rules import (
    Services,
    Spill,
    input_services,
    matrix_services,
    output_services,
    program_services,
    vector_services,
)
from cimsim.units import to_cycles

Schedule = Literal["pipelined", "sequential"]


@dataclass(frozen=True, slots=True)
class Pipe:
    """One pipeline.

    Attributes
    ----------
    name : str
        Layer, or unit that has it alone.
    replica : int
    units : tuple of int
        Places in the order of the units that use it.
    tiles : frozenset of int
        Tiles that it sits on.
    home : int
        Home tile.
    stations : tuple of int
        Where its input arrives: the home tile, and one tile on each further chip.
    """

    name: str
    replica: int
    units: tuple[int, ...]
    tiles: frozenset[int]
    home: int
    stations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A unit on its pipelines, with what the event loop asks of it.

    Attributes
    ----------
    unit : Unit
        Where an activation answers a rectangle of windows, each rectangle is one window of it.
    pipes : tuple of int
        Its pipelines, by replica.
    services : tuple of Services
        By replica.
    per_activation : int
        Windows of ``unit`` that one activation answers.
    arrays, columns, pulses : int
        Arrays fired and physical columns converted by one activation (one pulse), its pulses.
    dependencies : tuple of (int, Dependency)
        Place of the producer in the order; inputs that are resident are left out.
    answered : int
        Windows of the network's own map in one frame.
    """

    unit: Unit
    pipes: tuple[int, ...]
    services: tuple[Services, ...]
    per_activation: int
    arrays: int
    columns: int
    pulses: int
    dependencies: tuple[tuple[int, Dependency], ...]
    answered: int

    @property
    def activations(self) -> int:
        """Activations of one frame."""
        return -(-self.unit.windows // self.per_activation)

    def of_replica(self, replica: int) -> int:
        """Activations of one frame on one replica."""
        return len(range(replica, self.activations, len(self.pipes)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that runs, in execution order, the pipelines that it runs on, and the buffers."""

    jobs: tuple[Job, ...]
    pipes: tuple[Pipe, ...]
    edges: tuple[Edge, ...]

    def uses(self) -> dict[Resource, int]:
        """How many reservations of all stages of all pipelines ask for each resource.

        LOAD of a first and of a later activation are one stage.
        """
        asked: dict[Resource, set[tuple[int, int, int]]] = defaultdict(set)
        for job in self.jobs:
            for p, services in zip(job.pipes, job.services, strict=True):
                for stage, service in enumerate(services.stages):
                    for number, reservation in enumerate(service.reservations):
                        asked[reservation.resource].add((p, stage % 6, number))
        return {resource: len(asked[resource]) for resource in sorted(asked)}


Spilled = MappingABC[tuple[str, str], str] | Iterable[tuple[str, str]]


def make_plan(mapping: Mapping, spilled: Spilled = ()) -> Plan:
    """Assign the units of a mapped network to pipelines.

    Parameters
    ----------
    mapping : Mapping
    spilled : mapping of (str, str) to str, or iterable of (str, str)
        Producer and consumer of the line buffers that are kept in the global buffer or DRAM ->
        which of the two; without that, where ``buffer.overflow`` puts them first.

    Raises
    ------
    SimulationError
        If a unit has no windows.
    """
    single = _with_loads(mapping, _units(mapping))
    units = tuple(_of_activations(mapping, unit) for unit in single)
    pipes, of_unit = _pipes(mapping, units)
    if not isinstance(spilled, MappingABC):
        spilled = dict.fromkeys(spilled, first_memory(mapping.chip))
    edges = _edges(mapping, units, pipes, of_unit, spilled)
    builder = _Builder(mapping, single, units, pipes, of_unit, edges)
    return Plan(tuple(builder.jobs()), pipes, edges)


def _units(mapping: Mapping) -> tuple[Unit, ...]:
    active = tuple(unit for unit in mapping.units if unit.kind != "input")
    empty = [unit.name for unit in active if unit.windows < 1]
    if empty:
        raise SimulationError(
            f"network '{mapping.graph.name}': no windows in {', '.join(empty)}; "
            "the frames are smaller than the kernel, use a larger size"
        )
    if mapping.chip.frames == "resident":
        return active
    inputs, outputs = frame_units(mapping.graph)
    return (*inputs, *active, *outputs)


def _with_loads(mapping: Mapping, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Put a unit that writes the arrays before those of each load, and let them wait for it."""
    if mapping.loads == 1:
        return units
    of_load: list[list[Unit]] = [[] for _ in range(mapping.loads)]
    ends: list[Unit] = []
    load = 0
    for unit in units:
        if unit.kind == "matrix":
            load = mapping.load_of(unit.name)
        (ends if unit.kind in ("input", "output") else of_load[load]).append(unit)
    ordered = [unit for unit in ends if unit.kind == "input"]
    for load, mine in enumerate(of_load):
        writer = f"load {load}"
        # the first load of a frame waits for the last one of the frame before
        dependencies = tuple(Dependency(unit.name, None) for unit in of_load[load - 1])
        ordered.append(Unit(writer, "program", None, (), (1, 1), (1, 1), 0, 0.0, dependencies))
        ordered += [
            replace(unit, dependencies=(*unit.dependencies, Dependency(writer, None)))
            for unit in mine
        ]
    return (*ordered, *(unit for unit in ends if unit.kind == "output"))


def _of_activations(mapping: Mapping, unit: Unit) -> Unit:
    """Return a unit whose windows are the rectangles that its arrays answer at once."""
    shape = None
    if unit.kind == "matrix":
        shape = mapping.layer_of[unit.name].layout.window_shape
    return unit if shape is None else by_rectangles(unit, shape)


def by_rectangles(unit: Unit, shape: tuple[int, int]) -> Unit:
    """Return the unit that does a rectangle of ``shape`` (y, x) windows as one window.

    Its grid is that of the activations, it writes the blocks of all windows side by side and reads
    what any of them reads; at the map's edge a reader's dependencies are clipped as ever.
    """
    wy, wx = shape
    rows, cols = unit.grid
    return replace(
        unit,
        grid=(-(-rows // wy), -(-cols // wx)),
        block=(unit.block[0] * wy, unit.block[1] * wx),
        stored=unit.stored * wy * wx,
        vector_ops=unit.vector_ops * wy * wx,
        products=unit.products * wy * wx,
        operands=unit.operands * wy * wx,
        dependencies=tuple(
            replace(dependency, window=_over(dependency.window, shape))
            for dependency in unit.dependencies
        ),
    )


def _over(window: Window | None, shape: tuple[int, int]) -> Window | None:
    """Window of the pixels that any window of a rectangle reads."""
    if window is None:
        return None
    (high, wide), (s_y, s_x), (wy, wx) = window.extent, window.stride, shape
    return Window(
        (high + (wy - 1) * s_y, wide + (wx - 1) * s_x), (s_y * wy, s_x * wx), window.padding
    )


def _pipes(
    mapping: Mapping, units: tuple[Unit, ...]
) -> tuple[tuple[Pipe, ...], tuple[tuple[int, ...], ...]]:
    """Return all pipelines, and those of each unit by replica."""
    index = {unit.name: i for i, unit in enumerate(units)}
    pipes: list[Pipe] = []
    first: dict[str, int] = {}
    of_units: list[tuple[int, ...]] = []
    default = mapping.layers[0].slots[0][0].tile if mapping.layers else 0
    for u, unit in enumerate(units):
        layer = mapping.layer_of[unit.name] if unit.kind == "matrix" else None
        name = unit.name if layer is None else layer.name
        if layer is not None:
            places = [frozenset(slot.tile for slot in slots) for slots in layer.slots]
            arrive = [stations(slots, mapping.chip) for slots in layer.slots]
        else:
            read = [index[n.producer] for n in unit.dependencies if n.producer in index]
            last = max((p for p in read if p < u and units[p].kind != "program"), default=-1)
            home = default if last < 0 else pipes[of_units[last][0]].home
            if unit.kind == "input":
                home = IO_TILE
            elif last >= 0 and units[last].kind == "input":
                home = default
            arrive, places = [(home,)], [frozenset((home,))]
        if name not in first:
            first[name] = len(pipes)
            pipes += [
                Pipe(name, r, (), tiles, ends[0], ends)
                for r, (tiles, ends) in enumerate(zip(places, arrive, strict=True))
            ]
        mine = tuple(range(first[name], first[name] + len(arrive)))
        for p in mine:
            pipes[p] = replace(pipes[p], units=(*pipes[p].units, u))
        of_units.append(mine)
    return tuple(pipes), tuple(of_units)


def _by_chip(tiles: frozenset[int], per_chip: int) -> list[frozenset[int]]:
    """Return the tiles chip by chip: each chip that a replica lies on has its input."""
    by_chip: dict[int, set[int]] = defaultdict(set)
    for tile in tiles:
        by_chip[tile // per_chip].add(tile)
    return [frozenset(by_chip[number]) for number in sorted(by_chip)]


def _edges(
    mapping: Mapping,
    units: tuple[Unit, ...],
    pipes: tuple[Pipe, ...],
    of_unit: tuple[tuple[int, ...], ...],
    spilled: MappingABC[tuple[str, str], str],
) -> tuple[Edge, ...]:
    """Return all edges, by producer, then by consumer, with their capacities."""
    chip, index = mapping.chip, {unit.name: i for i, unit in enumerate(units)}
    dependencies: dict[tuple[int, int], list[Dependency]] = defaultdict(list)
    for u, unit in enumerate(units):
        for dependency in unit.dependencies:
            producer = index.get(dependency.producer)
            if producer is not None and "program" not in (unit.kind, units[producer].kind):
                dependencies[producer, u].append(dependency)
    edges = tuple(
        Edge(
            producer, consumer, tuple(between), pixel_bytes(units[producer], chip.input_bytes),
            memory=_memory(chip, units[producer], units[consumer], spilled),
        )
        for (producer, consumer), between in sorted(dependencies.items())
    )  # fmt: skip
    if chip.buffer.overflow == "ignore":
        return edges
    tiles = tuple(
        tuple(part for p in mine for part in _by_chip(pipes[p].tiles, chip.tile.count))
        for mine in of_unit
    )
    limited = [e for e in edges if not e.spilled and units[e.consumer].kind != "output"]
    sizes = dict(
        zip(limited, capacities(tuple(limited), units, tiles, int(chip.buffer.size_b)), strict=True)
    )
    return tuple(replace(edge, capacity=sizes.get(edge)) for edge in edges)


def _memory(
    chip: Chip, producer: Unit, consumer: Unit, spilled: MappingABC[tuple[str, str], str]
) -> str:
    """Return where a line buffer is; frames are read where they are instead of being copied."""
    memory = spilled.get((producer.name, consumer.name), "")
    return chip.frames if memory and producer.kind == "input" else memory


class _Builder:
    """Puts services together once it is known who sits where."""

    def __init__(
        self,
        mapping: Mapping,
        single: tuple[Unit, ...],
        units: tuple[Unit, ...],
        pipes: tuple[Pipe, ...],
        of_unit: tuple[tuple[int, ...], ...],
        edges: tuple[Edge, ...],
    ) -> None:
        self.mapping, self.chip = mapping, mapping.chip
        self.single, self.units = single, units  # as in the network; as the arrays do it
        self.pipes, self.of_unit, self.edges = pipes, of_unit, edges
        self.place = {unit.name: u for u, unit in enumerate(units)}
        self.read: list[list[Edge]] = [[] for _ in units]
        self.written: list[list[Edge]] = [[] for _ in units]
        for edge in edges:
            self.read[edge.consumer].append(edge)
            self.written[edge.producer].append(edge)
        self.groups = _shared_arrays(mapping)

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs in order."""
        for u, unit in enumerate(self.units):
            dependencies = tuple(
                (self.place[dependency.producer], dependency)
                for dependency in unit.dependencies
                if dependency.producer in self.place
            )
            if unit.kind != "matrix":
                alone = (self._other(u, unit),)
                yield Job(unit, self.of_unit[u], alone, 1, 0, 0, 1, dependencies, unit.windows)
                continue
            layer = self.mapping.layer_of[unit.name]
            services = tuple(
                matrix_services(
                    self.single[u], layer.layout, slots, len(layer.slots), self.chip,
                    self._targets(u), self.groups.get((layer.name, replica)), self._spill(u),
                )
                for replica, slots in enumerate(layer.slots)
            )  # fmt: skip
            layout, op = layer.layout, unit.op
            assert isinstance(op, MatrixOp)
            yield Job(
                unit, self.of_unit[u], services, _together(layout), layout.n_arrays,
                sum(layout.cols_used) * self.chip.weights.slices, self.chip.pulses_for(op.signed),
                dependencies, self.single[u].windows,
            )  # fmt: skip

    def _other(self, u: int, unit: Unit) -> Services:
        home = self.pipes[self.of_unit[u][0]].home
        if unit.kind == "input":
            return input_services(unit, self.chip, self._targets(u))
        if unit.kind == "output":
            return output_services(unit, self.chip, home)
        if unit.kind == "program":
            load = int(unit.name.removeprefix("load "))
            arrays = len(self.mapping.held(load))
            cells = sum(
                self.mapping.cells_of(layer) * len(layer.slots)
                for layer in self.mapping.layers
                if layer.load == load
            )
            seconds = self.chip.programming.time_s(arrays, cells)
            return program_services(to_cycles(seconds, self.chip.process.clock_hz))
        return vector_services(unit, self.chip, home, self._targets(u), self._spill(u))

    def _targets(self, u: int) -> frozenset[int] | None:
        """Stations of all that read what unit ``u`` stores; None: only output units do."""
        inside = [e for e in self.written[u] if self.units[e.consumer].kind != "output"]
        if self.written[u] and not inside:
            return None
        return frozenset(
            station
            for edge in inside
            if not edge.spilled
            for p in self.of_unit[edge.consumer]
            for station in self.pipes[p].stations
        )

    def _spill(self, u: int) -> Spill:
        """Return what unit ``u`` moves to and from spilled line buffers for one activation."""
        load = ""
        read, operand, write = Counter[str](), Counter[str](), Counter[str]()
        unit = self.units[u]
        activations = unit.windows
        if unit.kind == "matrix":
            activations = -(-unit.windows // _together(self.mapping.layer_of[unit.name].layout))
        # once for all readers in one memory
        for edge in (e for e in self.written[u] if e.spilled):
            write[edge.memory] = int(edge.pixel_bytes * unit.block[0] * unit.block[1]) * (
                -(-unit.windows // activations)
            )
        for edge in (e for e in self.read[u] if e.spilled):
            producer = self.units[edge.producer]
            pixels = producer.windows * producer.block[0] * producer.block[1]
            n_bytes = -int(-pixels * edge.pixel_bytes // activations)
            if all(dependency.at == "post" for dependency in edge.dependencies):
                operand[edge.memory] += n_bytes
            elif unit.kind == "matrix":  # of several producers the slower memory counts
                load = max(load, edge.memory, key=("", "global_buffer", "dram").index)
            else:
                read[edge.memory] += n_bytes
        return Spill(load, *(tuple(moves.items()) for moves in (read, operand, write)))


def _together(layout: Layout) -> int:
    """Windows in raster order that one activation answers; a rectangle counts as one."""
    return 1 if layout.window_shape is not None else layout.windows_per_activation


def _shared_arrays(mapping: Mapping) -> dict[tuple[str, int], Resource]:
    """Return the group of each layer and replica that has arrays in common with others."""
    graph: nx.Graph = nx.Graph()
    users: dict[tuple[int, Slot], list[tuple[str, int]]] = defaultdict(list)
    for layer in mapping.layers:
        for replica, slots in enumerate(layer.slots):
            for slot in set(slots):
                users[layer.load, slot].append((layer.name, replica))
    crowded = {where for where, who in users.items() if len(who) > 1}
    if not crowded:
        return {}
    by_tile = mapping.chip.adc.shared == "tile"
    tiles = {(load, slot.tile) for load, slot in crowded}
    for layer in mapping.layers:
        for replica, slots in enumerate(layer.slots):
            for slot in slots:
                if by_tile and (layer.load, slot.tile) in tiles:
                    graph.add_edge((layer.name, replica), (layer.load, slot.tile))
                elif (layer.load, slot) in crowded:
                    graph.add_edge((layer.name, replica), (layer.load, slot))
    groups: dict[tuple[str, int], Resource] = {}
    number = {
        (layer.name, replica): (i, replica)
        for i, layer in enumerate(mapping.layers)
        for replica in range(len(layer.slots))
    }
    for group in nx.connected_components(graph):
        members = sorted((n for n in group if n in number), key=lambda n: number[n])
        for member in members:
            groups[member] = ("array", *number[members[0]])
    return groups
