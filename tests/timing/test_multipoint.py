"""Several points at once on the reference chip, beside what was measured on it."""

import functools

import pytest

from cimsim.chip.load import load_hw
from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net

MEASURED = {2: 1.8, 3: 2.8, 4: 3.6}  # Bai et al., TCAD 2024: a layer [3 x 3, 64]
BOTH_REGIONS = {
    "array.rows": 1792, "tile.arrays": 1, "tile.input_reuse": "row", "buffer.bytes_per_cycle": 2,
    "frames": "resident",
}  # fmt: skip


@functools.cache
def interval(width, points):
    net = Net(64, 6, width)
    net.conv("x", 64)
    hw = load_hw("wtm2101", BOTH_REGIONS)
    return simulate(map_graph(net.graph(), hw, f"multipoint:{points}"), 3).interval


def speed_up(width, points):
    return interval(width, 1) / interval(width, points)


@pytest.mark.parametrize("points", MEASURED)
def test_a_map_of_eleven_windows_a_row_explains_what_was_measured(points):
    assert speed_up(11, points) == pytest.approx(MEASURED[points], rel=0.05)
    # the last activation of a row is cut off
    assert speed_up(11, points) == pytest.approx(11 / -(-11 // points), rel=0.01)


@pytest.mark.slow
def test_no_other_width_does():
    fits = [
        width
        for width in range(4, 65)
        if all(abs(speed_up(width, p) / m - 1) <= 0.05 for p, m in MEASURED.items())
    ]
    assert fits == [11]
