"""The same activations behind several converters at once: products and noise are made once.

Who compares what converters make of the same sums fires one layer several times, and nearly all of
that time goes into products and normals that are the same each time. What comes out has the bits of
`cimsim.engine.blocks.fire` for each converter alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.blocks import SUMS, Sums, fire, shared_noise
from cimsim.engine.firing import Firing
from cimsim.kernels import fused
from cimsim.kernels.arrays import Codes, empty
from cimsim.kernels.conversion import Converter
from cimsim.kernels.normals import Stream

_UNCOUNTED = np.empty(0, np.int64)  # pulse values, which one converter's run counts


def fire_together(
    firings: Sequence[Firing], codes: Codes, first_window: int, key: int
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
        found = [Sums(empty(shape, np.float32)) for _ in firings]
        for firing, taken in zip(firings, found, strict=True):
            fire(firing, codes, first_window, key, taken)
        return [taken.sums for taken in found]
    one = firings[0]
    codes, bases = one.reads.block(codes, 0, shape[0])
    sums = np.zeros((len(firings), *shape), one.sum_dtype)
    common = shared_noise(one, key)
    for group, rows in enumerate(one.groups):
        for number, array in enumerate(rows.arrays):
            alike = [firing.groups[group].arrays[number] for firing in firings]
            scales = np.stack([other.scales for other in alike])
            for place, phase in enumerate(one.phases_of(array)):
                columns = np.stack([other.phases[place] for other in alike])
                fused.read_out(
                    fused.Inputs(codes, bases, rows.runs),
                    fused.Pulses(one.packed_pulses[phase.first : phase.end], one.power),
                    array.planes, Converter(columns[0], scales[0]),
                    Stream(np.uint64(first_window), np.uint64(phase.stage), np.uint64(key)),
                    fused.Outputs(sums[0], array.stretches, False, _UNCOUNTED, SUMS),
                    common, (columns[1:], scales[1:], sums[1:]),
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
