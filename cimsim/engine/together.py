"""The same activations behind several converters at once: products and noise are made once.

Who compares what converters make of the same sums fires one layer several times, and nearly all of
that time goes into products and normals that are the same each time. What comes out has the bits of
`cimsim.engine.blocks.fire` for each converter alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.blocks import INPUTS, Sums, fire
from cimsim.engine.firing import Firing
from cimsim.jit import jit
from cimsim.kernels import conversion
from cimsim.kernels.conversion import GROUP
from cimsim.kernels.fused import BLOCK, _draw_common, _multiply, _pulse, collect_block, offsets_of
from cimsim.kernels.normals import counters, many_normals


def fire_together(
    firings: Sequence[Firing], codes: NDArray[Any], first_window: int, key: int
) -> list[NDArray[np.float32]]:
    """Apply every activation of a map to the same arrays behind other converters each time.

    Parameters
    ----------
    firings : sequence of Firing
        Of the same cells and activations; they differ in converters.
    codes, first_window, key
        See `cimsim.engine.blocks.fire`.

    Returns
    -------
    list of float32 [activations, n_outputs]
        Sums in weight LSB times input LSB, one for each firing.
    """
    if not firings:
        return []
    shape = len(firings[0].reads.bases), firings[0].layer.n_outputs
    if len(firings) < 2 or not _alike(firings):
        found = [Sums(np.empty(shape, np.float32)) for _ in firings]
        for firing, taken in zip(firings, found, strict=True):
            fire(firing, codes, first_window, key, taken)
        return [taken.sums for taken in found]
    one = firings[0]
    codes, bases = one.reads.block(codes, 0, shape[0])
    sums = np.zeros((len(firings), *shape), one.sum_dtype)
    common = (one.correlation, np.uint64(key ^ INPUTS)) if one.correlation else None
    for group, rows in enumerate(one.groups):
        for number, array in enumerate(rows.arrays):
            alike = [firing.groups[group].arrays[number] for firing in firings]
            scales = np.stack([other.scales for other in alike])
            for phase, (first, end, _) in enumerate(one.phases):
                columns = np.stack([other.phases[phase] for other in alike])
                stage = np.uint64(array.index * len(one.pulses) + first)
                _read_out(
                    codes, (bases, rows.runs), one.packed_pulses[first:end], array.planes,
                    columns, array.stretches, scales,
                    (np.uint64(first_window), stage, np.uint64(key)), sums, common,
                )  # fmt: skip
    return [part.astype(np.float32, copy=False) for part in sums]


def _alike(firings: Sequence[Firing]) -> bool:
    """Whether all take the fast path on the same cells, which fluctuate."""
    one = firings[0]
    cells = [array.written for array in one.layer.arrays]
    return all(
        firing.is_fast and not firing.by_bits and firing.sum_dtype == one.sum_dtype
        and all(
            array.written is written and written.noise is not None
            for array, written in zip(firing.layer.arrays, cells, strict=True)
        )
        for firing in firings
    )  # fmt: skip


@jit
def _read_out(
    codes: Any, places: Any, pulses: Any, planes: Any, columns: Any, target: Any, adcs: Any,
    counter: Any, sums: Any, common: Any,
) -> None:  # fmt: skip
    """Do what `cimsim.kernels.fused.read_out` does, without statistics, for several converters.

    Parameters
    ----------
    codes, places, pulses, planes, target, counter, common
        See there; the planes have read noise.
    columns : float32 or float64 [n, 5, 16 * panels]
        For each converter.
    adcs : float32 or float64 [n, 3]
    sums : float32 or float64 [n, B, n_cols]
        Added to.
    """
    bases, runs = places
    n_rows, width = runs[-1, 0] + runs[-1, 2], columns.shape[2]
    depth = -(-n_rows // 4) * 4
    offsets = offsets_of(runs)
    vectors = np.zeros((BLOCK, depth), codes.dtype)
    x, squares = np.zeros((BLOCK, depth), np.uint8), np.zeros((BLOCK, depth), np.uint8)
    high, low = np.zeros((BLOCK, width), np.int32), np.zeros((BLOCK, width), np.int32)
    spread = np.zeros((BLOCK, width), np.int32)
    exponents = np.zeros(BLOCK, np.int64)
    # whole groups of normals, as `read_out` draws them
    rows = -(-BLOCK // -(-BLOCK // max(1, GROUP // width)))
    tiled = np.empty((columns.shape[0], columns.shape[1], rows * width), columns.dtype)
    for k in range(columns.shape[0]):
        conversion.tile(columns[k], tiled[k])
    flat_high, flat_low = high.reshape(-1), low.reshape(-1)
    value = np.empty(rows * width, columns.dtype)
    variance = np.empty(rows * width, columns.dtype)
    draws, own = np.zeros(rows * width, np.float32), np.zeros(rows * width, np.float32)
    numbers = np.zeros((rows, width // 4), np.uint64), np.zeros((rows, width // 4), np.uint64)
    counters(numbers[0], numbers[1])
    flat_numbers = numbers[0].reshape(-1), numbers[1].reshape(-1)
    share = np.zeros(BLOCK)
    kept = np.zeros(0 if common is None else -(-BLOCK // rows) * rows * width, np.float32)
    for start in range(0, bases.shape[0], BLOCK):
        used = min(BLOCK, bases.shape[0] - start)
        collect_block(codes, bases[start : start + used], runs, offsets, vectors)
        if common is not None:
            where = counter[0] + np.uint64(start), counter[1]
            _draw_common(
                vectors, used, pulses, common, where, flat_numbers, (rows, width), kept, share
            )
        for p in range(pulses.shape[0]):
            drop, mask, exponent = pulses[p, 0], pulses[p, 1], pulses[p, 2]
            _pulse(vectors, used, drop, mask, x)
            _multiply(x, used, squares, planes, (high, low, spread), exponents, (mask, exponent))
            scale = 1.0 / (1 << exponent)
            for b in range(0, used, rows):
                count = min(rows, used - b)
                many_normals(
                    draws, flat_numbers, counter[0] + np.uint64(start + b),
                    counter[1] + np.uint64(p), counter[2],
                )  # fmt: skip
                conversion.scale(spread, b, count, exponents, scale * scale, variance)
                at, n, shift = (b * width, b * width, 0), count * width, drop + exponent
                for k in range(columns.shape[0]):
                    own[:] = draws
                    if common is not None:
                        conversion.mix(
                            own, kept, b * width, share, b, variance, tiled[k], (count, width)
                        )
                    if adcs[k, 2] >= 0:
                        conversion.convert(
                            flat_high, flat_low, at, scale, variance, own, tiled[k], adcs[k],
                            shift, value, n,
                        )  # fmt: skip
                    else:
                        conversion.convert_other(
                            flat_high, flat_low, at, scale, variance, own, tiled[k], adcs[k],
                            shift, value, n,
                        )  # fmt: skip
                    conversion.add(sums[k], (start + b, count), value, 0, (0, width), target, False)
