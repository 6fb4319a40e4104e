"""What a mapping says of the speed of reads, and so of which reads share their noise."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.cells.spectrum import Reads, Shares
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.mapping import Mapping
from cimsim.mapping.placement import PlacedLayer


def reads_of(mapping: Mapping, placed: PlacedLayer) -> Reads:
    """Return durations of a layer's reads: a pulse, the way to the next one, a frame.

    A frame lasts as long as the busiest array fires without a pause: what else may hold it up
    (buffers, links) is not looked at. The split of 1/f noise goes with the logarithm of it.
    """
    chip = mapping.chip
    frame_s = max(_busy_s(mapping, layer) for layer in mapping.layers)
    return Reads(chip.drive_s, chip.pulse_interval_s(max(placed.layout.cols_used)), frame_s)


def _busy_s(mapping: Mapping, placed: PlacedLayer) -> float:
    """Return how long the pulses of one frame keep an array of a layer."""
    chip, layout = mapping.chip, placed.layout
    each_s = chip.pulse_interval_s(max(layout.cols_used))
    total = 0
    for name in placed.ops:
        op = mapping.graph[name]
        if isinstance(op, MatrixOp):
            total += layout.activations(op.window_grid) * chip.pulses_for(op.signed)
    return total * each_s / len(placed.slots)


def noise_shares(
    mapping: Mapping,
    device: AbstractDevice,
    placed: PlacedLayer,
    time_s: float,
    weights: Sequence[float] = (1.0,),
) -> Shares:
    """Return what of the read noise is held over a frame, shared by pulses, and fresh.

    Parameters
    ----------
    mapping : Mapping
    device : AbstractDevice
    placed : PlacedLayer
    time_s : float
        Since programming.
    weights : sequence of float
        What a unit of each pulse of one phase counts in the output.

    Returns
    -------
    Shares
        All of it fresh where nobody says how fast the noise is.
    """
    if device.colour is None and not device.states_spectrum:
        return Shares(0.0, 0.0, 1.0)
    reads = reads_of(mapping, placed)
    spectrum = device.spectrum(reads.pulse_s, time_s)
    return Shares(0.0, 0.0, 1.0) if spectrum is None else spectrum.shares(reads, weights)
