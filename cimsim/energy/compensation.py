"""What it takes to read an aged chip for its compensation, once."""

from __future__ import annotations

from cimsim.energy.activation import full_activation
from cimsim.engine.samples import MAX_WINDOWS
from cimsim.mapping.mapping import Mapping


def compensation(mapping: Mapping) -> tuple[float, float]:
    """Return energy (J) and time (s) of the reads that ``conditions.compensation`` takes, once.

    ``global`` drives each used row of an array alone; ``column`` (and ``conditions.recalibrate``)
    applies as many windows as calibration samples, to all arrays of a layer. A read is charged and
    timed as one of a full array (`cimsim.energy.activation.full_activation`): cells and drivers of
    a row that is driven alone by their share of it, the rest in full, which is too much where an
    array is not full. Arrays are read side by side, so the time is that of the one with most reads.
    Control and standing power are not part of it: they are on anyway.

    Parameters
    ----------
    mapping : Mapping

    Returns
    -------
    energy_j, time_s : float
        0 where nothing is compensated.
    """
    conditions, chip = mapping.chip.conditions, mapping.chip
    if conditions.fresh or (conditions.compensation == "none" and not conditions.recalibrate):
        return 0.0, 0.0
    full = full_activation(chip)
    energy_j, most = 0.0, 0
    for placed in mapping.layers:
        layout = placed.layout
        for rows in layout.rows_used:
            alone = conditions.compensation == "global"
            reads = rows if alone else min(MAX_WINDOWS, mapping.counts[placed.ops[0]].windows)
            parts = dict(full.energy_j)
            if alone:
                for name in ("array", "dac"):
                    parts[name] /= chip.array.rows
            energy_j += reads * sum(parts.values())
            most = max(most, reads)
    return energy_j, most * full.interval_s
