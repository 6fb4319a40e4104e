"""What the arrays really did, counted where they are fired."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class OpStatistics:
    """Actions of one operation; adds up over frames.

    Attributes
    ----------
    frames : int
    windows : int
        Input vectors applied.
    activations : int
        Arrays fired, once per window.
    pulses : int
        Pulses summed over activations.
    conversions : int
        Columns digitised.
    dac_conversions : int
        Rows driven, summed over pulses.
    saturations : int
        Conversions whose input lay outside of the converter's range.
    conductance_s : float
        Sum of ``(x / x_fs)**p * G`` over all applied pulses and all cells on the driven rows (both
        of a pair), S; ``x`` is the value of one pulse and ``x_fs`` its full scale, ``p`` is 2 for
        an ohmic cell driven by amplitude, else 1. Read energy of the arrays: ``v_read**2 * t_read``
        times this.
    input_codes : int
        Sum of the input codes of the map, each pixel once.
    input_values : int
        Number of these codes times the largest code.
    inputs, clipped : int
        Values of the map, each once, and those beyond the ends of the input code. A quantised
        network's own code counts none: it was trained with its ends.
    effective_sum : float
        Effective bits of the converters, summed over conversions.
    """

    frames: int = 0
    windows: int = 0
    activations: int = 0
    pulses: int = 0
    conversions: int = 0
    dac_conversions: int = 0
    saturations: int = 0
    conductance_s: float = 0.0
    input_codes: int = 0
    input_values: int = 0
    effective_sum: float = 0.0
    inputs: int = 0
    clipped: int = 0

    @property
    def input_mean(self) -> float:
        """Mean input code over the largest code, 0 .. 1."""
        return self.input_codes / self.input_values if self.input_values else 0.0

    @property
    def clipped_inputs(self) -> float:
        """Share of the inputs that lie beyond the ends of their code, 0 .. 1."""
        return self.clipped / self.inputs if self.inputs else 0.0

    @property
    def saturated(self) -> float:
        """Share of the conversions whose input lay outside of the converter's range, 0 .. 1."""
        return self.saturations / self.conversions if self.conversions else 0.0

    @property
    def effective_bits(self) -> float | None:
        """Bits of information in a code, see `cimsim.crossbar.adc.AdcRange.effective_bits`.

        Measured on the calibration windows: the mean over the arrays of an operation, and over the
        conversions of several; None for ideal converters.
        """
        return self.effective_sum / self.conversions if self.effective_sum else None

    def __add__(self, other: OpStatistics) -> OpStatistics:
        return OpStatistics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Statistics:
    """Actions of a network, by operation in execution order; adds up over frames."""

    by_op: dict[str, OpStatistics]

    @property
    def total(self) -> OpStatistics:
        """Sum over the operations (frames are counted once for each)."""
        return sum(self.by_op.values(), OpStatistics())

    def __add__(self, other: Statistics) -> Statistics:
        names = list(dict.fromkeys([*self.by_op, *other.by_op]))
        none = OpStatistics()
        return Statistics(
            {name: self.by_op.get(name, none) + other.by_op.get(name, none) for name in names}
        )
