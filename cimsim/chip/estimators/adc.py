"""Converters: a fit to the published survey."""

from __future__ import annotations

import math
from typing import ClassVar

from cimsim.chip.estimators.base import AbstractEstimator, within
from cimsim.chip.spec import Chip


def survey_energy_j(bits: float, rate_hz: float, node_m: float) -> float:
    """Energy of one conversion, J.

    Parameters
    ----------
    bits : float
        Resolution, 4 .. 16.
    rate_hz : float
        Conversions per second of one converter, up to 10 GHz.
    node_m : float
        Feature size.
    """
    node = math.log(node_m * 1e9)
    # the figure of merit falls for fast converters and is capped by what slow ones reach
    slow = 128.306829 + 3.220512 * math.ceil(bits)
    merit_db = min(213.780669 - 2.871903 * math.log(rate_hz), slow)
    sndr_db = 20 * bits * math.log10(2) + 10 * math.log10(1.5)
    ideal = 1 / (2 * 10 ** ((merit_db - sndr_db) / 10))
    picojoules = ideal * math.exp(
        26.049622 + 1.880037 * node - 2.829126 * math.log(bits) - 1.470202
    )
    return picojoules * 1e-12


def survey_area_m2(bits: float, rate_hz: float, node_m: float) -> float:
    """Area of one converter, m2; parameters as in `survey_energy_j`."""
    picojoules = survey_energy_j(bits, rate_hz, node_m) * 1e12
    square_microns = math.exp(
        1.346192
        + 0.993279 * math.log(node_m * 1e9)
        + 0.180715 * math.log(rate_hz)
        + 0.299124 * math.log(picojoules)
    )
    return square_microns * 1e-12


class AdcSurvey(AbstractEstimator):
    """Energy and area of a converter that runs at ``1 / conversion time``.

    The fit is an optimistic bound (best decile of the area, last summand of the energy); silicon
    lies within a factor of three on either side of it.
    """

    gives: ClassVar = ("energy", "area")
    formula: ClassVar = "figure of merit by rate and bits, node**1.88; see chip/estimators/adc.py"
    source: ClassVar = "Accelergy ADC plug-in, fit to Murmann's survey 1997-2023; +-3x"

    def estimate(self, chip: Chip, section: str) -> dict[str, float]:
        """See the base class; valid for 4 .. 16 bits, 1 kHz .. 10 GHz and 7 .. 250 nm."""
        bits = within("adc.bits", chip.adc.bits, 4, 16, "")
        rate = within("1 / adc.t_conversion", 1 / chip.adc.conversion_s, 1e3, 1e10, "Hz")
        node = within("process.node", chip.process.node_m, 7e-9, 250e-9, "m")
        return {
            "energy": survey_energy_j(bits, rate, node),
            "area": survey_area_m2(bits, rate, node),
        }
