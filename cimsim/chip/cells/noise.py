"""What a chip file may say of the speed of its cells' read noise, beside any kind of device.

::

    device:
      kind: rram
      noise: {corner: 100 kHz, span: 1 h}   # 1/f noise that was watched for an hour

Without it a device's noise has the spectrum of its source, and where the source states none, it is
white: other in each pulse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, Field, model_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, parameters_of
from cimsim.chip.cells.spectrum import Spectrum, flicker_variance
from cimsim.errors import ConfigError
from cimsim.units import format_si, quantity


class NoiseParameters(BaseModel):
    """What stands under ``device.noise``: how the read noise is spread over frequency."""

    model_config = PARAMETERS
    corner_hz: quantity("Hz", maximum=1e12) = Field(  # type: ignore[valid-type]
        default=0.0,
        alias="corner",
        description="where the 1/f part is as large as the white part; 0: no 1/f part",
    )
    span_s: quantity("s", exclusive=True) = Field(  # type: ignore[valid-type]
        default=3600.0,
        alias="span",
        description="slowest fluctuation that counts, as a time: as long as the noise was watched",
    )
    read_s: quantity("s", exclusive=True, maximum=1.0) | None = Field(  # type: ignore[valid-type]
        default=None,
        alias="read",
        description="duration of the reads that the size of the noise was measured with; default: "
        "a pulse of this chip",
    )
    telegraph: quantity("1", maximum=1.0) = Field(  # type: ignore[valid-type]
        default=0.0, description="share of the variance of such a read that is a telegraph signal"
    )
    telegraph_corner_hz: quantity("Hz", exclusive=True, maximum=1e12) | None = Field(  # type: ignore[valid-type]
        default=None,
        alias="telegraph_corner",
        description="corner of its Lorentzian: switches per second over pi",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.telegraph > 0) != (self.telegraph_corner_hz is not None):
            raise ValueError(
                "telegraph_corner: expected beside a share 'telegraph' above 0 and nowhere else, "
                "such as 'telegraph: 40 %, telegraph_corner: 2 kHz'"
            )
        return self

    def spectrum(self, pulse_s: float) -> Spectrum:
        """Return the shares of one read; ``pulse_s`` is the duration of a pulse on the chip."""
        read_s = pulse_s if self.read_s is None else float(self.read_s)
        if self.corner_hz > 0 and self.span_s < read_s:
            raise ConfigError(
                f"device.noise.span: expected at least the duration of a read, "
                f"{format_si(read_s, 's')}, got {format_si(self.span_s, 's')}: nobody watches "
                "noise for less than that"
            )
        white = 1 / (2 * read_s)  # of a density of 1
        flicker = self.corner_hz * flicker_variance(read_s, self.span_s)
        rest = (1 - self.telegraph) / (white + flicker)
        corner_hz = 1.0 if self.telegraph_corner_hz is None else self.telegraph_corner_hz
        return Spectrum(
            white * rest, flicker * rest, self.telegraph, self.span_s, read_s, corner_hz
        )


def colour(device: AbstractDevice, raw: object) -> None:
    """Give a device that was just built the ``noise`` of its YAML entry.

    Raises
    ------
    ConfigError
        No mapping, an unknown field, or a value out of range.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(
            f"device.noise: expected fields such as {{corner: 100 kHz, span: 1 h}}, got {raw!r}"
        )
    given: NoiseParameters = parameters_of(NoiseParameters, raw, "device.noise")
    device.colour = given.spectrum
