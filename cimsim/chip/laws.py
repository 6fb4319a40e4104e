"""How numbers go with what they were given for: only ratios of a law's results are used.

A law takes (chip, section, field) and returns the number for that chip up to a factor. What
estimators know is taken from them; beyond the range of a fit a law goes on as the fit ends, as the
rescaled number is marked anyway.
"""

from __future__ import annotations

from collections.abc import Callable

from cimsim.chip.estimators import DEFAULTS, ESTIMATORS
from cimsim.chip.estimators.adc import survey_area_m2, survey_energy_j
from cimsim.chip.estimators.scaling import Scaling, log_log
from cimsim.chip.estimators.sram import KIB, SramLstp
from cimsim.chip.spec import Chip

Law = Callable[[Chip, str, str], float]
_BITS = (4, 16)  # of the survey
_RATES_HZ = (1e3, 1e10)


def _scaling(chip: Chip) -> Scaling:
    """From the supply to the supply: that part of a change is `cimsim.chip.voltage`'s."""
    return Scaling(40e-9, 1.0, chip.process.node_m, 1.0)


def _estimator(chip: Chip, section: str, field: str) -> float:
    return ESTIMATORS[DEFAULTS[section]].estimate(chip, section)[field]


def _adc(chip: Chip, field: str) -> float:
    """Return the survey's fit; half per bit below it, a factor of four per bit above it.

    At the rate that the circuit would have with eight bits: a SAR of fewer is no faster a circuit.
    """
    if chip.adc.converter.is_exact:
        return 1.0
    bits = min(max(chip.adc.bits, _BITS[0]), _BITS[1])
    steps = chip.adc.converter.steps
    eight = chip.adc.conversion_s * steps(8) / steps(chip.adc.bits)
    rate = min(max(1 / eight, _RATES_HZ[0]), _RATES_HZ[1])
    low, high = min(chip.adc.bits - _BITS[0], 0), max(chip.adc.bits - _BITS[1], 0)
    beyond = float(2.0**low * 4.0**high)
    if field == "energy":
        return beyond * survey_energy_j(bits, rate, chip.process.node_m)
    return float(beyond**0.3 * survey_area_m2(bits, rate, chip.process.node_m))


def _conversion(chip: Chip, section: str, field: str) -> float:
    """Count steps: a SAR decides bit by bit, a ramp and a counter pass all codes, a flash one.

    Where ``adc.t_step`` gives the steps, ``t_conversion`` is what comes on top of them.
    """
    return 1.0 if chip.adc.t_step_s is not None else chip.adc.converter.steps(chip.adc.bits)


def _sram(chip: Chip, section: str, field: str) -> float:
    scale, size_kib = _scaling(chip), getattr(chip, section).size_b / 1024
    factor = {"leakage": scale.leakage, "area": scale.area}.get(field, scale.energy)
    return factor * log_log(KIB, SramLstp.table[field], size_kib)


def _dac(chip: Chip, section: str, field: str) -> float:
    scale = _scaling(chip)
    return 2.0**chip.dac.bits * (scale.area if field == "area" else scale.energy)


LAWS: dict[str, Law] = {
    "estimator": _estimator,
    "converter survey": lambda chip, _, field: _adc(chip, field),
    "steps of a conversion": _conversion,
    "SRAM table": _sram,
    "capacitive DAC": _dac,
    "cells of an array": lambda chip, *_: float(chip.array.rows * chip.array.cols),
    "lines of an array": lambda chip, *_: float(chip.array.rows + chip.array.cols),
    "columns": lambda chip, *_: float(chip.array.cols),
    "squares of the feature size": lambda chip, *_: chip.process.node_m**2,
    "tiles": lambda chip, *_: float(chip.tile.count),
    "clock": lambda chip, *_: chip.process.clock_hz,
    "node": lambda chip, *_: _scaling(chip).energy,
    "input bits": lambda chip, *_: chip.inputs.bits * _scaling(chip).energy,
    # a multiplier of scale and sum beside a 32-bit adder, the shares of `vector_aladdin`
    "multiplier bits": lambda chip, *_: (
        (0.25 * (chip.inputs.bits + chip.weights.bits) / 16 + 0.21) * _scaling(chip).energy
    ),
    # the shares of `matmul_aladdin`
    "product bits": lambda chip, *_: (0.25 * chip.inputs.bits / 8 + 0.21) * _scaling(chip).energy,
    "lanes": lambda chip, section, field: (
        getattr(chip, section).lanes
        * (_scaling(chip).leakage if field == "leakage" else _scaling(chip).area)
    ),
}
