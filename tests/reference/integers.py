"""What a chip without any noise computes, from the documentation alone, in plain numpy.

Nothing of the engine is used: windows, digits of weights and inputs, arrays, converters, sums and
scales are written here once more, one loop for each sentence of docs/model.md, int64 and float64,
slow. From the product come the layer graph, the blocks of a mapping and what calibration decided
(input codes, converter ranges, column corrections); `tests.reference.calibrating` says
what these should be.
"""

from dataclasses import dataclass

import numpy as np

from cimsim.graph.ir import InputOp, MatrixOp
from tests.reference.digital import digital


@dataclass(frozen=True)
class Decided:
    """What calibration decided for one operation, in plain numbers.

    ``code``: (scale, zero point); ``ranges``: (lo, lsb, top) of each local array, top None for an
    ideal converter; ``gain``, ``offset``: float64 [windows of an activation, columns].
    """

    code: tuple
    ranges: tuple
    gain: np.ndarray
    offset: np.ndarray


# -- weights ------------------------------------------------------------------------------------


def weight_scales(weight, bits, mode):
    """Weight per step of each column of each group, float64 [groups, cols]."""
    w = np.abs(weight.astype(np.float64))
    q_max = 2 ** (bits - 1) - 1
    one = w.max() / q_max
    if one == 0:
        return np.ones((w.shape[0], w.shape[2]))
    own = w.max(axis=1) / q_max
    if mode == "layer":
        scales = np.full_like(own, one)
    elif mode == "column":
        scales = own
    else:
        signed = weight.astype(np.float64)
        positive, negative = np.maximum(signed, 0).sum(axis=1), np.maximum(-signed, 0).sum(axis=1)
        currents = np.maximum(positive, negative)
        scales = np.maximum(own, currents / (currents.max() / one))
    return np.where(scales == 0, 1.0, scales)


def weight_integers(weight, scales, bits):
    """Symmetric integers, int64 [groups, rows, cols]."""
    q_max = 2 ** (bits - 1) - 1
    q = np.rint(weight.astype(np.float64) / scales[:, None, :])
    return np.clip(q, -q_max, q_max).astype(np.int64)


def digit(number, bits, place):
    """Digit of a non-negative number, base ``2**bits``."""
    return (number >> (bits * place)) % 2**bits


def slices(q, weights):
    """Cells of every slice less their reference, and what a slice counts: [(int64 like q, int)]."""
    b, offset = weights.bits, weights.encoding == "offset"
    whole = b if offset else b - 1
    c = min(weights.cell_bits or whole, whole)
    places = range(-(-whole // c))
    if weights.encoding == "differential":
        pairs = [(digit(np.maximum(q, 0), c, s), digit(np.maximum(-q, 0), c, s)) for s in places]
        out = [(positive - negative, 2 ** (c * s)) for s, (positive, negative) in enumerate(pairs)]
    elif offset:
        middle = 2 ** (b - 1)
        out = [(digit(q + middle, c, s) - digit(middle, c, s), 2 ** (c * s)) for s in places]
    else:
        low = q & (2 ** (b - 1) - 1)
        out = [(digit(low, c, s), 2 ** (c * s)) for s in places]
        out.append(((q < 0) * 2 ** (c - 1), -(2 ** (b - c))))
    assert np.array_equal(sum(cells * counts for cells, counts in out), q)
    return out


# -- inputs -------------------------------------------------------------------------------------


def input_codes(x, decided, inputs, signed):
    """Integers of a map: unsigned with a zero point, or sign and magnitude."""
    scale, zero = decided.code
    code = np.rint(x.astype(np.float64) * (1.0 / scale))
    if signed and inputs.signed != "offset":
        top = 2 ** (inputs.bits - 1) - 1
        return np.clip(code, -top, top).astype(np.int64)
    return np.clip(code + zero, 0, 2**inputs.bits - 1).astype(np.int64)


def word_lines(codes, inputs, signed):
    """What drives the lines in turn: [(unsigned int64 [windows, lines per input, ...], sign)]."""
    if not signed or inputs.signed == "offset":
        return [(codes[..., None], 1)]
    positive, negative = np.maximum(codes, 0), np.maximum(-codes, 0)
    if inputs.signed == "phases":
        return [(positive[..., None], 1), (negative[..., None], -1)]
    return [(np.stack([positive, negative], -1), 1)]


def padded_map(op, x, fill):
    """Channels last, with the value of a zero pixel around it: [H + top + bottom, ..., C]."""
    if op.layout == "last":
        return x.reshape(1, -1, x.shape[-1])
    top, bottom, left, right = op.window.padding
    channels_last = x[0].transpose(1, 2, 0)
    return np.pad(channels_last, ((top, bottom), (left, right), (0, 0)), constant_values=fill)


def window_vector(op, padded, y, x, fill):
    """Input vector of the window (y, x): int64 [groups, rows]; beyond the map: zero pixels."""
    (k_y, k_x), (s_y, s_x), (d_y, d_x) = op.window.kernel, op.window.stride, op.window.dilation
    per_group = padded.shape[2] // op.groups
    out = np.full((op.groups, k_y, k_x, per_group), fill, np.int64)
    for i in range(k_y):
        for j in range(k_x):
            py, px = y * s_y + i * d_y, x * s_x + j * d_x
            if py < padded.shape[0] and px < padded.shape[1]:
                out[:, i, j, :] = padded[py, px].reshape(op.groups, per_group)
    return out.reshape(op.groups, -1)


# -- arrays -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalArray:
    """Weights of one array on its used lines, and what these mean.

    ``q``: int64 [rows, cols]; ``inputs``: (window, group, matrix row) that drives each row;
    ``outputs``: (window, column of the layer) that each column adds to.
    """

    q: np.ndarray
    inputs: list
    outputs: list


def local_arrays(layout, q):
    """Put the blocks of a layout together; cells without a weight are 0."""
    arrays = []
    for index in range(1 + max(block.array for block in layout.blocks)):
        blocks = [block for block in layout.blocks if block.array == index]
        rows, cols, cells = {}, {}, {}
        for b in blocks:
            for i in range(b.rows):
                rows.setdefault(b.row0 + i, (b.window, b.group, b.src_row0 + i))
                for j in range(b.cols):
                    out = (b.window, b.group * layout.group_cols + b.src_col0 + j)
                    assert cols.setdefault(b.col0 + j, out) == out
                    cells[b.row0 + i, b.col0 + j] = q[b.group, b.src_row0 + i, b.src_col0 + j]
        at_row = {row: n for n, row in enumerate(sorted(rows))}
        at_col = {col: n for n, col in enumerate(sorted(cols))}
        matrix = np.zeros((len(rows), len(cols)), np.int64)
        for (row, col), value in cells.items():
            matrix[at_row[row], at_col[col]] = value
        arrays.append(
            LocalArray(matrix, [rows[r] for r in sorted(rows)], [cols[c] for c in sorted(cols)])
        )
    return arrays


def convert(sums, converter):
    """What a converter makes of partial sums."""
    lo, lsb, top = converter
    if top is None:
        return sums.astype(np.float64)
    return lo + lsb * np.clip(np.rint((sums - lo) / lsb), 0, top)


def partial_sums(array, vectors, chip, signed):
    """Yield (sums int64 [n, cols], what they count) of every slice, phase and pulse.

    ``vectors``: int64 [n, rows of the array], codes.
    """
    two_rows = signed and chip.inputs.signed == "rows"
    bits, dac = chip.magnitude_bits(signed), chip.dac.bits
    plus, minus = slices(array.q, chip.weights), slices(-array.q, chip.weights)
    for (cells, counts), (opposite, _) in zip(plus, minus, strict=True):
        for lines, sign in word_lines(vectors, chip.inputs, signed):
            for p in range(-(-bits // dac)):
                pulse = (lines >> (dac * p)) % 2**dac
                sums = pulse[..., 0] @ cells
                if two_rows:
                    sums = sums + pulse[..., 1] @ opposite
                yield sums, sign * counts * 2 ** (dac * p)


# -- a layer ------------------------------------------------------------------------------------


def activation_windows(layout, grid):
    """Windows (y, x) that each activation answers, None where there is nothing to keep."""
    rows, cols = grid
    if layout.window_shape is not None:
        h, w = layout.window_shape
        corners = [(y, x) for y in range(0, rows, h) for x in range(0, cols, w)]
        return [[(y + i, x + j) for i in range(h) for j in range(w)] for y, x in corners]
    n = layout.windows_per_activation
    numbers = [range(start, start + n) for start in range(0, rows * cols, n)]
    return [[divmod(k, cols) if k < rows * cols else None for k in part] for part in numbers]


def driven_vectors(op, codes, zero, plan):
    """Codes of the windows of every activation: int64 [activations, windows, groups, rows]."""
    padded = padded_map(op, codes, zero)
    nothing = np.full((op.groups, op.group_rows), zero, np.int64)
    return np.array(
        [
            [nothing if at is None else window_vector(op, padded, *at, zero) for at in windows]
            for windows in plan
        ]
    )


def converted_sums(op, vectors, arrays, ranges, chip):
    """Digital sums behind the converters: float64 [activations, windows, columns of the layer]."""
    total = np.zeros((*vectors.shape[:2], op.n_cols))
    for array, converter in zip(arrays, ranges, strict=True):
        driven = np.stack([vectors[:, w, g, r] for w, g, r in array.inputs], axis=1)
        for sums, counts in partial_sums(array, driven, chip, op.signed):
            read = counts * convert(sums, converter)
            for column, (window, output) in enumerate(array.outputs):
                total[:, window, output] += read[:, column]
    return total


def layer(op, layout, q, scales, x, decided, chip):
    """Output map of one operation, float32, from its input map float32."""
    codes = input_codes(x, decided, chip.inputs, op.signed)
    grid = op.window_grid
    plan = activation_windows(layout, grid)
    vectors = driven_vectors(op, codes, decided.code[1], plan)
    total = converted_sums(op, vectors, local_arrays(layout, q), decided.ranges, chip)
    column_sums = q.sum(axis=1).reshape(-1)
    exact = total - decided.code[1] * column_sums
    corrected = decided.gain * exact + decided.offset
    bias = np.zeros(op.n_cols) if op.bias is None else op.bias.astype(np.float64)
    values = corrected * (scales.reshape(-1) * decided.code[0]) + bias
    y = np.empty((*grid, op.n_cols))
    for index, windows in enumerate(plan):
        for window, at in enumerate(windows):
            if at is not None and at[0] < grid[0] and at[1] < grid[1]:
                y[at] = values[index, window]
    return laid_out(op, y).astype(np.float32)


def laid_out(op, y):
    """Unfold output vectors [n_y, n_x, columns] into a map."""
    if op.layout == "last":
        return y.reshape(op.output.shape)
    n_y, n_x, _ = y.shape
    channels, h, w = op.out_block
    out = np.empty((1, channels, n_y * h, n_x * w))
    for c in range(channels):
        for i in range(h):
            for j in range(w):
                out[0, c, i::h, j::w] = y[:, :, (c * h + i) * w + j]
    return out


# -- a network ----------------------------------------------------------------------------------


def network(graph, mapping, integers, decided, inputs, seen=None):
    """Outputs of a traced network on a chip without noise.

    Parameters
    ----------
    graph : LayerGraph
    mapping : Mapping
    integers : dict of op name to (q int64 [groups, rows, cols], scales float64 [groups, cols])
    decided : dict of op name to Decided
    inputs : list of float32 arrays
    seen : dict, optional
        Filled with the input map of every matrix operation.
    """
    values, feed = {}, iter(inputs)
    for op in graph:
        if isinstance(op, InputOp):
            values[op.name] = next(feed)
        elif isinstance(op, MatrixOp):
            q, scales = integers[op.name]
            layout = mapping.layer_of[op.name].layout
            x = values[op.inputs[0]]
            values[op.name] = layer(op, layout, q, scales, x, decided[op.name], mapping.chip)
            if seen is not None:
                seen[op.name] = x
        else:
            values[op.name] = digital(op, values)
    return [values[name] for name in graph.outputs]
