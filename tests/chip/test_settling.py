"""How long lines settle, against the step response of a ladder; and what is said of it."""

import math

import numpy as np
import pytest
from scipy.linalg import expm

from cimsim.chip.load import load_hw
from cimsim.chip.settling import line_capacitances_f, settling_s
from cimsim.session.doubts import chip_doubts

SMALL = {"array.rows": 60, "array.cols": 20, "wires.model": "exact", "adc.bits": 8}


def chip(**wires):
    return load_hw("eflash40nm", SMALL | {f"wires.{name}": value for name, value in wires.items()})


def missing(n, end, cell, farads, time_s):
    """Voltage that the last cell of a driven line lacks after a step: all nodes, exactly."""
    matrix = np.zeros((n, n))
    for i in range(n):
        before = end + cell if i == 0 else cell
        matrix[i, i] -= 1 / before
        if i:
            matrix[i, i - 1] += 1 / before
        if i < n - 1:
            matrix[i, i] -= 1 / cell
            matrix[i, i + 1] += 1 / cell
    return (expm(matrix / farads * time_s) @ np.ones(n))[-1]


@pytest.mark.parametrize(("end", "cell"), [(1e4, 1.0), (1e3, 100.0), (1.0, 300.0)])
def test_a_line_is_settled_when_it_is_said_to_be(end, cell):
    wanted = 2.0**-9  # half a step of 8 bits
    time_s = settling_s(chip(r_bit=f"{cell} ohm", r_sense=f"{end} ohm", c_bit="1 fF"))
    assert missing(60, end, cell, 1e-15, time_s) < 1.05 * wanted
    # at most half as long again as it needs
    assert missing(60, end, cell, 1e-15, time_s / 1.5) > wanted


def test_capacitances_are_those_of_the_file_or_of_the_pitch():
    pitch = line_capacitances_f(chip())
    assert pitch[0] == pitch[1] == pytest.approx(0.2e-9 * math.sqrt(0.69e-12), rel=0.01)
    assert line_capacitances_f(chip(c_word="2 fF", c_bit="3 fF")) == (2e-15, 3e-15)
    assert settling_s(chip()) == 0


def codes(hw):
    return {doubt.code: str(doubt) for doubt in chip_doubts(hw)}


def test_a_read_that_is_too_short_for_its_lines_is_doubted():
    fast, slow = (chip(r_bit=f"{ohm} kohm", c_bit="10 fF") for ohm in (10, 100))
    assert settling_s(fast) < fast.array.t_read_s < settling_s(slow)
    assert "settling" not in codes(fast)
    text = codes(slow)["settling"]
    assert "array.t_read: 6.20 µs" in text
    assert "settle to half a step of 8 bits" in text
    assert "settling" not in codes(chip(r_bit="5 ohm"))


def test_word_line_resistance_of_cells_whose_gates_are_driven_is_doubted():
    assert "no direct current" in codes(chip(r_word="5 ohm"))["gate-lines"]
    assert "wires.r_driver" in codes(chip(r_driver="5 ohm"))["gate-lines"]
    assert "gate-lines" not in codes(chip(r_bit="5 ohm"))
    ohmic = load_hw("neurram130nm", {"wires.model": "exact", "wires.r_word": "1 ohm"})
    assert "gate-lines" not in codes(ohmic)
