"""Fix input codes, converter ranges and digital corrections from calibration frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.crossbar.adc import AdcRange, finite, two_sided
from cimsim.crossbar.encode import InputCode, WeightCode
from cimsim.engine.blocks import Sums, fire
from cimsim.engine.calibrated import CalibratedMapping, CalibratedOp
from cimsim.engine.firing import Firing
from cimsim.engine.maps import rounded_first
from cimsim.engine.program import PlacedArray, ProgrammedLayer, ProgrammedMapping
from cimsim.engine.samples import Samples, collect
from cimsim.engine.windows import Reads
from cimsim.engine.workers import workers
from cimsim.errors import SimulationError
from cimsim.graph.ir import MatrixOp
from cimsim.kernels.arrays import Codes, Floats, Numbers
from cimsim.mapping.mapping import Mapping as Placed
from cimsim.rng import key

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

MIN_WINDOWS = 32  # fewer cannot tell a column's gain and offset from noise
MAX_SUMS = 2_000_000  # partial sums looked at for one converter range
MAX_SOLVED = 256  # pulses of windows that are solved for the range of non-linear cells behind wires
MAX_ERRORS = 200_000  # partial sums that are converted to see how large the error is


# what converter ranges depend on beside the sums: pulses, scope, percentile
_Setting: TypeAlias = tuple[tuple[tuple[int, int], ...], str, float]


@dataclass(frozen=True, eq=False)
class Known:
    """What calibrations on the same samples share, as it becomes known.

    It depends on samples, input codes and nominal weights, or beside them on written cells; the
    chips must agree in what the input codes read.

    Attributes
    ----------
    codes : dict of str to (InputCode, ndarray)
        By operation, its input code and the codes of its samples.
    exact : dict of str to ndarray
        By operation, the exact products of its samples.
    sums : mapping of ProgrammedLayer to dict
        By layer and operation, what the converter ranges take from partial sums: see `_Sums`.
    """

    codes: dict[str, tuple[InputCode, Codes]] = field(default_factory=dict)
    exact: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sums: WeakKeyDictionary[ProgrammedLayer, dict[str, dict[_Setting, _Sums]]] = field(
        default_factory=WeakKeyDictionary
    )


def calibrate(
    programmed: ProgrammedMapping,
    frames: Sequence[tuple[Tensor, ...]],
    seed: int,
    threads: int | None = None,
    samples: Mapping[str, Samples] | None = None,
    kept: Mapping[str, CalibratedOp] | None = None,
    known: Known | None = None,
) -> CalibratedMapping:
    """Calibrate every operation.

    (a) The float network runs on the frames; the range of each operation's input fixes its
    `InputCode`. (b) Windows sampled evenly over the frames are applied without noise; their partial
    sums fix the converter ranges. (c) The same windows are applied with all noise, and each output
    column gets the gain and offset that bring it closest to the exact integer product (least
    squares), as chips do in their digital units. A column that is exact already keeps gain 1 and
    offset 0; operations with fewer than `MIN_WINDOWS` sampled windows are not corrected.

    Operations of one matrix that have fewer windows in each sample than that, as the time steps of
    a recurrent layer, are calibrated together however many samples there are: they have one input
    code, one range of the converters and one correction, for a step alone would be calibrated on
    one window a sample.

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
    kept : mapping of str to CalibratedOp, optional
        By operation, an earlier calibration whose converter ranges stay; gain and offset of the
        columns are fitted anew.
    known : Known, optional
        Of the same samples; what is missing is added, so who calibrates many chips keeps it.

    Raises
    ------
    SimulationError
        No frames, or activations that are not finite.
    """
    graph, chip = programmed.mapping.graph, programmed.mapping.chip
    layouts = {name: layer.layout for name, layer in programmed.mapping.layer_of.items()}
    samples = collect(graph, chip, frames, layouts) if samples is None else dict(samples)
    together = _together(programmed.mapping)
    found: dict[str, CalibratedOp] = {}
    with workers(threads) as (pool, n_threads):
        for op in graph.matrix_ops:
            if op.name in found:
                continue
            noise = key(seed, "calibrate", op.name)
            names = together.get(op.name, (op.name,))
            taken = [samples.pop(name) for name in names]
            one = taken[0] if len(taken) == 1 else Samples.joined(taken)
            try:
                made = _calibrate_op(
                    op, programmed, one, noise, pool, n_threads,
                    None if kept is None else kept[op.name], Known() if known is None else known,
                )  # fmt: skip
            except SimulationError as error:
                raise SimulationError(f"layer '{op.name}': {error}") from None
            found |= dict.fromkeys(names, made)
    return CalibratedMapping(programmed, {op.name: found[op.name] for op in graph.matrix_ops})


def _together(mapping: Placed) -> dict[str, tuple[str, ...]]:
    """Return operation -> all operations that are calibrated with it, in execution order.

    Windows of one sample decide: more samples must not take time steps apart.
    """
    windows = {op.name: op.windows for op in mapping.graph.matrix_ops}  # in execution order
    found: dict[str, tuple[str, ...]] = {}
    for layer in mapping.layers:
        group = tuple(name for name, n in windows.items() if n < MIN_WINDOWS and name in layer.ops)
        found |= dict.fromkeys(group, group)
    return found


def _calibrate_op(
    op: MatrixOp,
    programmed: ProgrammedMapping,
    samples: Samples,
    noise_key: int,
    pool: Executor,
    threads: int,
    kept: CalibratedOp | None,
    known: Known,
) -> CalibratedOp:
    chip, layer = programmed.mapping.chip, programmed.layer_of(op.name)
    patch = programmed.mapping.layer_of[op.name].layout.patch
    vectors = samples.vectors if patch.windows == 1 else samples.activations
    if patch.windows > 1 and samples.patch != patch:
        raise SimulationError("its calibration samples were collected for another mapping")
    if op.name not in known.codes:
        found = samples.code(chip, op)
        values = rounded_first(op, found, np.concatenate(vectors))
        known.codes[op.name] = found, found.encode(values)
    code, codes = known.codes[op.name]
    if kept is None:
        sums = known.sums.setdefault(layer, {}).setdefault(op.name, {})
        ranges, effective_bits = _adc_ranges(layer, codes, code, chip, sums)
    else:
        ranges, effective_bits = kept.ranges, kept.effective_bits
    gain, offset = np.ones(layer.n_outputs), np.zeros(layer.n_outputs)
    wanted = chip.calibration.column_gain or chip.calibration.column_offset
    if wanted and len(codes) < MIN_WINDOWS:
        log.info("layer '%s': %d calibration windows, not corrected", op.name, len(codes))
    elif wanted:
        reads = Reads.of_vectors(*codes.shape)
        firing = Firing.of(layer, reads, ranges, chip, programmed.device, code, programmed.mapping)
        taken = Sums(np.empty((len(codes), layer.n_outputs), firing.sum_dtype))
        fire(firing, codes.reshape(-1), 0, noise_key, taken, pool, threads)
        if op.name not in known.exact:
            integers = code.integers(codes)
            windows = [integers[:, rows.reshape(-1)] for rows in patch.elements]
            known.exact[op.name] = np.stack([exact_product(x, 0, layer.weight) for x in windows])
        for window in range(len(patch.elements)):
            part = slice(window * op.n_cols, (window + 1) * op.n_cols)
            gain[part], offset[part] = fit_columns(
                taken.sums[:, part].astype(np.float64) - code.zero_point * layer.column_sums,
                known.exact[op.name][window],
                chip.calibration.column_gain, chip.calibration.column_offset,
            )  # fmt: skip
    return CalibratedOp(code, ranges, gain, offset, len(codes), effective_bits)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What is taken from partial sums: their ends by percentile, and a few of them.

    Attributes
    ----------
    ends : list of (float, float)
        Of each array, or of all together where converters of a layer share one range.
    few : list of float32 [n]
        Of each array.
    """

    ends: list[tuple[float, float]]
    few: list[NDArray[np.float32]]


def _adc_ranges(
    layer: ProgrammedLayer, codes: Codes, code: InputCode, chip: Chip,
    known: dict[_Setting, _Sums],
) -> tuple[tuple[AdcRange, ...], float | None]:  # fmt: skip
    """Return the converter range of each array of a layer, and their mean effective bits.

    ``known`` is what was taken from these partial sums before; what is missing is added.
    """
    adc, arrays = chip.adc, layer.arrays
    converter = adc.converter
    if converter.is_exact:
        return (AdcRange.ideal(),) * len(arrays), None
    pulses = code.pulses(chip.dac.bits)
    if adc.range == "calibrated" and adc.method == "percentile":
        at = (pulses, adc.scope, adc.percentile)
        if at not in known:
            known[at] = _taken(_all_sums(layer, codes, pulses), adc.scope, adc.percentile)
        found = [AdcRange.covering(low, high, adc.bits) for low, high in known[at].ends]
        few = known[at].few
    else:
        sums = _all_sums(layer, codes, pulses)
        found, few = _searched(layer, sums, pulses, chip), [_thinned(part) for part in sums]
    ranges = tuple(found * len(arrays) if adc.scope == "layer" else found)
    curve = converter.noise_curve()
    by_level = 0.0 if curve is None else float(np.sqrt(np.mean(np.square(curve))))
    noise = math.hypot(converter.noise_lsb, by_level)
    bits = [one.effective_bits(part, noise) for one, part in zip(ranges, few, strict=True)]
    return ranges, float(np.mean(bits))


def _all_sums(
    layer: ProgrammedLayer, codes: Codes, pulses: tuple[tuple[int, int], ...]
) -> list[NDArray[np.float32]]:
    return [_partial_sums(array, codes, pulses) for array in layer.arrays]


def _pooled(sums: list[NDArray[np.float32]], scope: str) -> list[NDArray[np.float32]]:
    """Return the sums by range: converters of one scope share the samples."""
    return [np.concatenate([part.reshape(-1) for part in sums])] if scope == "layer" else sums


def _taken(sums: list[NDArray[np.float32]], scope: str, percentile: float) -> _Sums:
    ends = [two_sided(finite(part), percentile) for part in _pooled(sums, scope)]
    return _Sums(ends, [_thinned(part).copy() for part in sums])


def _searched(
    layer: ProgrammedLayer, sums: list[NDArray[np.float32]],
    pulses: tuple[tuple[int, int], ...], chip: Chip,
) -> list[AdcRange]:  # fmt: skip
    """Return ranges that are no percentiles of the sums."""
    adc = chip.adc
    pooled = _pooled(sums, adc.scope)
    if adc.method == "least_error":
        pooled = [_thinned(part) for part in pooled]
    if adc.range == "calibrated":
        return [AdcRange.least_error(part, adc.bits) for part in pooled]
    rows = [array.written.n_rows for array in layer.arrays]
    rows = [max(rows)] if adc.scope == "layer" else rows
    weights = WeightCode(chip.weights.encoding, chip.weights.bits, chip.weights.slice_bits)
    low, high = weights.ends
    found = [AdcRange.full(n, pulses[0][1], high, adc.bits, low) for n in rows]
    if adc.range == "power2":
        share = adc.percentile if adc.method == "percentile" else None
        pairs = zip(found, pooled, strict=True)
        found = [full.divided(full.shift_for(part, share)) for full, part in pairs]
    return found


def _thinned(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return at most `MAX_ERRORS` of some partial sums, flat; an odd stride meets all columns."""
    flat = sums.reshape(-1)
    return flat[:: math.ceil(flat.size / MAX_ERRORS) | 1]


def _partial_sums(
    array: PlacedArray, codes: Codes, pulses: tuple[tuple[int, int], ...]
) -> NDArray[np.float32]:
    """Return noise-free partial sums of some windows, all pulses, float32 [pulses, n, columns]."""
    most = MAX_SUMS // array.written.n_physical_cols
    if array.written.wired is not None:
        most = min(most, MAX_SOLVED)
    limit = max(MIN_WINDOWS, most // len(pulses))
    used = codes[:: math.ceil(len(codes) / limit)][:, array.row_source]
    top = pulses[0][1]
    return np.stack([array.expected_sums(used >> shift & mask, top) for shift, mask in pulses])


def exact_product(
    codes: Numbers, zero_point: int, weight: NDArray[np.int32]
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
    got: Floats, exact: NDArray[np.float64], use_gain: bool, use_offset: bool
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
        1 and 0 for a column that is exact on every sample. With an offset the gain of a column
        that always reads the same is 1: there is nothing to tell it from.
    """
    n_cols = got.shape[1]
    gain, offset = np.ones(n_cols), np.zeros(n_cols)
    got_mean = got.mean(axis=0) if use_offset else offset
    exact_mean = exact.mean(axis=0) if use_offset else offset
    if use_gain:
        centred = got - got_mean
        power = np.einsum("ij,ij->j", centred, centred)
        cross = np.einsum("ij,ij->j", centred, exact - exact_mean)
        # equal readings less their mean are rounding errors, and so would be their gain
        told = _varies(got) if use_offset else power > 0
        np.divide(cross, power, out=gain, where=told)
    if use_offset:
        offset = exact_mean - gain * got_mean
    same = got[0] == exact[0]
    if same.any():  # the others need no further look
        same[same] = (got[:, same] == exact[:, same]).all(axis=0)
    return np.where(same, 1.0, gain), np.where(same, 0.0, offset)


def _varies(got: Floats) -> NDArray[np.bool_]:
    """Return which columns hold more than one value, bool [n_cols]."""
    found: NDArray[np.bool_] = got[0] != got[-1]
    if not found.all():
        alike = ~found
        found[alike] = (got[:, alike] != got[0, alike]).any(axis=0)
    return found
