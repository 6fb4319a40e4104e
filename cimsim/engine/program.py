"""Write the weights of a mapping into cells."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.cells.ohmic import check_bent
from cimsim.chip.converters.curves import inl_curves
from cimsim.chip.parts.base import REFERENCE_K
from cimsim.chip.spec import Chip
from cimsim.crossbar.encode import WeightCode, encode_weights
from cimsim.crossbar.faults import (
    FaultCodes,
    FaultMap,
    draw_dead_lines,
    draw_faults,
    fault_map,
)
from cimsim.crossbar.nonlinear import bent, bent_levels
from cimsim.crossbar.programmed import (
    CellHistory,
    Effects,
    ProgrammedArray,
    SlowNoise,
    program_array,
)
from cimsim.engine.noise import noise_shares
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.kernels import floats
from cimsim.kernels.arrays import Numbers
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.lines import Lines
from cimsim.mapping.mapping import Mapping, PlacedLayer, Slot
from cimsim.rng import stream


@dataclass(frozen=True, eq=False)
class PlacedArray:
    """A written array and what its lines mean to the layer.

    Attributes
    ----------
    written : ProgrammedArray
    row_source : int64 [n_rows]
        Which input of an activation drives a row, numbered as by `cimsim.mapping.lines.Patch`:
        ``group * group_rows + row`` for one window; where signed inputs drive two rows, twice that
        for the positive part and one more for the negative one.
    col_target : int64 [n_cols]
        Which output a weight column adds to: ``window * n_cols + group * group_cols + col``.
    adc_gain, adc_offset : float64 [slices * n_cols]
        Static mismatch of each column's converter: factor, and offset in steps.
    adc_curves : float32 [converters, points]
        Static non-linearity of the converters by `AbstractConverter.curves`; [0, 0] without.
    dac_curves : float32 [n_rows, levels]
        What each row's driver applies for each number; [0, 0] if it is that number.
    """

    written: ProgrammedArray
    row_source: NDArray[np.int64]
    col_target: NDArray[np.int64]
    adc_gain: NDArray[np.float64]
    adc_offset: NDArray[np.float64]
    adc_curves: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    dac_curves: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def input_curves(self, top: int) -> NDArray[np.float32]:
        """Return what stands for each number of a pulse, float32 [n_rows or 1, levels].

        That is what drivers apply and, behind ideal wires, what the cells make of it; [0, 0] if it
        is the number itself.

        Parameters
        ----------
        top : int
            Number that stands for the read voltage.
        """
        if self.written.steepness == 0 or self.written.wired is not None:
            return self.dac_curves
        return bent_levels(self.dac_curves, top, self.written.steepness)

    def expected_sums(self, pulse: Numbers, top: int) -> NDArray[np.float32]:
        """Return the noise-free partial sums that the converters are made for.

        Drivers count as linear as long as the cells are.

        Parameters
        ----------
        pulse : [B, n_rows]
            Whole numbers 0 .. top.
        top : int
            Number that stands for the read voltage.

        Returns
        -------
        float32 [B, slices * n_cols]
            Weight LSB times pulse LSB.
        """
        x = pulse.astype(np.float32)
        curves = self.input_curves(top)
        if self.written.steepness > 0 and curves.size:
            floats.bend_inputs(x, curves)
        if self.written.wired is not None:
            return self.written.wired.partial_sums(x, top).astype(np.float32)
        return x @ self.written.difference


@dataclass(frozen=True, eq=False)
class ProgrammedLayer:
    """One matrix on its arrays.

    Attributes
    ----------
    name : str
        That of the `PlacedLayer`.
    weight : int32 [groups, rows, cols]
        Nominal integer weights.
    scales : float64 [groups * cols]
        Weight per integer step.
    arrays : tuple of PlacedArray
        By local array number.
    windows : int
        Windows that one activation answers, each by cells and converters of its own.
    """

    name: str
    weight: NDArray[np.int32]
    scales: NDArray[np.float64]
    arrays: tuple[PlacedArray, ...]
    windows: int = 1

    @property
    def n_outputs(self) -> int:
        """Output values of one activation."""
        return self.windows * len(self.scales)

    @cached_property
    def column_sums(self) -> NDArray[np.int64]:
        """Sum of the nominal integer weights of each output column, int64 [groups * cols]."""
        sums: NDArray[np.int64] = self.weight.sum(axis=1, dtype=np.int64)
        return sums.reshape(-1)

    @property
    def is_exact(self) -> bool:
        """True if every array holds the very integers and never fluctuates."""
        return all(array.written.is_exact for array in self.arrays)


@dataclass(frozen=True, eq=False)
class ProgrammedMapping:
    """A mapping whose cells are written.

    Attributes
    ----------
    mapping : Mapping
    device : AbstractDevice
    layers : dict of str to ProgrammedLayer
        By the name of the `PlacedLayer`.
    """

    mapping: Mapping
    device: AbstractDevice
    layers: dict[str, ProgrammedLayer]

    @property
    def pulses_per_cell(self) -> float | None:
        """Mean number of programming pulses; None where write-verify was not run as a loop."""
        pulses = [a.written.pulses for layer in self.layers.values() for a in layer.arrays]
        counted = [n for n in pulses if n is not None]
        cells = sum(self.mapping.cells_of(placed) for placed in self.mapping.layers)
        return sum(counted) / cells if counted else None

    def layer_of(self, op_name: str) -> ProgrammedLayer:
        """Return the matrix that an operation uses."""
        return self.layers[self.mapping.layer_of[op_name].name]


def program(
    mapping: Mapping,
    device: AbstractDevice,
    seed: int,
    integers: MappingABC[str, NDArray[np.int32]] | None = None,
    *,
    aged: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> ProgrammedMapping:
    """Write every matrix of a mapping once.

    Each slice of each array has its own random stream, so a layer's cells do not depend on which
    other layers there are. Replicas hold the same weights; the functional run uses the first one
    for all windows.

    Parameters
    ----------
    mapping : Mapping
    device : AbstractDevice
        `cimsim.chip.cells.build` of the chip's device entry.
    seed : int
        >= 0.
    integers : mapping of str to int32 [groups, rows, cols], optional
        Integer weights by layer, see `cimsim.engine.rounding`; others are rounded to nearest.
    aged : bool
        Whether cells are those at the time and temperature of the chip's ``conditions``, or the
        same cells right after programming.
    progress : callable, optional
        Called as ``progress("programming", arrays done, all arrays)``; exact wires take a while.

    Raises
    ------
    ConfigError
        Conditions that the device has no model for, a map of faults that cannot be used, or
        non-linear cells where they are not modelled, see `cimsim.chip.cells.ohmic.check_bent`.
    SimulationError
        Weights that are not finite.
    """
    check_bent(mapping.chip, device)
    layers: dict[str, ProgrammedLayer] = {}
    total = sum(placed.layout.n_arrays for placed in mapping.layers)
    context = _Context(mapping, device, seed, fault_map(mapping.chip), aged)
    for placed in mapping.layers:
        op = mapping.graph[placed.ops[0]]
        if not isinstance(op, MatrixOp):
            raise SimulationError(f"layer '{placed.name}': '{op.name}' has no matrix")
        chosen = (integers or {}).get(placed.name)
        layers[placed.name] = _program_layer(placed, op, context, chosen)
        if progress is not None:
            progress("programming", sum(len(layer.arrays) for layer in layers.values()), total)
    return ProgrammedMapping(mapping, device, layers)


@dataclass(frozen=True, eq=False)
class _Context:
    """What is the same for all layers."""

    mapping: Mapping
    device: AbstractDevice
    seed: int
    faults: FaultMap
    aged: bool

    @property
    def chip(self) -> Chip:
        """The mapping's."""
        return self.mapping.chip

    @property
    def ageing(self) -> bool:
        """Whether cells are read later or warmer than they were written."""
        return self.aged and not self.chip.conditions.fresh

    def slow_noise(self, placed: PlacedLayer, index: int) -> SlowNoise | None:
        """Return the part of an array's read noise that stays through a frame, if there is one.

        Readings right after programming and those under other conditions are far apart: what one
        of them holds says nothing of the other.
        """
        time_s = self.chip.conditions.time_s if self.ageing else 0.0
        shares = noise_shares(self.mapping, self.device, placed, time_s)
        moving = shares.shared + shares.fresh
        if shares.held == 0 and moving == 1:
            return None
        when = "aged" if self.ageing else "fresh"
        rngs = [
            stream(self.seed, "slow noise", when, placed.name, index, s)
            for s in range(self.chip.weights.slices)
        ]
        return SlowNoise(shares.held, moving, rngs)

    def temperature(self, slot: Slot) -> float:
        """Temperature of an aged array's cells, K."""
        conditions = self.chip.conditions
        if conditions.gradient_k == 0:
            return conditions.temperature_k
        return conditions.at(self.chip.place_of(slot.tile))

    @property
    def steepness(self) -> float:
        """That of cells whose voltage is not always the read voltage; of others 0."""
        dac = self.chip.dac
        varies = dac.encoding == "amplitude" and dac.bits > 1
        return self.device.steepness if varies or not self.chip.wires.are_ideal else 0.0

    def histories(
        self, name: str, index: int, slot: Slot, lines: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> list[CellHistory] | None:
        """Return what happens to the cells on some rows and weight columns, for each slice."""
        chip, conditions = self.chip, self.chip.conditions
        ageing = self.ageing
        if not ageing and chip.faults.none:
            return None
        found, cells = [], chip.weights.cells_per_slice
        for s in range(chip.weights.slices):
            codes: FaultCodes | None = None
            if not chip.faults.none:
                shape = (cells, len(lines[0]), len(lines[1]))
                codes = np.zeros(shape, np.uint8)
                if chip.faults.seed is None:
                    rng = stream(self.seed, "faults", name, index, s)
                    dead = stream(self.seed, "dead lines", name, index, s)
                    codes = draw_faults(shape, chip.faults, rng)
                    codes = np.maximum(codes, draw_dead_lines(shape, chip.faults, dead))
                known = self.faults.get((slot.tile, slot.array))
                if known is not None:
                    # slice-major: weight column c of slice s is physical column s * weight_cols + c
                    at = known[:cells, lines[0][:, None], s * chip.weight_cols + lines[1]]
                    codes = np.where(at > 0, at, codes)
            found.append(
                CellHistory(
                    conditions.time_s if ageing else 0.0,
                    self.temperature(slot) if ageing else REFERENCE_K,
                    stream(self.seed, "age", name, index, s),
                    codes,
                )
            )
        return found


def _program_layer(
    placed: PlacedLayer, op: MatrixOp, context: _Context, chosen: NDArray[np.int32] | None
) -> ProgrammedLayer:
    layout, chip, seed = placed.layout, context.chip, context.seed
    spec = chip.weights
    try:
        q, scales = encode_weights(op.weight, spec.q_max, spec.scale, op.weight_ends)
    except SimulationError as error:
        raise SimulationError(f"layer '{placed.name}': {error}") from None
    q = q if chosen is None else chosen
    code = WeightCode(spec.encoding, spec.bits, spec.slice_bits)
    arrays = []
    for index, blocks in enumerate(layout.by_array):
        cut = _cut(layout.lines[index], blocks, layout, q)
        sources, targets, lines, matrix = _in_order(placed, index, *cut)
        rngs = [stream(seed, "program", placed.name, index, s) for s in range(spec.slices)]
        if layout.lines_per_row == 2:
            # positive and negative part of an input side by side, on opposite weights
            sources, lines = _twice(sources), (_twice(lines[0]), lines[1])
            matrix = np.stack([matrix, -matrix], axis=1).reshape(-1, matrix.shape[1])
        row0, col0 = placed.origin(0, index)
        lines = lines[0] + row0, lines[1] + col0
        try:
            written = program_array(
                matrix, context.device, spec.slice_bits, rngs, code, wires=chip.wires,
                histories=context.histories(placed.name, index, placed.slots[0][index], lines),
                effects=Effects(
                    context.steepness, context.slow_noise(placed, index), chip.array.write_disturb
                ),
            )  # fmt: skip
        except SimulationError as error:
            raise SimulationError(f"layer '{placed.name}', array {index}: {error}") from None
        written, dac_curves = _drivers(
            written, context, stream(seed, "dac", placed.name, index)
        )  # fmt: skip
        mismatch = stream(seed, "adc", placed.name, index)
        n = written.n_physical_cols
        gain = 1 + chip.adc.gain_sigma * mismatch.standard_normal(n)
        offset = chip.adc.offset_sigma_lsb * mismatch.standard_normal(n)
        adc_curves = _converters(chip, n, stream(seed, "adc curve", placed.name, index))
        arrays.append(PlacedArray(written, sources, targets, gain, offset, adc_curves, dac_curves))
    return ProgrammedLayer(
        placed.name, q, scales, tuple(arrays), layout.windows_per_activation
    )  # fmt: skip


def _converters(chip: Chip, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the curves of the converters of an array; how many there are counts only if bent."""
    converter = chip.adc.converter
    if not converter.is_bent:
        return np.empty((0, 0), np.float32)
    return converter.curves(min(columns, chip.adc.count), rng)


def _in_order(
    placed: PlacedLayer,
    index: int,
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    lines: tuple[NDArray[np.int64], NDArray[np.int64]],
    matrix: NDArray[np.int32],
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    tuple[NDArray[np.int64], NDArray[np.int64]],
    NDArray[np.int32],
]:
    """Move inputs, weights and outputs to other used lines of the array; the lines stay."""
    if placed.row_order:
        order = np.array(placed.row_order[index])
        sources, matrix = sources[order], matrix[order]
    if placed.col_order:
        order = np.array(placed.col_order[index])
        targets, matrix = targets[order], matrix[:, order]
    return sources, targets, lines, np.ascontiguousarray(matrix)


def _twice(lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pair of numbers ``2 i, 2 i + 1`` for each ``i``."""
    return np.stack([2 * lines, 2 * lines + 1], axis=1).reshape(-1)


def _drivers(
    written: ProgrammedArray, context: _Context, rng: np.random.Generator
) -> tuple[ProgrammedArray, NDArray[np.float32]]:
    """Give every row a driver of its own.

    A gain is a factor on the row's cells, exactly, as long as their current is linear in the pulse:
    it is folded into them. A non-linearity is a pinned random walk over the driver's levels, like
    that of a converter.
    """
    dac, n_rows = context.chip.dac, written.n_rows
    levels = np.arange(2**dac.bits)
    applied: NDArray[np.float64] | None = None
    if dac.gain_sigma > 0:
        gain = (1 + dac.gain_sigma * rng.standard_normal(n_rows))[:, None]
    if dac.gain_sigma > 0 and written.steepness > 0:
        applied = gain * levels
    elif dac.gain_sigma > 0:
        if dac.encoding == "amplitude":  # another voltage, of which each cell makes the same
            gain = bent(gain, context.device.steepness)
        squares = [
            None if part is None else (part * gain**2).astype(np.float32)
            for part in (written.read_variance, written.reference_variance)
        ]
        written = replace(
            written, difference=(written.difference * gain).astype(np.float32),
            read_variance=squares[0], reference_variance=squares[1], is_exact=False,
        )  # fmt: skip
    if dac.inl_lsb > 0:
        walk = inl_curves(n_rows, 0.0, dac.inl_lsb, rng)
        place = levels / levels[-1] * (walk.shape[1] - 1)
        left = np.minimum(place.astype(int), walk.shape[1] - 2)
        share = (place - left).astype(np.float32)
        straight = levels if applied is None else applied
        applied = straight + (1 - share) * walk[:, left] + share * walk[:, left + 1]
        written = replace(written, is_exact=False)
    curves = np.empty((0, 0)) if applied is None else applied
    return written, curves.astype(np.float32)


def _cut(
    lines: Lines, blocks: tuple[Block, ...], layout: Layout, q: NDArray[np.int32]
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    tuple[NDArray[np.int64], NDArray[np.int64]],
    NDArray[np.int32],
]:
    """Return row sources, column targets, places and integers of the used part of one array.

    Cells on a used row and column that no block covers stay 0.
    """
    matrix = np.zeros((layout.array_rows, layout.array_cols), np.int32)
    for b in blocks:
        part = q[b.group, b.src_row0 : b.src_row0 + b.rows, b.src_col0 : b.src_col0 + b.cols]
        matrix[b.row0 : b.row0 + b.rows, b.col0 : b.col0 + b.cols] = part
    places = (lines.rows, lines.cols)
    return lines.inputs, lines.outputs, places, matrix[np.ix_(*places)]
