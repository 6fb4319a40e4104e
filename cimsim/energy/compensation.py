"""What it takes to read an aged chip for its compensation, once."""

from __future__ import annotations

import math

from cimsim.energy.activation import full_activation
from cimsim.engine.calibrate import MIN_WINDOWS
from cimsim.engine.samples import MAX_WINDOWS
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.placement import PlacedLayer


def compensation(mapping: Mapping, samples: int | None = None) -> tuple[float, float]:
    """Return energy (J) and time (s) of the reads that ``conditions.compensation`` takes, once.

    ``global`` drives each used row of an array alone; ``column`` (and ``conditions.recalibrate``)
    applies the windows of all calibration samples, as many as calibration looks at, to all arrays
    of a layer. A read is charged and timed as one of a full array
    (`cimsim.energy.activation.full_activation`): cells and drivers of a row that is driven alone by
    their share of it, the rest in full, which is too much where an array is not full. Arrays are
    read side by side, so the time is that of the one with most reads. Control and standing power
    are not part of it: they are on anyway.

    Parameters
    ----------
    mapping : Mapping
    samples : int, optional
        Inputs of the network that the chip is calibrated on; default: ``calibration.frames``.

    Returns
    -------
    energy_j, time_s : float
        0 where nothing is compensated.
    """
    conditions, chip = mapping.chip.conditions, mapping.chip
    if conditions.fresh or (conditions.compensation == "none" and not conditions.recalibrate):
        return 0.0, 0.0
    full = full_activation(chip)
    alone = conditions.compensation == "global"
    parts = dict(full.energy_j)
    if alone:
        for name in ("array", "dac"):
            parts[name] /= chip.array.rows
    each_j, energy_j, most = sum(parts.values()), 0.0, 0
    for placed in mapping.layers:
        again = _windows(mapping, placed, chip.calibration.frames if samples is None else samples)
        for rows in placed.layout.rows_used:
            reads = rows if alone else again
            energy_j += len(placed.slots) * reads * each_j
            most = max(most, reads)
    return energy_j, most * full.interval_s


def _windows(mapping: Mapping, placed: PlacedLayer, samples: int) -> int:
    """Return how many activations of a layer calibration looks at.

    Uses of one matrix with few windows each, as time steps, are calibrated together.
    """
    uses = [mapping.counts[name].windows for name in placed.ops]
    together = sum(windows for windows in uses if windows < MIN_WINDOWS)
    groups = [*(windows for windows in uses if windows >= MIN_WINDOWS), together]
    found = sum(min(MAX_WINDOWS, samples * windows) for windows in groups)
    return math.ceil(found / placed.layout.windows_per_activation)
