"""Compiled inner loops: counter-based noise, window gathering, read-out.

Random numbers are Philox4x32-10 (Salmon et al., SC 2011) turned into normals by Box-Muller with own
float32 polynomials, so that the bits depend on nothing but the counter: neither on threads, nor on
the order of blocks, nor on a math library.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cimsim.jit import jit, jit_inline

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ROUNDS = 10


@jit_inline
def _philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return four 32-bit words (held in uint64) of one counter and key (held in uint64)."""
    for _ in range(_ROUNDS):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@jit
def philox(counter: Any, key: Any) -> Any:
    """Return Philox4x32-10 of one counter.

    Parameters
    ----------
    counter : uint32 [4]
    key : uint32 [2]

    Returns
    -------
    uint32 [4]
    """
    words = _philox(
        np.uint64(counter[0]), np.uint64(counter[1]), np.uint64(counter[2]), np.uint64(counter[3]),
        np.uint64(key[0]), np.uint64(key[1]),
    )  # fmt: skip
    out = np.empty(4, np.uint32)
    for i in range(4):
        out[i] = np.uint32(words[i])
    return out


@jit_inline
def _log(u: Any) -> Any:
    """Natural logarithm of a float32 in (0, 1], relative error below 2e-7 (Cephes logf)."""
    bits = np.float32(u).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(126))
    mantissa = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    small = mantissa < np.float32(0.70710678)
    exponent = exponent - np.float32(1.0) if small else exponent
    x = mantissa + mantissa - np.float32(1.0) if small else mantissa - np.float32(1.0)
    p = np.float32(7.0376836292e-2)
    p = p * x + np.float32(-1.1514610310e-1)
    p = p * x + np.float32(1.1676998740e-1)
    p = p * x + np.float32(-1.2420140846e-1)
    p = p * x + np.float32(1.4249322787e-1)
    p = p * x + np.float32(-1.6668057665e-1)
    p = p * x + np.float32(2.0000714765e-1)
    p = p * x + np.float32(-2.4999993993e-1)
    p = p * x + np.float32(3.3333331174e-1)
    z = x * x
    y = x * z * p - np.float32(0.5) * z
    return x + y + exponent * np.float32(0.69314718)


@jit_inline
def _box_muller(a: Any, b: Any) -> Any:
    """Return two independent normals (float32) of two uniform 32-bit words."""
    # 31 bits and a half step: u in (0, 1], tails up to 6.66 sigma
    u = (np.float32(np.int32(a >> np.uint32(1))) + np.float32(0.5)) * np.float32(2.0**-31)
    radius = np.sqrt(np.float32(-2.0) * _log(u))
    # the two top bits pick the quadrant, the others an angle within +- pi/4
    part = np.int32(b & np.uint32(0x3FFFFFFF)) - np.int32(0x20000000)
    t = (np.float32(np.int32(part)) + np.float32(0.5)) * np.float32(1.5707963267948966 * 2.0**-30)
    z = t * t
    s = np.float32(-1.9515295891e-4) * z + np.float32(8.3321608736e-3)
    s = (s * z + np.float32(-1.6666654611e-1)) * z * t + t
    c = np.float32(2.443315711809948e-5) * z + np.float32(-1.388731625493765e-3)
    c = (c * z + np.float32(4.166664568298827e-2)) * z * z - np.float32(0.5) * z + np.float32(1.0)
    quadrant = np.int32(b >> np.uint32(30))
    odd = (quadrant & np.int32(1)) == np.int32(1)
    x = s if odd else c
    y = c if odd else s
    x = -x if (quadrant == np.int32(1)) or (quadrant == np.int32(2)) else x
    y = -y if quadrant >= np.int32(2) else y
    return radius * x, radius * y


@jit
def counters(first: Any, second: Any) -> None:
    """Fill in what numbers the counters of some windows: ``[B * n]`` each.

    Parameters
    ----------
    first : uint64 [B, n]
        Counter within the window.
    second : uint64 [B, n]
        Window within the block.
    """
    for b in range(first.shape[0]):
        for q in range(first.shape[1]):
            first[b, q] = q
            second[b, q] = b


@jit
def normals(out: Any, words: Any, numbers: Any, window: Any, stage: Any, key: Any) -> None:
    """Fill ``out`` with the standard normals of consecutive windows.

    Parameters
    ----------
    out : float32 [4 * n * B]
        Column ``j`` of a window takes word ``j % 4`` of the counter ``j // 4``; there are ``4 n``.
    words : uint32 [4 * n * B]
        Scratch.
    numbers : (uint64 [n * B], uint64 [n * B])
        From `counters`.
    window : uint64
        Number of the first window over all frames.
    stage : uint64
        Which array and pulse, below 2**32.
    key : uint64
    """
    counter, block = numbers
    k0, k1 = key & _LOW, key >> _32
    # flat loops over plain indices are what LLVM turns into vector code, however narrow the array
    for e in range(out.shape[0] // 4):
        number = window + block[e]
        w0, w1, w2, w3 = _philox(counter[e], number & _LOW, number >> _32, stage, k0, k1)
        words[4 * e] = np.uint32(w0)
        words[4 * e + 1] = np.uint32(w1)
        words[4 * e + 2] = np.uint32(w2)
        words[4 * e + 3] = np.uint32(w3)
    for i in range(out.shape[0] // 2):
        out[2 * i], out[2 * i + 1] = _box_muller(words[2 * i], words[2 * i + 1])


@jit
def encode_map(x: Any, scale: float, zero: int, top: int, out: Any, corner: Any) -> int:
    """Quantise a map into the inside of a padded one: ``clip(rint(x / scale) + zero, 0, top)``.

    Parameters
    ----------
    x : float32 [H, W * C], C-contiguous
    scale, zero, top : float, int, int
    out : uint8 or uint16 [H', W' * C]
    corner : (int, int)
        Where the map's first value goes.

    Returns
    -------
    int
        Sum of the codes written.
    """
    total = np.int64(0)
    y0, x0 = corner
    width = x.shape[1]
    shift, last = np.float64(zero), np.float64(top)
    for i in range(x.shape[0]):
        source, sink = x[i], out[y0 + i, x0 : x0 + width]
        for j in range(width):
            code = np.rint(np.float64(source[j]) / scale) + shift
            value = np.int32(min(max(code, 0.0), last))
            sink[j] = value
            total += np.int64(value)
    return int(total)


@jit
def encode_signed(x: Any, scale: float, top: int, shift: int, out: Any, corner: Any) -> int:
    """Quantise a map to sign and magnitude, ``clip(rint(x / scale), -top, top)``.

    Parameters
    ----------
    x : float32 [H, W * C], C-contiguous
    scale, top : float, int
    shift : int
        The magnitude of a negative value is shifted up by so many bits (phases); 0: positive and
        negative magnitude side by side (rows).
    out : uint8, uint16 or uint32 [H', W' * C], or [H', W' * C * 2] for rows
    corner : (int, int)
        Where the map's first value goes.

    Returns
    -------
    int
        Sum of the magnitudes written.
    """
    total = np.int64(0)
    y0, x0 = corner
    last = np.float64(top)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            code = np.rint(np.float64(x[i, j]) / scale)
            positive = np.int64(min(max(code, 0.0), last))
            negative = np.int64(min(max(-code, 0.0), last))
            total += positive + negative
            if shift > 0:
                out[y0 + i, x0 + j] = positive | (negative << np.int64(shift))
            else:
                out[y0 + i, x0 + 2 * j] = positive
                out[y0 + i, x0 + 2 * j + 1] = negative
    return int(total)


@jit
def gather(codes: Any, bases: Any, runs: Any, bits: Any, out: Any, sums: Any) -> None:
    """Collect one pulse of the input vectors of some windows.

    Parameters
    ----------
    codes : uint8, uint16 or uint32 [n]
        The padded map, flat.
    bases : int64 [B]
        Where the windows begin in it.
    runs : int64 [n_runs, 3]
        (first row, offset from the window's beginning, rows): rows that lie side by side in the
        map.
    bits : (int, int, int)
        Shift and mask of the pulse; power 1 or 2 for ``sums``.
    out : float32 or float64 [>= B, rows]
        Row ``b`` takes the pulse of window ``b``.
    sums : int64 [rows]
        Adds up pulse values (to the power) over the windows.
    """
    shift, mask, power = np.int32(bits[0]), np.int32(bits[1]), bits[2]
    for b in range(bases.shape[0]):
        for r in range(runs.shape[0]):
            row, start, length = runs[r, 0], bases[b] + runs[r, 1], runs[r, 2]
            source = codes[start : start + length]
            sink, sum_ = out[b, row : row + length], sums[row : row + length]
            for k in range(length):
                value = np.int32((np.int32(source[k]) >> shift) & mask)
                sink[k] = value
            if power == 2:
                for k in range(length):
                    wide = np.int64((np.int32(source[k]) >> shift) & mask)
                    sum_[k] += wide * wide
            else:
                for k in range(length):
                    sum_[k] += np.int64((np.int32(source[k]) >> shift) & mask)


@jit_inline
def _between(curve: Any, t: Any) -> Any:
    """Value of a curve over 0 .. 1, straight between its points; flat outside."""
    place = min(max(t, 0.0), 1.0) * (curve.shape[0] - 1)
    k = min(int(place), curve.shape[0] - 2)
    return curve[k] + (place - k) * (curve[k + 1] - curve[k])


@jit
def bend_inputs(pulse: Any, curves: Any) -> None:
    """Put the drivers' static non-linearity on the values of one pulse, in place.

    Parameters
    ----------
    pulse : float32 or float64 [B, rows]
        Whole numbers.
    curves : float32 [rows, levels]
        What each driver applies for each number.
    """
    for b in range(pulse.shape[0]):
        for r in range(pulse.shape[1]):
            pulse[b, r] = curves[r, np.int32(pulse[b, r])]


@jit
def bend_sums(current: Any, columns: Any, adc: Any, curves: Any) -> None:
    """Move partial sums by what the converters' static non-linearity adds to them, in place.

    Parameters
    ----------
    current : float32 or float64 [B, P]
    columns : float64 [3, P]
    adc : float64 [4]
        As in `convert`; an ideal converter has no non-linearity.
    curves : float32 [N, K]
        In steps, of ``N`` converters that take turns over the columns, at ``K`` points from the
        first to the last code.
    """
    lo, step, top = adc[0], adc[1], adc[2]
    if top <= 0.0:
        return
    for b in range(current.shape[0]):
        for j in range(current.shape[1]):
            level = (current[b, j] * columns[1, j] - lo) / step + columns[2, j]
            error = _between(curves[j % curves.shape[0]], level / top)
            current[b, j] += error * step / columns[1, j]


@jit
def add_common(current: Any, variance: Any, first_window: Any, stage: Any, key: Any) -> None:
    """Add the read noise of reference columns to all columns that they are subtracted from.

    Parameters
    ----------
    current : float32 or float64 [>= B, S * n]
        Partial sums, changed in place.
    variance : float32 [B, S]
        Of ``S`` reference columns, each of which serves ``n`` columns beside each other.
    first_window, stage, key : uint64
        As in `normals`; the key is another one than that of the columns' own noise.
    """
    references = variance.shape[1]
    n = current.shape[1] // references
    draws = np.zeros(4 * ((references + 3) // 4), np.float32)
    words = np.zeros(draws.shape[0], np.uint32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    numbers = counter, np.zeros_like(counter)
    for b in range(variance.shape[0]):
        normals(draws, words, numbers, first_window + np.uint64(b), stage, key)
        for r in range(references):
            noise = np.sqrt(variance[b, r]) * draws[r]
            for j in range(r * n, (r + 1) * n):
                current[b, j] += noise


@jit
def convert(
    acc: Any,
    current: Any,
    variance: Any,
    columns: Any,
    target: Any,
    adc: Any,
    window: Any,
    key: Any,
) -> int:
    """Read out one pulse of one array: noise, converter, shift, add to the output values.

    Parameters
    ----------
    acc : float64 [B, n_cols]
        Output values of the layer, added to.
    current : float32 or float64 [>= B, P]
        Partial sums of ``P`` physical columns, in LSB of weight times LSB of pulse.
    variance : float32 [>= B, P], or [0, 0] without read noise
        Read noise, LSB squared.
    columns : float64 [3, P]
        Weight of the column in the output, gain of its converter, offset of its converter in steps.
    target : int64 [P]
        Column of ``acc``.
    adc : float64 [4]
        Lower end, step, largest code (negative: no converter at all), noise in steps.
    window : (uint64, uint64)
        Number of the first window over all frames; array and pulse.
    key : uint64

    Returns
    -------
    int
        Conversions whose input lay outside of the range.
    """
    n = current.shape[1]
    lo, step, top, noise = adc[0], adc[1], adc[2], adc[3]
    # the ideal converter has neither noise nor mismatch of its own
    noise = noise if top >= 0.0 else 0.0
    has_read_noise = variance.shape[0] > 0
    noisy = has_read_noise or noise > 0.0
    draws = np.zeros(4 * ((n + 3) // 4), np.float32)
    words = np.zeros(draws.shape[0], np.uint32)
    counter = np.arange(draws.shape[0] // 4).astype(np.uint64)
    numbers = counter, np.zeros_like(counter)
    sigma = np.zeros(n, np.float64)
    value = np.empty(n, np.float64)
    power = np.ones(n, np.float64)
    if top >= 0.0:
        power[:] = (columns[1] / step) ** 2
    clipped = np.int64(0)
    for b in range(acc.shape[0]):
        if noisy:
            normals(draws, words, numbers, window[0] + np.uint64(b), window[1], key)
        if has_read_noise:
            for j in range(n):
                sigma[j] = np.sqrt(np.float64(variance[b, j]) * power[j] + noise * noise)
        elif noisy:
            sigma[:] = noise
        if top < 0.0:
            for j in range(n):
                value[j] = (current[b, j] + sigma[j] * draws[j]) * columns[0, j]
        else:
            for j in range(n):
                level = (current[b, j] * columns[1, j] - lo) / step + columns[2, j]
                code = np.rint(level + sigma[j] * draws[j])
                clipped += np.int64(code < 0.0) + np.int64(code > top)
                code = min(max(code, 0.0), top)
                value[j] = (lo + step * code) * columns[0, j]
        for j in range(n):
            acc[b, target[j]] += value[j]
    return int(clipped)


@jit
def rescale(acc: Any, digital: Any, out: Any) -> None:
    """Turn summed codes into output values.

    Parameters
    ----------
    acc : float64 [B, n]
    digital : float64 [5, n]
        Zero-point sum z, gain k, offset d, scale s and bias b of each column.
    out : float32 [B, n]
        ``s * (k * (acc - z) + d) + b``.
    """
    zero, gain, offset, scale, bias = digital[0], digital[1], digital[2], digital[3], digital[4]
    for i in range(np.uint64(acc.shape[0])):  # unsigned: no test for negative indices in the loop
        for j in range(np.uint64(acc.shape[1])):
            value = (np.float64(acc[i, j]) - zero[j]) * gain[j] + offset[j]
            out[i, j] = np.float32(value * scale[j] + bias[j])
