"""How long the lines of an array take until a read is as exact as its converter can tell.

A line of ``n`` cells with a resistance ``r`` and a capacitance ``c`` each, behind a driver of
resistance ``R``, has the Elmore delay ``R n c + r c n (n + 1) / 2`` to its last cell (W. C. Elmore,
Journal of Applied Physics 19, 55, 1948). Word line and bit line follow each other, so their delays
add up, and what is missing falls about as ``exp(-t / delay)``: half a step of a converter of ``b``
bits is reached after ``(b + 1) ln 2`` delays. A single pole of the summed delay is an upper bound
of what distributed lines take. The sense amplifier's own bandwidth is not known and not counted.
"""

from __future__ import annotations

import math

from cimsim.chip.spec import Chip

WIRE_F_M = 0.2e-15 / 1e-6  # capacitance of a wire: hwcomponents-library, misc.py


def line_capacitances_f(chip: Chip) -> tuple[float, float]:
    """Return the capacitance of a cell's piece of word line and of bit line, F.

    Those of the chip file, else those of bare wires over the pitch of a square cell; a pair is two
    cells on a word line.
    """
    pitch_m = math.sqrt(chip.array.cell_area_m2)
    given = chip.wires.c_word_f, chip.wires.c_bit_f
    word, bit = (WIRE_F_M * pitch_m if c is None else float(c) for c in given)
    return word, bit


def settling_s(chip: Chip) -> float:
    """Return how long a full array takes to settle to half a step of its converter, s.

    0 where the lines have no resistance.
    """
    wires, (c_word, c_bit) = chip.wires, line_capacitances_f(chip)
    rows, cols = chip.array.rows, chip.array.cols * chip.weights.cells_per_slice
    word = _elmore_s(wires.r_driver_ohm, wires.r_word_ohm, c_word, cols)
    bit = _elmore_s(wires.r_sense_ohm, wires.r_bit_ohm, c_bit, rows)
    return (chip.adc.bits + 1) * math.log(2) * (word + bit)


def _elmore_s(end_ohm: float, cell_ohm: float, cell_f: float, cells: int) -> float:
    return end_ohm * cell_f * cells + cell_ohm * cell_f * cells * (cells + 1) / 2
