"""A chip at another supply: what of its description changes, and by how much.

Which field goes how, each field says itself (``scales`` of its `cimsim.chip.fact.Fact`). With
``r = operating.vdd / process.vdd`` and ``s`` the ratio of speeds:

- energy of an action: times ``r**energy_exponent``; 2 is ``C V**2`` of full swings;
- clock: times ``s``; drive, step and conversion times: by ``s``;
- leakage and other static power: times ``r``, the same current from another supply;
- power while something works (``array.active_power``, ``tile.clock_power``, ``processor.power``):
  energy over time, times ``s r**energy_exponent``;
- what has supplies of its own (``dram``, ``io``): nothing;
- charge-mode arrays swing with the supply, so ``array.v_read`` changes with it (``V**2`` of the
  array's energy then always has the exponent 2, corrected in ``cell_capacitance`` for another).
  Current-mode arrays keep their read voltage, their cells were programmed for it.

``s``: 1 (``fixed``); ``((V - Vt)**alpha / V) / ((V0 - Vt)**alpha / V0)`` (``alpha``: Sakurai and
Newton, JSSC 25(2), 1990); or the ratio of two clocks between the points of a table, on straight
lines, never beyond them.
"""

from __future__ import annotations

from itertools import pairwise

from cimsim.chip.fields import changed, scaling
from cimsim.chip.parts.process import Operating
from cimsim.chip.spec import Chip
from cimsim.units import format_si, parse_quantity


def at_operating_point(chip: Chip) -> Chip:
    """Return the chip at ``operating.vdd``: that is its ``process.vdd`` then.

    Raises
    ------
    ValueError
        A supply at or below the threshold of the alpha-power law, or outside of the table; a table
        that is no table.
    """
    point, nominal = chip.operating, chip.process.vdd_v
    if point.vdd_v is None or point.vdd_v == nominal:
        return chip
    volts = point.vdd_v / nominal
    energy, speed = volts**point.energy_exponent, _speed(point, nominal)
    factors = {"energy": energy, "static": volts, "active": energy * speed, "time": 1 / speed}
    new: dict[str, object] = {}
    for kind, factor in factors.items():
        for field in scaling(kind):
            value = field.number(chip)
            if value:  # zero says that nothing was given
                new[field.path] = value * factor
    new |= {"process.vdd": point.vdd_v, "process.clock": chip.process.clock_hz * speed}
    if chip.array.mode == "charge":
        new["array.v_read"] = chip.array.v_read_v * volts
        new["array.cell_capacitance"] = chip.array.cell_capacitance_f * energy / volts**2
    return changed(chip, new).model_copy(update={"operating": Operating()})


def _speed(point: Operating, nominal_v: float) -> float:
    vdd = point.vdd_v
    if vdd is None or point.frequency == "fixed":
        return 1.0
    if point.frequency == "table":
        return _clock(point, vdd) / _clock(point, nominal_v)
    threshold = point.v_threshold_v
    if min(vdd, nominal_v) <= threshold:
        raise ValueError(
            f"operating.vdd: expected more than operating.v_threshold = "
            f"{format_si(threshold, 'V')}, got {format_si(min(vdd, nominal_v), 'V')}"
        )

    def law(v: float) -> float:
        return float((v - threshold) ** point.alpha) / v

    return law(vdd) / law(nominal_v)


def _clock(point: Operating, vdd_v: float) -> float:
    try:
        points = sorted(
            (parse_quantity(volts, "V"), parse_quantity(clock, "Hz"))
            for volts, clock in point.table.items()
        )
    except ValueError as error:
        raise ValueError(f"operating.table: {error}") from None
    if any(clock <= 0 for _, clock in points):
        raise ValueError("operating.table: expected clocks of more than 0 Hz")
    if not points or not points[0][0] <= vdd_v <= points[-1][0]:
        raise ValueError(
            "operating.table: expected clocks for supplies on both sides of "
            f"{format_si(vdd_v, 'V')}, got {len(points)} supplies"
            + (f" from {format_si(points[0][0], 'V')} to {format_si(points[-1][0], 'V')}"
               if points else "")
        )  # fmt: skip
    for (v0, f0), (v1, f1) in pairwise(points):
        if v0 <= vdd_v <= v1 and v1 > v0:
            return f0 + (f1 - f0) * (vdd_v - v0) / (v1 - v0)
    return points[0][1]
