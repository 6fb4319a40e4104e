"""The mapping: where each layer sits on the chip. Quality, cycles and energy all start from it."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import NoReturn, cast

from cimsim.chip.area import area
from cimsim.chip.rescale import with_arrays
from cimsim.chip.spec import Chip
from cimsim.display import drawing
from cimsim.display.tables import Rows, html_table
from cimsim.errors import MappingError
from cimsim.graph.costs import costed
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.allocation import (
    Allocation,
    Request,
    allocated,
    allocation_of,
    requests_of,
)
from cimsim.mapping.allocation.base import NoRoomError
from cimsim.mapping.allocation.turns import busiest_s, work_s
from cimsim.mapping.custom import checked_layout, find_strategy
from cimsim.mapping.dataflow import Node, nodes
from cimsim.mapping.layout import Block, Counts, Layout, count, first_overlap
from cimsim.mapping.placement import PlacedLayer as PlacedLayer
from cimsim.mapping.placement import Placement as Placement
from cimsim.mapping.placement import Slot as Slot
from cimsim.mapping.sharing import first_disturbed
from cimsim.mapping.strategies import Im2col, Strategy

_MOST_PIECES = 1000  # that a message tries to pack
_TIMES, _LONGEST = (1, 2, 4, 8), 65536  # sizes of arrays that a message tries, and the largest


@dataclass(frozen=True)
class Mapping(Rows):
    """A network on a chip: frozen and legal from construction on.

    Attributes
    ----------
    graph, chip
    strategy : str
        What cut the matrices.
    layers : tuple of PlacedLayer
        In the order in which they are first used.
    allocation : str
        What gave them their arrays.

    Raises
    ------
    MappingError
        A layer without a place or with two, a block outside the chip, two blocks on the same cells,
        or weights of a layer where another one drives rows and reads columns.
    """

    graph: LayerGraph
    chip: Chip
    strategy: str
    layers: tuple[PlacedLayer, ...]
    allocation: str = "in_order"

    def __repr__(self) -> str:
        return (
            f"Mapping({self.graph.name} on {self.chip.label}: {self.strategy}, {self.allocation}; "
            f"{len(self.layers)} matrices on {self.arrays_used} of {self.chip.n_arrays} arrays)"
        )

    def _repr_html_(self) -> str:
        rows = self.rows()
        return html_table(repr(self), [list(row.values()) for row in rows], list(rows[0]))

    def rows(self) -> list[dict[str, str | int]]:
        """Return a plain row for each programmed matrix, in execution order."""
        rows: list[dict[str, str | int]] = []
        for layer in self.layers:
            layout, counts = layer.layout, [self.counts[name] for name in layer.ops]
            rows.append({
                "layer": layer.name, "rows": layout.groups * layout.group_rows,
                "cols": layout.groups * layout.group_cols, "arrays": layout.n_arrays,
                "replicas": len(layer.slots), "windows": sum(c.windows for c in counts),
                "activations": sum(c.activations for c in counts),
                "conversions": sum(c.conversions for c in counts),
                "macs": sum(c.macs for c in counts),
            })  # fmt: skip
        return rows

    @property
    def plot(self) -> drawing.MappingPictures:
        """Pictures: ``mapping.plot.floorplan()``, ``mapping.plot.timeline()``."""
        return cast(
            "drawing.MappingPictures", drawing.above("cimsim.report.show:MappingPictures")(self)
        )

    def __post_init__(self) -> None:
        self._check_ops()
        for layer in self.layers:
            self._check_lists(layer)
        stock = (
            self.chip.n_tiles,
            self.chip.tile.arrays,
            self.chip.array.rows,
            self.chip.weight_cols,
        )
        for arrays in self._held.values():
            for places in arrays.values():
                for place in places:
                    if not place.fits(*stock):
                        self._refuse(place)
        for load in range(self.loads):
            for places in self.held(load).values():
                _check_together(places)
        self._check_loads()

    def _check_ops(self) -> None:
        placed = [name for layer in self.layers for name in layer.ops]
        wanted = {op.name: op for op in self.graph.matrix_ops}
        missing = [op.name for op in self.graph.matrix_ops if op.name not in placed]
        if missing:
            raise MappingError(f"mapping: layers without a place: {', '.join(missing)}")
        for name in placed:
            if name not in wanted:
                raise MappingError(f"mapping: network '{self.graph.name}' has no layer '{name}'")
            if placed.count(name) > 1:
                raise MappingError(f"mapping: layer '{name}' is placed twice; keep one of them")
        for layer in self.layers:
            for name in layer.ops:
                if not layer.layout.serves(wanted[name]):
                    raise MappingError(
                        f"layer '{layer.name}': '{name}' slides otherwise than the rectangle of "
                        f"windows {layer.layout.window_shape} expects; leave window_shape out"
                    )

    def _check_lists(self, layer: PlacedLayer) -> None:
        n = layer.layout.n_arrays
        if not layer.slots:
            raise MappingError(f"layer '{layer.name}': no replica; give at least one its arrays")
        for replica, slots in enumerate(layer.slots):
            given = {"arrays": len(slots)}
            if layer.origins:
                given["origins"] = (
                    len(layer.origins[replica]) if replica < len(layer.origins) else 0
                )
            for what, number in given.items():
                if number != n:
                    raise MappingError(
                        f"layer '{layer.name}', replica {replica}: expected {n} {what}, one for "
                        f"each array of its layout, got {number}"
                    )
        orders = (("row_order", layer.row_order, layer.layout.rows_used),
                  ("col_order", layer.col_order, layer.layout.cols_used))  # fmt: skip
        for what, order, used in orders:
            wrong = order and [sorted(o) for o in order] != [list(range(k)) for k in used]
            if wrong:
                raise MappingError(
                    f"layer '{layer.name}': {what}: expected, for each array, every number "
                    f"0 .. n-1 of its n used lines once (n = {', '.join(map(str, used))})"
                )

    def _refuse(self, place: Placement) -> NoReturn:
        tile, array = self.chip.tile, self.chip.array
        if not (0 <= place.tile < self.chip.n_tiles and 0 <= place.array < tile.arrays):
            raise MappingError(
                f"layer '{place.layer}', replica {place.replica}: tile {place.tile}, array "
                f"{place.array} is outside the {_stock(self.chip)}"
            )
        raise MappingError(
            f"{place.where}: leaves the array of {array.rows} word lines x "
            f"{self.chip.weight_cols} weight columns"
        )

    def with_numbers(self, chip: Chip) -> Mapping:
        """Return the same mapping on a chip of the same structure and other numbers, unchecked."""
        same = copy.copy(self)
        object.__setattr__(same, "chip", chip)
        return same

    def on(self, chip: Chip) -> Mapping:
        """Return the same places on a chip in which they are legal, too, with nothing worked out.

        The caller knows that the chips agree in all that `map_graph` reads.
        """
        same = object.__new__(Mapping)
        for name in ("graph", "strategy", "layers", "allocation"):
            object.__setattr__(same, name, getattr(self, name))
        object.__setattr__(same, "chip", chip)
        return same

    @property
    def loads(self) -> int:
        """How often the chip is filled for one frame; 1: once and for all."""
        return 1 + max((layer.load for layer in self.layers), default=0)

    def load_of(self, op: str) -> int:
        """Which filling of the chip executes an operation."""
        return self.layer_of[op].load

    def _check_loads(self) -> None:
        """Refuse operations that would need an earlier load again, and chips that must not."""
        if self.loads > 1 and self.chip.programming.reload == "refuse":
            raise MappingError(
                f"mapping: {self.loads} loads would write chip '{self.chip.name}' so often for "
                "each frame. If you want that: --allow-reprogram"
            )
        loads = [(self.load_of(op.name), op.name) for op in self.graph.matrix_ops]
        for (before, _), (after, name) in pairwise(loads):
            if after < before:
                raise MappingError(
                    f"layer '{name}' is in load {after}, but comes after layers of load {before}"
                )

    @cached_property
    def by_slot(self) -> dict[Slot, tuple[Placement, ...]]:
        """Array -> the blocks that it holds (of several loads: in the first one)."""
        return self.held(0)

    def held(self, load: int) -> dict[Slot, tuple[Placement, ...]]:
        """Return for each array the blocks that it holds in one load."""
        return self._held.get(load, {})

    @cached_property
    def _held(self) -> dict[int, dict[Slot, tuple[Placement, ...]]]:
        held: dict[int, dict[Slot, list[Placement]]] = defaultdict(lambda: defaultdict(list))
        for layer in self.layers:
            for place in layer.placements:
                held[layer.load][Slot(place.tile, place.array)].append(place)
        return {
            load: {where: tuple(places) for where, places in arrays.items()}
            for load, arrays in held.items()
        }

    @cached_property
    def turns(self) -> dict[tuple[str, int], tuple[str, int]]:
        """(layer, replica) -> the first one of those that share arrays with it, or itself.

        An array fires for one of them at a time, so they take turns. Sharing is transitive.
        """
        import networkx as nx  # slow to import, and not needed to count

        keys = [(layer.name, r) for layer in self.layers for r in range(len(layer.slots))]
        sharing: nx.Graph = nx.Graph()  # of layers and replicas with the arrays that they use
        for layer in self.layers:
            for replica, slots in enumerate(layer.slots):
                sharing.add_edges_from(((layer.name, replica), (layer.load, s)) for s in slots)
        owner: dict[tuple[str, int] | tuple[int, Slot], tuple[str, int]] = {}
        for key in keys:
            if key not in owner:
                owner |= dict.fromkeys(nx.node_connected_component(sharing, key), key)
        return {key: owner[key] for key in keys}

    @cached_property
    def layer_of(self) -> dict[str, PlacedLayer]:
        """Operation name -> the programmed matrix it uses."""
        return {name: layer for layer in self.layers for name in layer.ops}

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The network as a dataflow graph, its nodes in execution order."""
        return nodes(costed(self.graph, self.chip))

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """Operation name -> closed-form counts for one frame, in execution order."""
        return {
            op.name: count(op, self.layer_of[op.name].layout, self.chip)
            for op in self.graph.matrix_ops
        }

    @property
    def total(self) -> Counts:
        """Counts of one frame; weights, cells and arrays count each programmed matrix once."""
        summed = sum(self.counts.values(), Counts())
        first = [self.counts[layer.ops[0]] for layer in self.layers]
        once = {
            "weights": sum(c.weights for c in first),
            "cells": sum(c.cells for c in first),
            "arrays": self.arrays_used,
        }
        return Counts(**(asdict(summed) | once))

    @cached_property
    def slots_used(self) -> frozenset[Slot]:
        """Arrays that hold any weight."""
        return frozenset(s for layer in self.layers for slots in layer.slots for s in slots)

    @property
    def arrays_used(self) -> int:
        """Number of arrays that hold any weight."""
        return len(self.slots_used)

    @property
    def arrays_written(self) -> int:
        """Arrays that are written to hold the network, those of every load counted."""
        return sum(len(self.held(load)) for load in range(self.loads))

    @property
    def tiles_used(self) -> int:
        """Number of tiles that hold any weight."""
        return len({slot.tile for slot in self.slots_used})

    @property
    def cells_used(self) -> int:
        """Weights stored, all replicas counted."""
        return sum(layer.layout.cells_used * len(layer.slots) for layer in self.layers)

    @property
    def cells_written(self) -> int:
        """Cells that programming writes, all replicas counted."""
        return sum(self.cells_of(layer) * len(layer.slots) for layer in self.layers)

    def cells_of(self, layer: PlacedLayer) -> int:
        """Return the cells of one replica: those of weights, and one reference per row and slice.

        Two cells per weight slice, or one and, in each array and slice, a reference cell on each
        driven row (`cimsim.crossbar.encode.WeightCode`).
        """
        weights, layout = self.chip.weights, layer.layout
        cells = weights.cells_per_slice * weights.slices * layout.cells_used
        references = weights.reference_cols * sum(layout.rows_used)
        return (cells + references) * layout.lines_per_row

    @property
    def utilisation(self) -> float:
        """Share of the cells of the used arrays that hold a weight."""
        held = sum(
            layer.layout.cells_used * layer.layout.lines_per_row * len(layer.slots)
            for layer in self.layers
        )
        return held / (self.arrays_written * self.chip.array.rows * self.chip.weight_cols)

    def to_dict(self) -> dict[str, object]:
        """Return the placements as plain data, for results and hashes."""
        return {
            "strategy": self.strategy,
            "layers": [
                {
                    "name": layer.name,
                    "ops": list(layer.ops),
                    "windows_per_activation": layer.layout.windows_per_activation,
                    **_shape(layer.layout),
                    "slots": [[[s.tile, s.array] for s in slots] for slots in layer.slots],
                    "blocks": [
                        [getattr(b, name) for name in Block.__slots__] for b in layer.layout.blocks
                    ],
                }
                | {
                    # came later: they say something only where lines are shared or moved
                    what: [list(map(_plain, part)) for part in getattr(layer, what)]
                    for what in ("origins", "row_order", "col_order")
                    if getattr(layer, what)
                }
                | ({"load": layer.load} if layer.load else {})
                for layer in self.layers
            ],
        }


def _check_together(places: tuple[Placement, ...]) -> None:
    """Refuse blocks of one array that overlap or add to each other's sums."""
    met = first_overlap(places, lambda p: (p.row0, p.col0, p.rows, p.cols))
    if met is not None:
        first, second = met
        raise MappingError(
            f"{second.where}: layers '{first.layer}' and '{second.layer}' overlap at row "
            f"{second.row0}, column {max(first.col0, second.col0)}; {first.where} is there"
        )
    disturbed = first_disturbed(places)
    if disturbed is not None:
        raise MappingError(
            f"{disturbed.second.where}: lies where rows and columns of layer "
            f"'{disturbed.first.layer}', replica {disturbed.first.replica}, cross, so its "
            "weights would add to that layer's sums; move it beside or below"
        )


def _shape(layout: Layout) -> dict[str, list[int]]:
    """Say the rectangle of windows; without one hashes stay those of before there were any."""
    return {} if layout.window_shape is None else {"window_shape": list(layout.window_shape)}


def _stock(chip: Chip) -> str:
    tiles = f"{chip.tile.count} tiles with {chip.tile.arrays} arrays"
    return f"chip of {tiles}" if chip.system.chips == 1 else f"{chip.system.chips} chips of {tiles}"


def _plain(value: int | tuple[int, ...]) -> int | list[int]:
    return list(value) if isinstance(value, tuple) else value


def layouts(graph: LayerGraph, chip: Chip, how: str | Strategy = "im2col") -> dict[str, Layout]:
    """Lay out every matrix of a network, whether the chip has room or not.

    Returns
    -------
    dict
        Operation name -> layout; operations that share their weights share the layout.
    """
    chosen = find_strategy(how)
    users: dict[str, list[MatrixOp]] = defaultdict(list)
    for op in graph.matrix_ops:
        users[matrix_name(op)].append(op)
    by_name: dict[str, Layout] = {}
    for ops in users.values():
        layout = checked_layout(chosen, ops[0], chip)
        if not all(layout.serves(op) for op in ops):
            # one matrix under several strides: windows share no pixels in the same way
            layout = Im2col().place(ops[0], chip)
        by_name |= {op.name: layout for op in ops}
    return {op.name: by_name[op.name] for op in graph.matrix_ops}


def matrix_name(op: MatrixOp) -> str:
    """Name of the programmed matrix that ``op`` uses."""
    return op.weights_id or op.name


def map_graph(
    graph: LayerGraph,
    chip: Chip,
    strategy: str | Strategy = "im2col",
    allocation: str | Allocation = "in_order",
) -> Mapping:
    """Place a network on a chip: cut every matrix, then give the pieces their arrays.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
    strategy : str or Strategy
        How a matrix is cut, by name or an object with a method ``place``.
    allocation : str or Allocation
        Which arrays the pieces take, by name (`cimsim.mapping.allocation.ALLOCATIONS`) or an
        object with a method ``allocate``.

    Raises
    ------
    MappingError
        If the chip has too few arrays; the message says how many it takes and the ways out.
    """
    if not graph.matrix_ops:
        raise MappingError(
            f"network '{graph.name}' has no convolution and no linear layer: there is no matrix "
            "to put on a chip"
        )
    how, where = find_strategy(strategy), allocation_of(allocation)
    requests = requests_of(graph, layouts(graph, chip, how))
    arrays = sum(request.layout.n_arrays for request in requests)
    if where.name == "in_order" and arrays > chip.n_arrays and chip.programming.reload == "allow":
        where = allocation_of("loads")
    try:
        layers = allocated(where, graph, requests, chip)
    except NoRoomError as error:
        larger = _larger_arrays(graph, requests, chip, how, error)
        raise MappingError(f"{error}{larger}{_prices(graph, requests, chip, where)}") from None
    return Mapping(graph, chip, how.name, layers, where.name)


def _larger_arrays(
    graph: LayerGraph,
    requests: tuple[Request, ...],
    chip: Chip,
    strategy: Strategy,
    error: NoRoomError,
) -> str:
    """Name the arrays of least area in which the network fits, up to 8 times as long and wide."""
    if sum(r.layout.n_arrays for r in requests) > _MOST_PIECES:
        return "; larger arrays (--set array.rows=... --set array.cols=...)"
    wanted, before = [_cells_wanted((r,)) for r in requests], sum(area(chip).values())
    sizes = product((chip.array.rows * n for n in _TIMES), (chip.array.cols * n for n in _TIMES))
    larger = [with_arrays(chip, rows, cols) for rows, cols in sizes if max(rows, cols) <= _LONGEST]
    larger.sort(key=lambda one: (sum(area(one).values()), one.array.rows * one.array.cols))
    for one in larger:
        least = [-(-cells // (one.array.rows * one.weight_cols)) for cells in wanted]
        if error.needs(least, one) > one.n_arrays:
            continue
        try:
            there = requests_of(graph, layouts(graph, one, strategy))
        except MappingError:
            continue
        arrays = error.needs([r.layout.n_arrays for r in there], one)
        if arrays <= one.n_arrays:
            more = f": {sum(area(one).values()) / before - 1:.0%} more area" if before else ""
            return (
                f"; larger arrays (--set array.rows={one.array.rows} --set "
                f"array.cols={one.array.cols}, of which it needs {arrays}"
                f"{more.replace('%', ' %')})"
            )
    return ""


def _cells_wanted(requests: tuple[Request, ...]) -> int:
    return sum(r.layout.cells_used * r.layout.lines_per_row for r in requests)


def _prices(
    graph: LayerGraph, requests: tuple[Request, ...], chip: Chip, tried: Allocation
) -> str:  # fmt: skip
    """Say what sharing arrays would cost in time, where the network then fits."""
    wanted = _cells_wanted(requests)
    pieces = sum(r.layout.n_arrays for r in requests)
    if wanted > chip.n_arrays * chip.array.rows * chip.weight_cols or pieces > _MOST_PIECES:
        return ""
    alone = max(
        work_s(r, tuple(Slot(0, i) for i in range(r.layout.n_arrays)), chip) for r in requests
    )
    prices = []
    for name in ("packed_idle", "packed"):
        if name == tried.name:
            continue
        try:
            layers = allocation_of(name).allocate(graph, requests, chip)
        except MappingError:
            continue
        used = len({slot for layer in layers for slots in layer.slots for slot in slots})
        longer = busiest_s(requests, layers, chip) / alone
        prices.append(
            f"--allocation {name} ({used} arrays, {longer:.3g} times the time of the busiest layer)"
        )
    return f"; layers that share arrays: {' or '.join(prices)}" if prices else ""
