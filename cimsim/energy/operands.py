"""Array energy without firing an array: statistics of the operands of the float network.

The energy of a read is a sum over cells of ``(x / x_fs)**p G`` (`cimsim.energy.model`). For a row
only the mean of that power over the windows matters, so a histogram of its codes, or here the
moments of it, from up to 2048 sampled windows, times the conductance that the row meets gives the
sum. Inputs are those of the float network, cells those of the nominal integer weights: programming
error, read noise, converters and what they do to later layers are left out. CiMLoop (Andrulis et
al., ISPASS 2024) does the same with one histogram for a whole tensor; one for each row keeps what
channels and kernel positions have to do with their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells import device_of
from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.spec import Chip
from cimsim.crossbar.encode import InputCode, WeightCode, encode_weights
from cimsim.engine.maps import rounded_first
from cimsim.engine.samples import Samples, collect
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from torch import Tensor


def row_means(
    op: MatrixOp, code: InputCode, samples: Samples, chip: Chip, power: int
) -> NDArray[np.float64]:
    """Return the mean of ``(pulse / full scale)**power``, summed over pulses, of each word line.

    Parameters
    ----------
    op : MatrixOp
    code : InputCode
    samples : Samples
        Windows of the operation from `cimsim.engine.samples.collect`.
    chip : Chip
    power : int
        1 or 2, see `cimsim.engine.blocks.Firing`.

    Returns
    -------
    float64 [groups * rows]
        With two lines per input the sum of both.
    """
    pulses = code.pulses(chip.dac.bits)
    full = float(pulses[0][1])
    total = np.zeros(op.groups * op.weight.shape[1])
    windows = sum(len(part) for part in samples.vectors)
    for vectors in samples.vectors:
        codes = code.encode(rounded_first(op, code, vectors))
        for shift, mask in pulses:
            drawn = ((codes >> shift & mask) / full) ** power
            total += drawn.reshape(len(codes), -1, code.lines).sum(axis=(0, 2))
    return total / windows


def estimate_sums(
    mapping: Mapping,
    frames: Sequence[tuple[Tensor, ...]],
    calibration: Sequence[tuple[Tensor, ...]] | None = None,
) -> dict[str, float]:
    """Estimate what the engine would add up as conductance sums.

    Parameters
    ----------
    mapping : Mapping
    frames : sequence of tuples of torch.Tensor
        Inputs of the network for the frames whose energy is asked for.
    calibration : sequence of tuples of torch.Tensor, optional
        What the ranges of input codes come from, as on a chip; ``frames`` by default.

    Returns
    -------
    dict
        `MatrixOp` name -> siemens per frame, for `cimsim.energy.model.energy`.

    Raises
    ------
    SimulationError
        No frames.
    """
    chip, device = mapping.chip, device_of(mapping.chip)
    power = 2 if device.conduction == "ohmic" and chip.dac.encoding == "amplitude" else 1
    samples = collect(mapping.graph, chip, frames)
    ranges = samples if calibration is None else collect(mapping.graph, chip, calibration)
    sums = {}
    for op in mapping.graph.matrix_ops:
        code = ranges[op.name].code(chip, op)
        means = row_means(op, code, samples[op.name], chip, power)
        rows = row_conductance_s(op, mapping.layer_of[op.name].layout, chip, device)
        # both lines of an input lead to cells of the same two conductances
        sums[op.name] = float(op.windows * (rows @ means))
    return sums


def row_conductance_s(
    op: MatrixOp, layout: Layout, chip: Chip, device: AbstractDevice
) -> NDArray[np.float64]:
    """Return the conductance that one drive of each matrix row meets, S.

    All cells of the row by the nominal weights, with the zeros of other groups' columns that stand
    on the same lines, and the reference cells of every array that it drives.

    Returns
    -------
    float64 [groups * rows]
    """
    code = WeightCode(chip.weights.encoding, chip.weights.bits, chip.weights.slice_bits)
    q, _ = encode_weights(op.weight, chip.weights.q_max, chip.weights.scale, op.weight_ends)
    lsb_s = (device.g_max_s - device.g_min_s) / code.top
    n_groups, n_rows, _ = q.shape
    total = np.zeros(n_groups * n_rows)
    empty_s = _conductance(code, np.zeros((1, 1), np.int32), device.g_min_s, lsb_s)[0]
    for block in layout.blocks:
        if block.window:  # further windows of an activation hold the same weights
            continue
        part = q[block.group, block.src_row0 : block.src_row0 + block.rows,
                 block.src_col0 : block.src_col0 + block.cols]  # fmt: skip
        start = block.group * n_rows + block.src_row0
        total[start : start + block.rows] += _conductance(code, part, device.g_min_s, lsb_s)
        # columns of the array that its rows cross without a weight of their own
        total[start : start + block.rows] += (layout.cols_used[block.array] - block.cols) * empty_s
        if code.references is not None:
            reference_s = sum(device.g_min_s + lsb_s * level for level in code.references)
            total[start : start + block.rows] += reference_s
    return total


def _conductance(
    code: WeightCode, q: NDArray[np.int32], g_min_s: float, lsb_s: float
) -> NDArray[np.float64]:
    levels = code.levels(q)
    return np.asarray((g_min_s + lsb_s * levels).sum(axis=(0, 1, 3)), np.float64)
