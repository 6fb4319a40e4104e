"""The mapping: where each layer sits on the chip. Quality, cycles and energy all start from it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.hw.spec import Chip
from cimsim.mapping.dataflow import Unit, units
from cimsim.mapping.layout import Block, Counts, Layout, count, first_overlap
from cimsim.mapping.strategies import Im2col, Strategy, strategy


@dataclass(frozen=True, slots=True)
class Slot:
    """One array of the chip."""

    tile: int
    array: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A block of a layer at its final place; what reports and pictures show."""

    layer: str
    replica: int
    tile: int
    array: int
    row0: int
    col0: int
    rows: int
    cols: int
    group: int
    src_row0: int
    src_col0: int
    window: int


@dataclass(frozen=True)
class PlacedLayer:
    """One programmed matrix: its layout, the operations that use it and the arrays of each replica.

    Attributes
    ----------
    name : str
        ``weights_id`` of the operations; the name of the first one where they have none.
    ops : tuple of str
        `MatrixOp` names in execution order; several when the network uses the same weights again.
    slots : tuple of tuple of Slot
        ``slots[replica][local array]``.
    """

    name: str
    ops: tuple[str, ...]
    layout: Layout
    slots: tuple[tuple[Slot, ...], ...]

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Every block of every replica."""
        return tuple(
            Placement(
                self.name, replica, slots[b.array].tile, slots[b.array].array, b.row0, b.col0,
                b.rows, b.cols, b.group, b.src_row0, b.src_col0, b.window,
            )
            for replica, slots in enumerate(self.slots)
            for b in self.layout.blocks
        )  # fmt: skip


@dataclass(frozen=True)
class Mapping:
    """A network on a chip: frozen and legal from construction on.

    Raises
    ------
    MappingError
        A layer without a place, an array outside the chip, or two layers on the same cells.
    """

    graph: LayerGraph
    chip: Chip
    strategy: str
    layers: tuple[PlacedLayer, ...]

    def __post_init__(self) -> None:
        placed = {name for layer in self.layers for name in layer.ops}
        missing = [op.name for op in self.graph.matrix_ops if op.name not in placed]
        if missing:
            raise MappingError(f"mapping: layers without a place: {', '.join(missing)}")
        by_slot: dict[Slot, list[Placement]] = defaultdict(list)
        for layer in self.layers:
            for place in layer.placements:
                self._check_inside(place)
                by_slot[Slot(place.tile, place.array)].append(place)
        for slot, places in by_slot.items():
            self._check_overlap(slot, places)

    def _check_inside(self, place: Placement) -> None:
        chip, arrays = self.chip, self.chip.tile.arrays
        if not (0 <= place.tile < chip.n_tiles and 0 <= place.array < arrays):
            chips = "the chip" if chip.system.chips == 1 else f"{chip.system.chips} chips"
            raise MappingError(
                f"layer '{place.layer}', replica {place.replica}: tile {place.tile}, array "
                f"{place.array} is outside {chips} of {chip.tile.count} tiles with {arrays} arrays"
            )

    @staticmethod
    def _check_overlap(slot: Slot, places: list[Placement]) -> None:
        met = first_overlap(places, lambda p: (p.row0, p.col0, p.rows, p.cols))
        if met is not None:
            first, second = met
            raise MappingError(
                f"tile {slot.tile}, array {slot.array}: layers '{first.layer}' and "
                f"'{second.layer}' overlap at row {second.row0}, column "
                f"{max(first.col0, second.col0)}"
            )

    @cached_property
    def layer_of(self) -> dict[str, PlacedLayer]:
        """Operation name -> the programmed matrix it uses."""
        return {name: layer for layer in self.layers for name in layer.ops}

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The network as units of work, in execution order."""
        return units(self.graph)

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
        driven row (`cimsim.arrays.encode.WeightCode`).
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
        return held / (self.arrays_used * self.chip.array.rows * self.chip.weight_cols)

    def to_dict(self) -> dict[str, Any]:
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
                for layer in self.layers
            ],
        }


def _shape(layout: Layout) -> dict[str, list[int]]:
    """Say the rectangle of windows; without one hashes stay those of before there were any."""
    return {} if layout.window_shape is None else {"window_shape": list(layout.window_shape)}


def layouts(graph: LayerGraph, chip: Chip, how: str | Strategy = "im2col") -> dict[str, Layout]:
    """Lay out every matrix of a network, whether the chip has room or not.

    Returns
    -------
    dict
        Operation name -> layout; operations that share their weights share the layout.
    """
    chosen = strategy(how)
    users: dict[str, list[MatrixOp]] = defaultdict(list)
    for op in graph.matrix_ops:
        users[matrix_name(op)].append(op)
    found: dict[str, Layout] = {}
    for ops in users.values():
        layout = chosen.place(ops[0], chip)
        if not all(layout.serves(op) for op in ops):
            # one matrix under several strides: windows share no pixels in the same way
            layout = Im2col().place(ops[0], chip)
        found |= {op.name: layout for op in ops}
    return {op.name: found[op.name] for op in graph.matrix_ops}


def matrix_name(op: MatrixOp) -> str:
    """Name of the programmed matrix that ``op`` uses."""
    return op.weights_id or op.name


def map_graph(graph: LayerGraph, chip: Chip, strategy: str | Strategy = "im2col") -> Mapping:
    """Place a network on a chip, layer by layer, each array holding one layer.

    Raises
    ------
    MappingError
        If the chip has too few arrays; the message says how many it takes and three ways out.
    """
    if not graph.matrix_ops:
        raise MappingError(
            f"network '{graph.name}' has no convolution and no linear layer: there is no matrix "
            "to put on a chip"
        )
    found = layouts(graph, chip, strategy)
    users: dict[str, list[MatrixOp]] = defaultdict(list)
    for op in graph.matrix_ops:
        users[matrix_name(op)].append(op)
    needed = sum(found[ops[0].name].n_arrays for ops in users.values())
    if needed > chip.n_arrays:
        raise MappingError(_no_room(graph, chip, users, found, needed))
    layers, following = [], 0
    for name, ops in users.items():
        layout = found[ops[0].name]
        slots = tuple(
            Slot(*divmod(following + index, chip.tile.arrays)) for index in range(layout.n_arrays)
        )
        following += layout.n_arrays
        layers.append(PlacedLayer(name, tuple(op.name for op in ops), layout, (slots,)))
    how = strategy if isinstance(strategy, str) else strategy.name
    return Mapping(graph, chip, how, tuple(layers))


def _no_room(
    graph: LayerGraph,
    chip: Chip,
    users: dict[str, list[MatrixOp]],
    found: dict[str, Layout],
    needed: int,
) -> str:
    sizes = sorted(
        ((found[ops[0].name].n_arrays, ops[0].name) for ops in users.values()), reverse=True
    )
    largest = ", ".join(f"{name} {n}" for n, name in sizes[:3])
    tiles = -(-needed // chip.tile.arrays)
    return (
        f"network '{graph.name}' needs {needed} arrays of {chip.array.rows} x {chip.weight_cols} "
        f"weights, chip '{chip.name}' has {chip.n_arrays} ({chip.tile.count} tiles with "
        f"{chip.tile.arrays}); "
        f"largest layers: {largest}. Three ways out: a larger chip (--set tile.count={tiles}); "
        "larger arrays (--set array.rows=..., array.cols=...); a smaller network "
        "(another --stride, fewer --stages, another --model)"
    )
