"""Rows and columns of each layer where the faults of its arrays do least harm.

A tested chip knows its faults before weights are written. A cell that is stuck does no harm where
the weight wants just that conductance, and a broken line none where no weight lies; so arrays with
few faults are taken first, a layer that does not fill its array is moved inside of it, and its rows
and columns are put on other lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.crossbar.encode import WeightCode, encode_weights
from cimsim.crossbar.faults import OPEN, STUCK_OFF, STUCK_ON, FaultCodes, FaultMap, fault_map
from cimsim.errors import MappingError
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.allocation.base import Allocation, Request
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.placement import Origin, PlacedLayer, Slot

Floats = NDArray[np.float32]
_MORE = 8  # arrays beyond those needed that are looked at
_PLACES = 6  # corners tried along each side of an array that is not full
_ROUNDS = 2  # rows, then columns, so often


@dataclass(frozen=True)
class AroundFaults:
    """Another allocation's order of arrays, with each layer laid around known faults.

    The harm of a fault is the squared distance of what the cell holds from what the weight wants,
    in full scale and by the weight of the cell's slice; rows count alike, whatever their inputs
    are. Rows are given to lines so that the sum is least (an assignment problem, solved exactly by
    the method of Jonker and Volgenant), then columns, then rows again: together a local optimum.
    Copies of a layer hold the same order, chosen for the first of them.

    Attributes
    ----------
    arrays : Allocation
        Gives how many arrays each layer takes; whole ones in order by default.
    """

    arrays: Allocation = field(default_factory=InOrder)
    name: str = "around_faults"

    def allocate(
        self, graph: LayerGraph, requests: tuple[Request, ...], chip: Chip
    ) -> tuple[PlacedLayer, ...]:
        """Allocate, choose clean arrays, and move the lines of each.

        Raises
        ------
        MappingError
            If the chip has no room, or its faults are drawn anew for each programming.
        """
        if chip.faults.drawn and chip.faults.seed is None:
            raise MappingError(
                "--allocation around_faults: the faults of this chip are drawn anew with each "
                "programming, so none is known; make it one tested chip with --set faults.seed=1, "
                "or name its faults with faults.map"
            )
        placed = self.arrays.allocate(graph, requests, chip)
        known = fault_map(chip)
        if not len(known):
            return placed
        if chip.system.chips == 1:
            placed = _on_clean_arrays(placed, chip, known)
        return tuple(
            _around(layer, request.ops[0], chip, known)
            for layer, request in zip(placed, requests, strict=True)
        )


def _on_clean_arrays(
    layers: Sequence[PlacedLayer], chip: Chip, known: FaultMap
) -> tuple[PlacedLayer, ...]:
    """Leave out the arrays with most faults, as far as there are others; the order stays."""
    size = chip.tile.arrays
    taken = sorted({slot.tile * size + slot.array for x in layers for s in x.slots for slot in s})
    if taken != list(range(len(taken))):
        return tuple(layers)  # placed with gaps on purpose
    looked = range(min(chip.n_arrays, len(taken) + _MORE))
    faults = {i: _count(known, Slot(*divmod(i, size))) for i in looked}
    best = sorted(sorted(looked, key=lambda i: (faults[i], i))[: len(taken)])
    moved = {
        Slot(*divmod(i, size)): Slot(*divmod(j, size)) for i, j in zip(taken, best, strict=True)
    }
    return tuple(
        replace(layer, slots=tuple(tuple(moved[slot] for slot in slots) for slots in layer.slots))
        for layer in layers
    )


def _count(known: FaultMap, slot: Slot) -> int:
    codes = known.get((slot.tile, slot.array))
    return 0 if codes is None else int(np.count_nonzero(codes))


def _around(layer: PlacedLayer, op: MatrixOp, chip: Chip, known: FaultMap) -> PlacedLayer:
    rows, cols, origins = [], [], []
    spec = chip.weights
    code = WeightCode(spec.encoding, spec.bits, spec.slice_bits)
    q, _ = encode_weights(op.weight, spec.q_max, spec.scale, op.weight_ends)
    for index in range(layer.layout.n_arrays):
        wanted = _wanted(layer, index, q, code)
        slot = layer.slots[0][index]
        codes = known.get((slot.tile, slot.array))
        n_rows, n_cols = wanted.shape[2] // layer.layout.lines_per_row, wanted.shape[3]
        if codes is None or not codes.any():
            order: tuple[list[int], list[int], Origin] = (
                list(range(n_rows)), list(range(n_cols)), layer.origin(0, index)
            )  # fmt: skip
        else:
            order = _best(layer, index, wanted, codes, chip, code)
        rows.append(tuple(order[0]))
        cols.append(tuple(order[1]))
        origins.append(order[2])
    where = (tuple(origins), *layer.origins[1:]) if layer.origins else ()
    if not where and any(origin != (0, 0) for origin in origins):
        where = (tuple(origins),) + (((0, 0),) * len(origins),) * (len(layer.slots) - 1)
    return replace(layer, row_order=tuple(rows), col_order=tuple(cols), origins=where)


def _wanted(layer: PlacedLayer, index: int, q: NDArray[np.int32], code: WeightCode) -> Floats:
    """Return what the cells of a local array are to hold, of full scale.

    Returns
    -------
    float32 [slices, lines, used word lines, used columns]
    """
    layout = layer.layout
    matrix = np.zeros((layout.array_rows, layout.array_cols), np.int32)
    for b in layout.by_array[index]:
        part = q[b.group, b.src_row0 : b.src_row0 + b.rows, b.src_col0 : b.src_col0 + b.cols]
        matrix[b.row0 : b.row0 + b.rows, b.col0 : b.col0 + b.cols] = part
    lines = layout.lines[index]
    used = matrix[np.ix_(lines.rows, lines.cols)]
    if layout.lines_per_row == 2:  # an input's positive and negative part, on opposite weights
        used = np.stack([used, -used], axis=1).reshape(-1, used.shape[1])
    wanted: Floats = code.levels(used).astype(np.float32) / np.float32(code.top)
    return wanted


def _best(
    layer: PlacedLayer, index: int, wanted: Floats, codes: FaultCodes, chip: Chip, code: WeightCode
) -> tuple[list[int], list[int], Origin]:
    """Return order of rows, order of columns and corner with the least harm."""
    lines, layout = layer.layout.lines[index], layer.layout
    double = layout.lines_per_row
    at_rows = (lines.rows[:, None] * double + np.arange(double)).reshape(-1)
    tried = {
        corner: _held(codes, at_rows + corner[0], lines.cols + corner[1], chip, wanted.shape)
        for corner in _corners(layer, index, at_rows, lines.cols, chip)
    }
    # the corner first, by the harm without moving lines: assignments are what takes time
    corner = min(tried, key=lambda one: _harm(wanted, tried[one], code))
    held = tried[corner]
    rows, cols = np.arange(wanted.shape[2] // double), np.arange(wanted.shape[3])
    for _ in range(_ROUNDS):
        rows = _assigned(_harm_of_rows(wanted[..., cols], held, code, double))
        turned = _by_rows(wanted, rows, double).swapaxes(2, 3)
        cols = _assigned(_harm_of_rows(turned, held.swapaxes(2, 3), code))
    return [int(i) for i in rows], [int(i) for i in cols], corner


def _corners(
    layer: PlacedLayer, index: int, rows: NDArray[np.int64], cols: NDArray[np.int64], chip: Chip
) -> list[Origin]:
    """Return corners that are tried: the given one, and some more where the array is alone its."""
    given = layer.origin(0, index)
    slots = [slot for slots in layer.slots for slot in slots]
    if layer.origins or slots.count(layer.slots[0][index]) > 1:
        return [given]
    free = (chip.array.rows - int(rows.max()) - 1, chip.weight_cols - int(cols.max()) - 1)
    tried = {(0, 0), (free[0], 0), (0, free[1]), free}
    tried |= {(free[0] * k // _PLACES, free[1] * k // _PLACES) for k in range(1, _PLACES)}
    double = layer.layout.lines_per_row
    return [given, *sorted({(r - r % double, c) for r, c in tried} - {given})]


def _held(
    codes: FaultCodes, rows: NDArray[np.int64], cols: NDArray[np.int64], chip: Chip,
    shape: tuple[int, ...],
) -> FaultCodes:  # fmt: skip
    """Return the faults on the used lines, uint8 [slices, lines, rows, cols]."""
    slices = range(shape[0])
    return np.stack([codes[: shape[1], rows[:, None], s * chip.weight_cols + cols] for s in slices])


def _stuck(held: FaultCodes) -> tuple[Floats, Floats]:
    """Return where cells hold full scale and where they hold nothing."""
    off = (held == STUCK_OFF) | (held == OPEN)
    return (held == STUCK_ON).astype(np.float32), off.astype(np.float32)


def _scale(code: WeightCode) -> Floats:
    """Return what an error of each slice counts, squared."""
    factors = np.array(code.factors, np.float32)
    scale: Floats = (factors / np.abs(factors).max()) ** 2
    return scale


def _harm_of_rows(wanted: Floats, held: FaultCodes, code: WeightCode, double: int = 1) -> Floats:
    """Return the harm of row i on line p, ``double`` word lines to a row, [rows, rows]."""
    from scipy.sparse import csr_matrix

    on, off = _stuck(held)
    n = wanted.shape[2]
    whole = np.zeros((n // double, n // double), np.float32)
    for s, factor in enumerate(_scale(code)):
        for line in range(wanted.shape[1]):
            for k in range(double):
                w = wanted[s, line, k::double]
                # faults are few, so their side of the product is sparse
                whole += factor * (csr_matrix(on[s, line, k::double]) @ ((1 - w) ** 2).T).T
                whole += factor * (csr_matrix(off[s, line, k::double]) @ (w**2).T).T
    return whole


def _harm(wanted: Floats, held: FaultCodes, code: WeightCode) -> float:
    on, off = _stuck(held)
    each = on * (1 - wanted) ** 2 + off * wanted**2
    return float((each.sum(axis=(1, 2, 3)) * _scale(code)).sum())


def _by_rows(wanted: Floats, order: NDArray[np.int64], double: int) -> Floats:
    """Return the cells with rows in another order, word lines of a row together."""
    return wanted[:, :, (order[:, None] * double + np.arange(double)).reshape(-1)]


def _assigned(harm: Floats) -> NDArray[np.int64]:
    """Return for each line the row that takes it, so that the sum of the harm is least."""
    from scipy.optimize import linear_sum_assignment

    rows, lines = linear_sum_assignment(harm)
    order = np.empty(len(rows), np.int64)
    order[lines] = rows
    return order
