"""What ohmic cells share: a current that may grow faster than the voltage across the cell.

``I = g h(V)``, ``h(V) = v_read sinh(V / V0) / sinh(v_read / V0)``: a cell of programmed
conductance ``g`` has exactly that conductance at the read voltage, where it was verified, and less
below. The sinh is that of the filament model of P.-Y. Chen and S. Yu, IEEE Transactions on Electron
Devices 62(12), 2015 (``I = I0 exp(-gap / gap0) sinh(V / V0)``). The user gives the ratio of the
currents at the read voltage and at half of it, ``k = 2 cosh(v_read / (2 V0))``, which is what
crossbar literature quotes: 2 is a linear cell, a selector has more.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, Field, field_validator

from cimsim.chip.cells.base import PARAMETERS, AbstractDevice, parameters_of
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError

LARGEST = 100.0  # v_read / V0 of 9.2; a cell with so hard a threshold needs a model of its own


class OhmicParameters(BaseModel):
    """What may stand beside ``kind`` for every device whose current is that of a resistor."""

    model_config = PARAMETERS
    nonlinearity: float = Field(
        default=2.0,
        description="current of a cell at the read voltage over that at half of it; 2 is linear",
    )

    @field_validator("nonlinearity", mode="before")
    @classmethod
    def _bounded(cls, value: object) -> float:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not 2 <= number <= LARGEST:  # not a number is neither
            raise ValueError(
                f"expected 2 (linear) .. {LARGEST:g}, the current at the read voltage over that at "
                f"half of it, got {value if math.isnan(number) else f'{number:g}'}"
            )
        return number


def bend(device: AbstractDevice, raw: object) -> None:
    """Give a device that was just built the ``nonlinearity`` of its YAML entry.

    Raises
    ------
    ConfigError
        A value out of range, or a cell whose input is no voltage across it.
    """
    given: OhmicParameters = parameters_of(OhmicParameters, {"nonlinearity": raw})
    if given.nonlinearity > 2 and device.conduction != "ohmic":
        raise ConfigError(
            f"device.nonlinearity: expected 2 for device '{device.name}', got "
            f"{given.nonlinearity:g}: inputs drive its gate or switch it, the voltage across the "
            "cell is constant; leave it out, or take an ohmic device such as rram, pcm or ideal"
        )
    device.nonlinearity = given.nonlinearity


def check_bent(chip: Chip, device: AbstractDevice) -> None:
    """Refuse non-linear cells where the chip drives or reads them in a way that is not modelled.

    Raises
    ------
    ConfigError
        Naming the field, the value and what to do.
    """
    k, dac = device.nonlinearity, chip.dac
    if k == 2:
        return
    if chip.array.mode == "charge":
        raise ConfigError(
            f"device.nonlinearity: expected 2 with array.mode: charge, got {k:g}: a cell there "
            "moves a charge C V; set array.mode: current, or leave it out"
        )
    if chip.wires.are_ideal:
        return
    if chip.wires.model == "fast":
        raise ConfigError(
            f"wires.model: fast takes cells as linear, got device.nonlinearity: {k:g}; use "
            "wires.model: exact"
        )
    if dac.encoding == "pulse_width" and (dac.bits > 1 or dac.gain_sigma > 0):
        what = f"dac.bits: {dac.bits}" if dac.bits > 1 else f"dac.gain_sigma: {dac.gain_sigma:g}"
        fix = "dac.bits: 1" if dac.bits > 1 else "dac.gain_sigma: 0"
        raise ConfigError(
            f"dac.encoding: pulse_width with {what} changes during a pulse which rows are on, and "
            f"with device.nonlinearity: {k:g} and wires.model: exact the currents are not those of "
            f"the rows one by one; use {fix} or dac.encoding: amplitude"
        )
