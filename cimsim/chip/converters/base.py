"""The contract of a column converter: its codes' errors, its time, its energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.converters.curves import inl_curves


class ConverterNumbers(Protocol):
    """What section ``adc`` of a chip says: `cimsim.chip.parts.converters.Adc`."""

    @property
    def bits(self) -> int: ...  # noqa: D102 - see Adc

    @property
    def t_conversion_s(self) -> float: ...  # noqa: D102

    @property
    def t_step_s(self) -> float | None: ...  # noqa: D102

    @property
    def energy_j(self) -> float: ...  # noqa: D102

    @property
    def noise_lsb(self) -> float: ...  # noqa: D102

    @property
    def count_noise_lsb(self) -> float: ...  # noqa: D102

    @property
    def inl_bow_lsb(self) -> float: ...  # noqa: D102

    @property
    def inl_steps_lsb(self) -> float: ...  # noqa: D102


class AbstractConverter(ABC):
    """Turns the current of a column into one of ``2**bits`` codes.

    An ideal one gives ``code = clip(rint(level), 0, 2**bits - 1)`` of the level ``(current - lo) /
    step``. What a circuit does otherwise is said in tables, which the machine code of the arrays
    takes: `curves` are added to the level, and noise of `noise_lsb` and `noise_curve`. Gain and
    offset of each column (``adc.gain_sigma``, ``adc.offset_sigma_lsb``) are those of any converter.

    Parameters
    ----------
    adc : Adc
        Section ``adc`` of a chip.

    Attributes
    ----------
    is_exact : bool
        Passes any value on, without codes.
    takes_steps : bool
        Whether it works step by step, so that ``adc.t_step`` says something of it.
    """

    is_exact: ClassVar[bool] = False
    takes_steps: ClassVar[bool] = True

    def __init__(self, adc: ConverterNumbers) -> None:
        self.adc = adc

    @abstractmethod
    def steps(self, bits: int) -> float:
        """Return the steps of a conversion to so many bits, at least 1.

        Its time goes with them: where a chip says ``t_step``, and where bits are changed.
        """

    @property
    def conversion_s(self) -> float:
        """Duration of one conversion, s: ``t_conversion``, and ``t_step`` for each step."""
        if self.adc.t_step_s is None:
            return self.adc.t_conversion_s
        return self.adc.t_conversion_s + self.steps(self.adc.bits) * self.adc.t_step_s

    @property
    def energy_j(self) -> float:
        """Energy of one conversion, J."""
        return self.adc.energy_j

    @property
    def noise_lsb(self) -> float:
        """Noise at the input, rms, in steps, the same at every level."""
        return self.adc.noise_lsb

    @property
    def is_bent(self) -> bool:
        """Whether there are `curves`."""
        return self.adc.inl_bow_lsb > 0 or self.adc.inl_steps_lsb > 0

    def curves(self, n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw the static non-linearity of the converters of an array; asked where `is_bent`.

        Parameters
        ----------
        n : int
            Converters.
        rng : numpy.random.Generator

        Returns
        -------
        float32 [m, k]
            What is added to the level, in steps, at ``k`` points from the first to the last code,
            straight in between. ``m`` curves take turns over the columns: ``n``, or fewer where
            converters share what is bent.
        """
        return inl_curves(n, self.adc.inl_bow_lsb, self.adc.inl_steps_lsb, rng)

    def noise_curve(self) -> NDArray[np.float32] | None:
        """Return noise beside `noise_lsb` that goes with the level, or None.

        Returns
        -------
        float32 [k] or None
            Rms in steps, at ``k`` points from the first to the last code.
        """
        return None
