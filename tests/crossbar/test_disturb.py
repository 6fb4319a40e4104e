"""Writing disturbs what was written before: one write after the other, counted by hand."""

import numpy as np

from cimsim.chip.cells import build
from cimsim.crossbar.programmed import Effects, disturbed, program_array


def test_equals_writing_one_cell_after_the_other():
    rng = np.random.default_rng(0)
    lines, rows, cols, low, share = 2, 5, 4, 0.1, 0.03
    wanted = rng.uniform(low, 1.0, (lines, rows, cols))
    array = np.full((rows, cols * lines), low)
    for i in range(rows):
        for j in range(cols * lines):
            for k in range(cols * lines):
                array[i, k] -= share * (array[i, k] - low) * (k != j)
            for k in range(rows):
                array[k, j] -= share * (array[k, j] - low) * (k != i)
            array[i, j] = wanted[j % lines, i, j // lines]
    expected = np.stack([array[:, line::lines] for line in range(lines)])
    np.testing.assert_allclose(disturbed(wanted, low, share), expected, rtol=1e-12)


def test_an_array_holds_what_is_left_of_its_weights():
    q = np.full((3, 2), 100, np.int32)
    device = build("eflash", {"g_max": "10 nS", "g_min": "0 nS"})
    rngs = [np.random.default_rng(0)]
    still = program_array(q, device, 7, rngs)
    moved = program_array(q, device, 7, rngs, effects=Effects(disturb=0.01))
    assert still.is_exact
    assert not moved.is_exact
    # positive bit lines 0 and 2 of four; negative cells are erased and stay so
    later = (2 - np.arange(3))[:, None] + np.array([3, 1])[None, :]
    np.testing.assert_allclose(moved.difference, 100 * 0.99**later, rtol=1e-6)
