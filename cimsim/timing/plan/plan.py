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
from cimsim.mapping.dataflow import Dependency, Node, frame_nodes
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
        Layer, or node that has it alone.
    replica : int
    nodes : tuple of int
        Places in the order of the nodes that use it.
    tiles : frozenset of int
        Tiles that it sits on.
    home : int
        Home tile.
    stations : tuple of int
        Where its input arrives: the home tile, and one tile on each further chip.
    """

    name: str
    replica: int
    nodes: tuple[int, ...]
    tiles: frozenset[int]
    home: int
    stations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A node on its pipelines, with what the event loop asks of it.

    Attributes
    ----------
    node : Node
        Where an activation answers a rectangle of windows, each rectangle is one window of it.
    pipes : tuple of int
        Its pipelines, by replica.
    services : tuple of Services
        By replica.
    per_activation : int
        Windows of ``node`` that one activation answers.
    arrays, columns, pulses : int
        Arrays fired and physical columns converted by one activation (one pulse), its pulses.
    dependencies : tuple of (int, Dependency)
        Place of the producer in the order; inputs that are resident are left out.
    answered : int
        Windows of the network's own map in one frame.
    """

    node: Node
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
        return -(-self.node.windows // self.per_activation)

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
    """Assign the nodes of a mapped network to pipelines.

    Parameters
    ----------
    mapping : Mapping
    spilled : mapping of (str, str) to str, or iterable of (str, str)
        Producer and consumer of the line buffers that are kept in the global buffer or DRAM ->
        which of the two; without that, where ``buffer.overflow`` puts them first.

    Raises
    ------
    SimulationError
        If a node has no windows.
    """
    single = _with_loads(mapping, _nodes(mapping))
    nodes = tuple(_of_activations(mapping, node) for node in single)
    pipes, of_node = _pipes(mapping, nodes)
    if not isinstance(spilled, MappingABC):
        spilled = dict.fromkeys(spilled, first_memory(mapping.chip))
    edges = _edges(mapping, nodes, pipes, of_node, spilled)
    builder = _Builder(mapping, single, nodes, pipes, of_node, edges)
    return Plan(tuple(builder.jobs()), pipes, edges)


def _nodes(mapping: Mapping) -> tuple[Node, ...]:
    active = tuple(node for node in mapping.nodes if node.kind != "input")
    empty = [node.name for node in active if node.windows < 1]
    if empty:
        raise SimulationError(
            f"network '{mapping.graph.name}': no windows in {', '.join(empty)}; "
            "the frames are smaller than the kernel, use a larger size"
        )
    if mapping.chip.frames == "resident":
        return active
    inputs, outputs = frame_nodes(mapping.graph)
    return (*inputs, *active, *outputs)


def _with_loads(mapping: Mapping, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Put a node that writes the arrays before those of each load, and let them wait for it."""
    if mapping.loads == 1:
        return nodes
    of_load: list[list[Node]] = [[] for _ in range(mapping.loads)]
    ends: list[Node] = []
    load = 0
    for node in nodes:
        if node.kind == "matrix":
            load = mapping.load_of(node.name)
        (ends if node.kind in ("input", "output") else of_load[load]).append(node)
    ordered = [node for node in ends if node.kind == "input"]
    for load, mine in enumerate(of_load):
        writer = f"load {load}"
        # the first load of a frame waits for the last one of the frame before
        dependencies = tuple(Dependency(node.name, None) for node in of_load[load - 1])
        ordered.append(Node(writer, "program", None, (), (1, 1), (1, 1), 0, 0.0, dependencies))
        ordered += [
            replace(node, dependencies=(*node.dependencies, Dependency(writer, None)))
            for node in mine
        ]
    return (*ordered, *(node for node in ends if node.kind == "output"))


def _of_activations(mapping: Mapping, node: Node) -> Node:
    """Return a node whose windows are the rectangles that its arrays answer at once."""
    shape = None
    if node.kind == "matrix":
        shape = mapping.layer_of[node.name].layout.window_shape
    return node if shape is None else by_rectangles(node, shape)


def by_rectangles(node: Node, shape: tuple[int, int]) -> Node:
    """Return the node that does a rectangle of ``shape`` (y, x) windows as one window.

    Its grid is that of the activations, it writes the blocks of all windows side by side and reads
    what any of them reads; at the map's edge a reader's dependencies are clipped as ever.
    """
    wy, wx = shape
    rows, cols = node.grid
    return replace(
        node,
        grid=(-(-rows // wy), -(-cols // wx)),
        block=(node.block[0] * wy, node.block[1] * wx),
        stored=node.stored * wy * wx,
        vector_ops=node.vector_ops * wy * wx,
        products=node.products * wy * wx,
        operands=node.operands * wy * wx,
        dependencies=tuple(
            replace(dependency, window=_over(dependency.window, shape))
            for dependency in node.dependencies
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
    mapping: Mapping, nodes: tuple[Node, ...]
) -> tuple[tuple[Pipe, ...], tuple[tuple[int, ...], ...]]:
    """Return all pipelines, and those of each node by replica."""
    index = {node.name: i for i, node in enumerate(nodes)}
    pipes: list[Pipe] = []
    first: dict[str, int] = {}
    of_nodes: list[tuple[int, ...]] = []
    default = mapping.layers[0].slots[0][0].tile if mapping.layers else 0
    for u, node in enumerate(nodes):
        layer = mapping.layer_of[node.name] if node.kind == "matrix" else None
        name = node.name if layer is None else layer.name
        if layer is not None:
            places = [frozenset(slot.tile for slot in slots) for slots in layer.slots]
            arrive = [stations(slots, mapping.chip) for slots in layer.slots]
        else:
            read = [index[n.producer] for n in node.dependencies if n.producer in index]
            last = max((p for p in read if p < u and nodes[p].kind != "program"), default=-1)
            home = default if last < 0 else pipes[of_nodes[last][0]].home
            if node.kind == "input":
                home = IO_TILE
            elif last >= 0 and nodes[last].kind == "input":
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
            pipes[p] = replace(pipes[p], nodes=(*pipes[p].nodes, u))
        of_nodes.append(mine)
    return tuple(pipes), tuple(of_nodes)


def _by_chip(tiles: frozenset[int], per_chip: int) -> list[frozenset[int]]:
    """Return the tiles chip by chip: each chip that a replica lies on has its input."""
    by_chip: dict[int, set[int]] = defaultdict(set)
    for tile in tiles:
        by_chip[tile // per_chip].add(tile)
    return [frozenset(by_chip[number]) for number in sorted(by_chip)]


def _edges(
    mapping: Mapping,
    nodes: tuple[Node, ...],
    pipes: tuple[Pipe, ...],
    of_node: tuple[tuple[int, ...], ...],
    spilled: MappingABC[tuple[str, str], str],
) -> tuple[Edge, ...]:
    """Return all edges, by producer, then by consumer, with their capacities."""
    chip, index = mapping.chip, {node.name: i for i, node in enumerate(nodes)}
    dependencies: dict[tuple[int, int], list[Dependency]] = defaultdict(list)
    for u, node in enumerate(nodes):
        for dependency in node.dependencies:
            producer = index.get(dependency.producer)
            if producer is not None and "program" not in (node.kind, nodes[producer].kind):
                dependencies[producer, u].append(dependency)
    edges = tuple(
        Edge(
            producer, consumer, tuple(between), pixel_bytes(nodes[producer], chip.input_bytes),
            memory=_memory(chip, nodes[producer], nodes[consumer], spilled),
        )
        for (producer, consumer), between in sorted(dependencies.items())
    )  # fmt: skip
    if chip.buffer.overflow == "ignore":
        return edges
    tiles = tuple(
        tuple(part for p in mine for part in _by_chip(pipes[p].tiles, chip.tile.count))
        for mine in of_node
    )
    limited = [e for e in edges if not e.spilled and nodes[e.consumer].kind != "output"]
    sizes = dict(
        zip(limited, capacities(tuple(limited), nodes, tiles, int(chip.buffer.size_b)), strict=True)
    )
    return tuple(replace(edge, capacity=sizes.get(edge)) for edge in edges)


def _memory(
    chip: Chip, producer: Node, consumer: Node, spilled: MappingABC[tuple[str, str], str]
) -> str:
    """Return where a line buffer is; frames are read where they are instead of being copied."""
    memory = spilled.get((producer.name, consumer.name), "")
    return chip.frames if memory and producer.kind == "input" else memory


class _Builder:
    """Puts services together once it is known who sits where."""

    def __init__(
        self,
        mapping: Mapping,
        single: tuple[Node, ...],
        nodes: tuple[Node, ...],
        pipes: tuple[Pipe, ...],
        of_node: tuple[tuple[int, ...], ...],
        edges: tuple[Edge, ...],
    ) -> None:
        self.mapping, self.chip = mapping, mapping.chip
        self.single, self.nodes = single, nodes  # as in the network; as the arrays do it
        self.pipes, self.of_node, self.edges = pipes, of_node, edges
        self.place = {node.name: u for u, node in enumerate(nodes)}
        self.read: list[list[Edge]] = [[] for _ in nodes]
        self.written: list[list[Edge]] = [[] for _ in nodes]
        for edge in edges:
            self.read[edge.consumer].append(edge)
            self.written[edge.producer].append(edge)
        self.groups = _shared_arrays(mapping)

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs in order."""
        for u, node in enumerate(self.nodes):
            dependencies = tuple(
                (self.place[dependency.producer], dependency)
                for dependency in node.dependencies
                if dependency.producer in self.place
            )
            if node.kind != "matrix":
                alone = (self._other(u, node),)
                yield Job(node, self.of_node[u], alone, 1, 0, 0, 1, dependencies, node.windows)
                continue
            layer = self.mapping.layer_of[node.name]
            services = tuple(
                matrix_services(
                    self.single[u], layer.layout, slots, len(layer.slots), self.chip,
                    self._targets(u), self.groups.get((layer.name, replica)), self._spill(u),
                )
                for replica, slots in enumerate(layer.slots)
            )  # fmt: skip
            layout, op = layer.layout, node.op
            assert isinstance(op, MatrixOp)
            yield Job(
                node, self.of_node[u], services, _together(layout), layout.n_arrays,
                sum(layout.cols_used) * self.chip.weights.slices, self.chip.pulses_for(op.signed),
                dependencies, self.single[u].windows,
            )  # fmt: skip

    def _other(self, u: int, node: Node) -> Services:
        home = self.pipes[self.of_node[u][0]].home
        if node.kind == "input":
            return input_services(node, self.chip, self._targets(u))
        if node.kind == "output":
            return output_services(node, self.chip, home)
        if node.kind == "program":
            load = int(node.name.removeprefix("load "))
            arrays = len(self.mapping.held(load))
            cells = sum(
                self.mapping.cells_of(layer) * len(layer.slots)
                for layer in self.mapping.layers
                if layer.load == load
            )
            seconds = self.chip.programming.time_s(arrays, cells)
            return program_services(to_cycles(seconds, self.chip.process.clock_hz))
        return vector_services(node, self.chip, home, self._targets(u), self._spill(u))

    def _targets(self, u: int) -> frozenset[int] | None:
        """Stations of all that read what node ``u`` stores; None: only output nodes do."""
        inside = [e for e in self.written[u] if self.nodes[e.consumer].kind != "output"]
        if self.written[u] and not inside:
            return None
        return frozenset(
            station
            for edge in inside
            if not edge.spilled
            for p in self.of_node[edge.consumer]
            for station in self.pipes[p].stations
        )

    def _spill(self, u: int) -> Spill:
        """Return what node ``u`` moves to and from spilled line buffers for one activation."""
        load = ""
        read, operand, write = Counter[str](), Counter[str](), Counter[str]()
        node = self.nodes[u]
        activations = node.windows
        if node.kind == "matrix":
            activations = -(-node.windows // _together(self.mapping.layer_of[node.name].layout))
        # once for all readers in one memory
        for edge in (e for e in self.written[u] if e.spilled):
            write[edge.memory] = int(edge.pixel_bytes * node.block[0] * node.block[1]) * (
                -(-node.windows // activations)
            )
        for edge in (e for e in self.read[u] if e.spilled):
            producer = self.nodes[edge.producer]
            pixels = producer.windows * producer.block[0] * producer.block[1]
            n_bytes = -int(-pixels * edge.pixel_bytes // activations)
            if all(dependency.at == "post" for dependency in edge.dependencies):
                operand[edge.memory] += n_bytes
            elif node.kind == "matrix":  # of several producers the slower memory counts
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
