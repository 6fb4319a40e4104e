import math

import numpy as np
import pytest

from cimsim.arrays.encode import magnitude_slices
from cimsim.arrays.programmed import program_array
from cimsim.devices import build

EXACT = {"g_max": "11.5 nS", "g_min": "0.01 nS"}
G_MAX, G_MIN = 11.5e-9, 0.01e-9


def rngs(n, seed=0):
    return [np.random.default_rng([seed, s]) for s in range(n)]


def random_weights(rows, cols, q_max=127, seed=0):
    return np.random.default_rng(seed).integers(-q_max, q_max + 1, (rows, cols)).astype(np.int32)


@pytest.mark.parametrize("slice_bits", [1, 2, 3, 4, 7])
def test_without_errors_slices_of_pulses_give_the_integer_product(slice_bits):
    slices = -(-7 // slice_bits)
    q = random_weights(33, 5)
    array = program_array(q, build("eflash", EXACT), slice_bits, rngs(slices))
    x = np.random.default_rng(1).integers(0, 256, (20, 33))
    sums = array.partial_sums(x).reshape(20, slices, 5)
    weights = 2.0 ** (slice_bits * np.arange(slices))
    np.testing.assert_array_equal(np.einsum("bsc,s->bc", sums, weights), x @ q)
    assert array.is_exact
    assert array.read_variance is None
    assert (array.n_rows, array.n_cols, array.n_physical_cols) == (33, 5, 5 * slices)
    assert array.largest_sum == np.abs(magnitude_slices(q, slice_bits, slices)).sum(axis=1).max()


def test_a_hand_made_array():
    device = build("ideal", {"g_max": "3 uS", "g_min": "0 S"})
    array = program_array(np.array([[3, -1], [0, 2]], np.int32), device, 2, rngs(1))
    np.testing.assert_array_equal(array.difference, [[3, -1], [0, 2]])
    np.testing.assert_allclose(array.row_conductance_s, [4e-6, 2e-6])
    np.testing.assert_array_equal(array.partial_sums(np.array([[1, 3]])), [[3, 5]])


def test_rows_conduct_through_both_cells_of_every_pair_and_slice():
    q = random_weights(12, 7)
    array = program_array(q, build("eflash", EXACT), 3, rngs(3))
    step = (G_MAX - G_MIN) / 7
    cells = np.abs(magnitude_slices(q, 3, 3)).sum(axis=(0, 2)) * step + 2 * 3 * 7 * G_MIN
    np.testing.assert_allclose(array.row_conductance_s, cells, rtol=1e-12)


def test_programming_error_alone_has_its_closed_form_variance():
    q = np.repeat([[10, -60, 127]], 40_000, axis=0).astype(np.int32)
    device = build("eflash", EXACT | {"sigma_program": "1.75 %"})
    array = program_array(q, device, 7, rngs(1))
    lsb = (G_MAX - G_MIN) / 127
    for column, value in enumerate([10, -60, 127]):
        error = array.difference[:, column] - value
        cells = device.program_sigma(np.array([G_MIN + abs(value) * lsb, G_MIN]))
        sigma = math.hypot(*cells) / lsb
        assert abs(error.std() / sigma - 1) < 5 / math.sqrt(2 * len(error))
        assert abs(error.mean()) < 5 * sigma / math.sqrt(len(error))
    assert not array.is_exact
    assert array.read_variance is None


def test_read_noise_variance_is_the_sum_over_cells():
    q = random_weights(30, 4)
    array = program_array(q, build("eflash", EXACT | {"sigma_read": "0.79 %"}), 7, rngs(1))
    x = np.random.default_rng(2).integers(0, 256, (6, 30))
    lsb = (G_MAX - G_MIN) / 127

    def sigma(g):
        return 0.0079 * G_MAX * (1 - np.exp(-g / (0.135 * G_MAX))) / lsb

    expected = np.zeros((6, 4))
    for b in range(6):
        for r in range(30):
            for c in range(4):
                plus, minus = max(q[r, c], 0), max(-q[r, c], 0)
                pair = sigma(G_MIN + plus * lsb) ** 2 + sigma(G_MIN + minus * lsb) ** 2
                expected[b, c] += x[b, r] ** 2 * pair
    np.testing.assert_allclose(array.noise_variance(x), expected, rtol=1e-5)
    # programming is exact here, so the products stay whole
    np.testing.assert_array_equal(array.partial_sums(x), x @ q)
    assert not array.is_exact


def test_slices_draw_from_their_own_streams():
    q = np.full((50, 3), 127, np.int32)
    device = build("eflash", EXACT | {"sigma_program": "1.75 %"})
    both = program_array(q, device, 4, rngs(2)).difference
    first = program_array(q, device, 4, [rngs(2)[0], np.random.default_rng(99)]).difference
    np.testing.assert_array_equal(both[:, :3], first[:, :3])
    assert (both[:, 3:] != first[:, 3:]).all()
