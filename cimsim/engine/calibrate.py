"""Fix input codes, converter ranges and digital corrections from calibration frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.arrays.adc import AdcRange
from cimsim.arrays.encode import InputCode, pulses_of
from cimsim.engine.blocks import Firing, WindowCodes, fire
from cimsim.engine.program import ProgrammedLayer, ProgrammedMapping
from cimsim.engine.samples import Samples, collect
from cimsim.engine.workers import workers
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.hw.spec import Chip
from cimsim.rng import key

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

MIN_WINDOWS = 32  # fewer cannot tell a column's gain and offset from noise
MAX_SUMS = 2_000_000  # partial sums looked at for one converter range


@dataclass(frozen=True, eq=False)
class CalibratedOp:
    """What one operation takes from calibration.

    Attributes
    ----------
    code : InputCode
    ranges : tuple of AdcRange
        One for each array of its layer.
    gain : float64 [n_cols]
    offset : float64 [n_cols]
        Digital correction of an output column in weight LSB times input LSB: ``gain * acc +
        offset``.
    windows : int
        Sampled windows behind these numbers.
    """

    code: InputCode
    ranges: tuple[AdcRange, ...]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    windows: int


@dataclass(frozen=True, eq=False)
class CalibratedMapping:
    """A programmed mapping that is ready to run.

    Attributes
    ----------
    programmed : ProgrammedMapping
    ops : dict of str to CalibratedOp
        By operation name.
    """

    programmed: ProgrammedMapping
    ops: dict[str, CalibratedOp]


def calibrate(
    programmed: ProgrammedMapping,
    frames: Sequence[tuple[Tensor, ...]],
    seed: int,
    threads: int | None = None,
    samples: Mapping[str, Samples] | None = None,
) -> CalibratedMapping:
    """Calibrate every operation.

    (a) The float network runs on the frames; the range of each operation's input fixes its
    `InputCode`. (b) Windows sampled evenly over the frames are applied without noise; their partial
    sums fix the converter ranges. (c) The same windows are applied with all noise, and each output
    column gets the gain and offset that bring it closest to the exact integer product (least
    squares), as chips do in their digital units. A column that is exact already keeps gain 1 and
    offset 0; operations with fewer than `MIN_WINDOWS` sampled windows are not corrected.

    Parameters
    ----------
    programmed : ProgrammedMapping
    frames : sequence of tuples of torch.Tensor
        The network's inputs, one tuple for each frame.
    seed : int
        Of the noise during calibration.
    threads : int, optional
        All cores by default; does not change a bit of the result.
    samples : mapping of str to Samples, optional
        What `cimsim.engine.samples.collect` took from the same frames, if it ran already.

    Raises
    ------
    SimulationError
        No frames, or activations that are not finite.
    """
    graph, chip = programmed.mapping.graph, programmed.mapping.chip
    samples = collect(graph, chip, frames) if samples is None else dict(samples)
    found = {}
    with workers(threads) as (pool, n_threads):
        for op in graph.matrix_ops:
            noise = key(seed, "calibrate", op.name)
            try:
                found[op.name] = _calibrate_op(
                    op, programmed, samples.pop(op.name), noise, pool, n_threads
                )
            except SimulationError as error:
                raise SimulationError(f"layer '{op.name}': {error}") from None
    return CalibratedMapping(programmed, found)


def _calibrate_op(
    op: MatrixOp,
    programmed: ProgrammedMapping,
    samples: Samples,
    noise_key: int,
    pool: Executor,
    threads: int,
) -> CalibratedOp:
    chip, layer = programmed.mapping.chip, programmed.layer_of(op.name)
    code = samples.code(chip)
    codes = code.encode(np.concatenate(samples.vectors))
    ranges = _adc_ranges(layer, codes, chip)
    gain, offset = np.ones(op.n_cols), np.zeros(op.n_cols)
    wanted = chip.calibration.column_gain or chip.calibration.column_offset
    if wanted and len(codes) < MIN_WINDOWS:
        log.info("layer '%s': %d calibration windows, not corrected", op.name, len(codes))
    elif wanted:
        acc = np.empty((len(codes), op.n_cols))

        def keep(start: int, part: NDArray[np.float64]) -> None:
            acc[start : start + len(part)] = part

        firing = Firing.of(layer, ranges, chip, programmed.device, noise_key)
        fire(firing, WindowCodes.of_vectors(codes), 0, keep, pool, threads)
        acc -= code.zero_point * layer.column_sums
        gain, offset = fit_columns(
            acc, exact_product(codes, code.zero_point, layer.weight),
            chip.calibration.column_gain, chip.calibration.column_offset,
        )  # fmt: skip
    return CalibratedOp(code, ranges, gain, offset, len(codes))


def _adc_ranges(layer: ProgrammedLayer, codes: NDArray[Any], chip: Chip) -> tuple[AdcRange, ...]:
    """Return the converter range of each array of a layer."""
    adc, arrays = chip.adc, layer.arrays
    if adc.kind == "ideal":
        return (AdcRange.ideal(),) * len(arrays)
    if adc.range == "full":
        rows = [array.written.n_rows for array in arrays]
        if adc.scope == "layer":
            rows = [max(rows)] * len(rows)
        x_max, q_max = 2**chip.dac.bits - 1, 2**chip.weights.slice_bits - 1
        return tuple(AdcRange.full(n, x_max, q_max, adc.bits) for n in rows)
    sums = [_partial_sums(array.written.difference, array.row_source, codes, chip)
            for array in arrays]  # fmt: skip
    if adc.scope == "layer":
        pooled = np.concatenate([part.reshape(-1) for part in sums])
        return (AdcRange.calibrated(pooled, adc.percentile, adc.bits),) * len(arrays)
    return tuple(AdcRange.calibrated(part, adc.percentile, adc.bits) for part in sums)


def _partial_sums(
    difference: NDArray[np.float32], row_source: NDArray[np.int64], codes: NDArray[Any], chip: Chip
) -> NDArray[np.float32]:
    """Return noise-free partial sums of some windows, all pulses, float32 [pulses, n, columns]."""
    pulses = pulses_of(chip.inputs.bits, chip.dac.bits)
    limit = max(MIN_WINDOWS, MAX_SUMS // (difference.shape[1] * len(pulses)))
    used = codes[:: math.ceil(len(codes) / limit)][:, row_source]
    parts = [(used >> shift & mask).astype(np.float32) @ difference for shift, mask in pulses]
    return np.stack(parts)


def exact_product(
    codes: NDArray[Any], zero_point: int, weight: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the integer product of input vectors and nominal weights, whole float64 [n, n_cols].

    Parameters
    ----------
    codes : [n, groups * rows]
    zero_point : int
    weight : int32 [groups, rows, cols]
    """
    groups, rows, _ = weight.shape
    x = (codes.astype(np.float64) - zero_point).reshape(len(codes), groups, rows)
    parts = [x[:, g] @ weight[g].astype(np.float64) for g in range(groups)]
    return np.concatenate(parts, axis=1)


def fit_columns(
    got: NDArray[np.float64], exact: NDArray[np.float64], use_gain: bool, use_offset: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gain and offset of each column that make ``gain * got + offset`` closest to ``exact``.

    Parameters
    ----------
    got, exact : float64 [n, n_cols]
    use_gain, use_offset : bool
        What may differ from 1 and 0.

    Returns
    -------
    gain, offset : float64 [n_cols]
        1 and 0 for a column that is exact on every sample.
    """
    n_cols = got.shape[1]
    gain, offset = np.ones(n_cols), np.zeros(n_cols)
    got_mean = got.mean(axis=0) if use_offset else offset
    exact_mean = exact.mean(axis=0) if use_offset else offset
    if use_gain:
        centred = got - got_mean
        power = np.einsum("ij,ij->j", centred, centred)
        cross = np.einsum("ij,ij->j", centred, exact - exact_mean)
        np.divide(cross, power, out=gain, where=power > 0)
    if use_offset:
        offset = exact_mean - gain * got_mean
    same = (got == exact).all(axis=0)
    return np.where(same, 1.0, gain), np.where(same, 0.0, offset)
