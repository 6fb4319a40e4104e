"""Which arithmetic reads the arrays of an operation: decided here alone, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cimsim.engine.program import PlacedArray, ProgrammedLayer
from cimsim.kernels import bitwise
from cimsim.kernels.arrays import Int64

_BYTE = 255


@dataclass(frozen=True, slots=True)
class Path:
    """A way to read arrays, and why it is taken.

    Attributes
    ----------
    way : {"bytes", "bits", "floats"}
        Integer products of bytes (`cimsim.kernels.fused`), sums of single bits that are looked up
        (`cimsim.kernels.bitwise`), or products of floats with one step after the other
        (`cimsim.kernels.floats`). Bytes and bits give the same results, bit for bit.
    why : str
        A few words.
    """

    way: Literal["bytes", "bits", "floats"]
    why: str

    @classmethod
    def of(
        cls, layer: ProgrammedLayer, pulses: Int64, r_supply_ohm: float,
        by_level: bool = False,
    ) -> Path:  # fmt: skip
        """Decide for all arrays of a layer.

        Integer products have to be exact, and fluctuations have to be each column's own.

        Parameters
        ----------
        layer : ProgrammedLayer
        pulses : int64 [n_pulses, 3]
            See `cimsim.kernels.fused.pulse_bits`.
        r_supply_ohm : float
            Between the supply and the drivers of an array.
        by_level : bool
            Whether the noise of converters goes with the level.
        """
        largest = int((pulses[:, 1] >> pulses[:, 2]).max())
        for why in _against_integers(layer.arrays, largest, r_supply_ohm, by_level):
            return cls("floats", why)
        against = bitwise.why_not(pulses, max(array.written.n_rows for array in layer.arrays))
        if against is None:
            return cls("bits", "pulses of one bit")
        return cls("bytes", against)


def _against_integers(
    arrays: tuple[PlacedArray, ...], largest: int, r_supply_ohm: float, by_level: bool
) -> Iterator[str]:
    """Give what integer products cannot do of these arrays; what is quickly seen comes first."""
    if r_supply_ohm > 0:
        yield "the supply droops"
    if by_level:
        yield "the noise of converters goes with the level"
    if largest > _BYTE:
        yield f"pulses of {largest.bit_length()} bits"
    if any(array.dac_curves.size for array in arrays):
        yield "drivers are bent"
    if any(array.written.steepness for array in arrays):
        yield "cells are bent"
    if any(array.adc_curves.size for array in arrays):
        yield "converters are bent"
    if any(array.written.reference_variance is not None for array in arrays):
        yield "noise of reference columns"
    if any(array.written.signal is None for array in arrays):
        yield "cells of more than 16 bits"
