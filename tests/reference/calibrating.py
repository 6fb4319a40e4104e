"""What calibration decides, from the documentation alone; see `tests.reference.integers`.

Written for networks of which every window of every calibration frame is looked at (`SAMPLED`).
The search of ``adc.method: least_error`` with ``adc.range: calibrated`` is not repeated here.
"""

from collections import defaultdict

import numpy as np

from cimsim.graph.reference import run
from tests.reference.integers import (
    Decided,
    activation_windows,
    converted_sums,
    digit,
    driven_vectors,
    input_codes,
    partial_sums,
)

ENOUGH = 32  # fewer windows in a sample: uses of one matrix go together; in all: no correction
SAMPLED = 2048  # windows of an operation that calibration looks at, at most


def observed(graph, frames):
    """Input maps of every matrix operation in the float network: {name: [float32 map, ...]}."""
    maps = defaultdict(list)
    for frame in frames:
        run(graph, *frame, capture=lambda op, x: maps[op.name].append(x.numpy().copy()))
    return maps


def pools(graph, mapping, n_frames):
    """Operations that are calibrated together: lists of operations of one matrix."""
    found = defaultdict(list)
    for op in graph.matrix_ops:
        assert op.windows * n_frames <= SAMPLED
        few = op.windows < ENOUGH
        found[mapping.layer_of[op.name].name if few else op.name, few].append(op)
    return list(found.values())


def ends(values, percentile):
    """Ends that hold a share of the values, order statistics, the rest cut evenly."""
    if percentile == 100:
        return float(values.min()), float(values.max())
    outside = (100 - percentile) / 200
    low, high = np.quantile(values, [outside, 1 - outside], method="nearest")
    return float(low), float(high)


def code_of(values, inputs, signed):
    """(scale, zero point) of input codes."""
    if values.min() < 0:
        low, high = ends(values, inputs.percentile)
    else:
        low, high = 0.0, float(np.quantile(values, inputs.percentile / 100, method="nearest"))
    low, high = min(low, 0.0), max(high, 0.0)
    if signed and inputs.signed != "offset":
        return max(-low, high) / (2 ** (inputs.bits - 1) - 1) or 1.0, 0
    top = 2**inputs.bits - 1
    scale = (high - low) / top or 1.0
    zero = int(np.rint(-low / scale))
    return scale, min(max(zero, 1), max(top - 1, 1)) if low < 0 < high else zero


def covering(low, high, bits):
    """Converter range (lo, lsb, top) over ``low`` .. ``high``, made whole."""
    top, low, high = 2**bits - 1, np.floor(low), np.ceil(high)
    if high - low <= top:
        return float(low - (top - (high - low)) // 2), 1.0, top
    return float(low), float((high - low) / top), top


def worst_case(rows, chip, first_pulse):
    """Smallest and largest sum of ``rows`` cells less their references at full input."""
    c, top = chip.weights.slice_bits, 2**chip.weights.slice_bits - 1
    driven = rows * first_pulse
    if chip.weights.encoding == "differential":
        return -driven * top, driven * top
    references = [0]
    if chip.weights.encoding == "offset":
        middle = 2 ** (chip.weights.bits - 1)
        references = [digit(middle, c, s) for s in range(chip.weights.slices)]
    return -driven * max(references), driven * (top - min(references))


def divided(low, high, bits, n):
    """Range whose ends lie ``2**n`` times closer to 0, steps of one unit at least."""
    top = 2**bits - 1
    lo, lsb, _ = covering(low, high, bits)
    if n == 0:
        return lo, lsb, top
    if lsb >= 2**n:
        return lo / 2**n, lsb / 2**n, top
    return covering(lo / 2**n, (lo + lsb * top) / 2**n, bits)


def range_of(sums, rows, chip, first_pulse):
    """Range of the converters that see ``sums``; None where it is found by a search."""
    adc = chip.adc
    if adc.range == "calibrated":
        return None if adc.method == "least_error" else covering(
            *ends(sums, adc.percentile), adc.bits
        )  # fmt: skip
    low, high = worst_case(rows, chip, first_pulse)
    if adc.range == "full":
        return covering(low, high, adc.bits)
    tried = [divided(low, high, adc.bits, n) for n in range(33)]
    if adc.method == "percentile":
        first, last = ends(sums, adc.percentile)
        fits = [lo <= first and last <= lo + lsb * top for lo, lsb, top in tried]
        return tried[max((n for n, fit in enumerate(fits) if fit), default=0)]
    errors = []
    for lo, lsb, top in tried:
        got = lo + lsb * np.clip(np.rint((sums - lo) / lsb), 0, top)
        errors.append(np.mean((got - sums) ** 2))
    return tried[int(np.argmin(errors))]


def columns_of(got, exact, gain, offset):
    """Least-squares gain and offset of one column; 1 and 0 for one that is exact already."""
    if (got == exact).all():
        return 1.0, 0.0
    mean, wanted = (got.mean(), exact.mean()) if offset else (0.0, 0.0)
    power = ((got - mean) ** 2).sum()
    told = gain and ((got != got[0]).any() if offset else power > 0)
    factor = ((got - mean) * (exact - wanted)).sum() / power if told else 1.0
    return float(factor), float(wanted - factor * mean)


def begun_at_every_window(op, layout):
    """Windows that calibration drives: an activation that begins at each window of the map."""
    rows, cols = op.window_grid
    if layout.windows_per_activation == 1:
        return activation_windows(layout, op.window_grid)
    plan = []
    for start in range(rows * cols):
        y0, x0 = divmod(start, cols)
        if layout.window_shape is None:
            after = range(start, start + layout.windows_per_activation)
            plan.append([divmod(k, cols) if k < rows * cols else None for k in after])
        else:
            h, w = layout.window_shape
            plan.append([(y0 + i, x0 + j) for i in range(h) for j in range(w)])
    return plan


def sampled(ops, layout, maps, chip, code):
    """Vectors that calibration drives, of all operations of a pool."""
    found = []
    for op in ops:
        plan = begun_at_every_window(op, layout)
        for x in maps[op.name]:
            codes = input_codes(x, Decided(code, (), None, None), chip.inputs, op.signed)
            found.append(driven_vectors(op, codes, code[1], plan))
    return np.concatenate(found)


def ranges_of(op, arrays, vectors, chip):
    """Converter range of each array, None where it is found by a search."""
    if chip.adc.kind == "ideal":
        return [(0.0, 1.0, None)] * len(arrays)
    lines = chip.lines_per_input(op.signed)
    bits = min(chip.dac.bits, chip.magnitude_bits(op.signed))
    sums = []
    for array in arrays:
        driven = np.stack([vectors[:, w, g, r] for w, g, r in array.inputs], axis=1)
        pulses = [found for found, _ in partial_sums(array, driven, chip, op.signed)]
        sums.append(np.concatenate(pulses, axis=None))
    rows = [lines * array.q.shape[0] for array in arrays]
    if chip.adc.scope == "layer":
        one = range_of(np.concatenate(sums), max(rows), chip, 2**bits - 1)
        return [one] * len(arrays)
    return [range_of(s, n, chip, 2**bits - 1) for s, n in zip(sums, rows, strict=True)]


def corrections_of(op, q, arrays, vectors, ranges, zero, chip):
    """Gain and offset of each column of each window: float64 [windows, columns] twice."""
    shape = (vectors.shape[1], op.n_cols)
    gain, offset = np.ones(shape), np.zeros(shape)
    wanted = chip.calibration.column_gain, chip.calibration.column_offset
    if len(vectors) < ENOUGH or not any(wanted):
        return gain, offset
    back = zero * q.sum(axis=1).reshape(-1)
    got = converted_sums(op, vectors, arrays, ranges, chip) - back
    ideal = [(0.0, 1.0, None)] * len(arrays)
    exact = converted_sums(op, vectors, arrays, ideal, chip) - back
    for window in range(shape[0]):
        for column in range(shape[1]):
            gain[window, column], offset[window, column] = columns_of(
                got[:, window, column], exact[:, window, column], *wanted
            )
    return gain, offset
