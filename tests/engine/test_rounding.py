import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cimsim
from cimsim.crossbar.rounding import MAX_ROWS, round_matrix, round_rows
from tests.thorough import some

Q_MAX = 127


def correlated(rng, n, rows):
    """Smooth inputs, as neighbouring pixels are."""
    mixing = np.exp(-np.abs(np.subtract.outer(np.arange(rows), np.arange(rows))) / 5)
    return (rng.standard_normal((n, rows)) @ mixing + 1).astype(np.float32)


def error(inputs, target, rounded):
    return float(((inputs.astype(np.float64) @ (target - rounded)) ** 2).mean())


@pytest.mark.parametrize("rows", [20, 64, 150])
def test_correlated_inputs_see_a_smaller_error_than_with_nearest_rounding(rows):
    rng = np.random.default_rng(rows)
    inputs, target = correlated(rng, 400, rows), rng.normal(0, 2, (rows, 40))
    rounded, nearest = round_rows(target, inputs, Q_MAX), np.rint(target)
    assert error(inputs, target, rounded) < 0.5 * error(inputs, target, nearest)
    # inputs that were not looked at gain as well
    fresh = correlated(rng, 400, rows)
    assert error(fresh, target, rounded) < 0.5 * error(fresh, target, nearest)


def test_uncorrelated_inputs_leave_nearest_rounding_as_it_is():
    rng = np.random.default_rng(0)
    target = rng.normal(0, 20, (24, 5))
    inputs = np.eye(24, dtype=np.float32)
    np.testing.assert_array_equal(round_rows(target, inputs, Q_MAX), np.rint(target))


@given(st.integers(0, 2**32 - 1))
def test_whole_weights_stay_and_the_range_is_kept(seed):
    rng = np.random.default_rng(seed)
    inputs = correlated(rng, 100, 12)
    whole = rng.integers(-Q_MAX, Q_MAX + 1, (12, 3))
    np.testing.assert_array_equal(round_rows(whole.astype(float), inputs, Q_MAX), whole)
    wild = round_rows(rng.normal(0, 200, (12, 3)), inputs, Q_MAX)
    assert np.abs(wild).max() <= Q_MAX


def test_close_to_the_best_of_all_roundings_of_a_small_matrix():
    rng = np.random.default_rng(1)
    found, best, nearest = [], [], []
    for _ in range(40):
        inputs, target = correlated(rng, 60, 6), rng.normal(0, 2, (6, 1))
        choices = itertools.product(*[(np.floor(t), np.ceil(t)) for t in target[:, 0]])
        best.append(min(error(inputs, target, np.array(c)[:, None]) for c in choices))
        found.append(error(inputs, target, round_rows(target, inputs, Q_MAX)))
        nearest.append(error(inputs, target, np.rint(target)))
    assert np.mean(best) <= np.mean(found) < 0.5 * (np.mean(best) + np.mean(nearest))


def test_rows_beyond_a_chunk_are_rounded_too():
    rng = np.random.default_rng(2)
    rows = MAX_ROWS + 40
    inputs, target = rng.random((50, rows)).astype(np.float32), rng.normal(0, 3, (rows, 2))
    rounded = round_matrix(target, inputs, Q_MAX)
    assert rounded.shape == target.shape
    assert np.abs(rounded - target).max() < 3
    assert error(inputs, target, rounded) < 0.2 * error(inputs, target, np.rint(target))


def test_samples_that_are_all_zero_round_to_nearest():
    target = np.array([[0.4, 2.6], [1.2, -3.7]])
    rounded = round_rows(target, np.zeros((40, 2), np.float32), Q_MAX)
    np.testing.assert_array_equal(rounded, np.rint(target))


@pytest.mark.slow
@pytest.mark.parametrize("rounding", some(["nearest", "inputs"], "inputs"))
def test_a_network_on_an_exact_chip_errs_less(rounding):
    network = cimsim.load_network("cimnet", {"stride": 8})
    traced = cimsim.trace(network.module, network.example(64, 64))
    exact = {"device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal"}
    hardware = cimsim.load_hw("eflash40nm", exact | {"weights.rounding": rounding})
    from cimsim.video.embedded import embedded_clip

    clip = embedded_clip(frames=1, height=64, width=64)
    frames = cimsim.simulate(cimsim.map_graph(traced, hardware), clip).frames
    mse = float(((frames["chip"] - frames["float"]) ** 2).mean())
    limit = {"nearest": 1e-3, "inputs": 3e-5}[rounding]
    assert mse < limit
