"""AWGN: the right statistics, and bits that depend on nothing but the seed and the frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cimsim.errors import InputError
from cimsim.video.metrics import per_frame
from cimsim.video.noise import add_awgn


def grey(n_frames=4, height=64, width=80, value=0.5):
    return np.full((n_frames, height, width, 3), value, np.float32)


@pytest.mark.parametrize("sigma", [5, 15, 50.0])
def test_mean_and_deviation_within_sampling_error(sigma):
    clean = grey(4, 512, 512)  # enough samples to tell 255 levels from 256
    noise = (add_awgn(clean, sigma, seed=3) - clean).astype(np.float64) * 255
    n = noise.size
    # five standard errors; that of the deviation of a normal sample is sigma / sqrt(2 n)
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(n)
    assert abs(noise.std() - sigma) < 5 * sigma / np.sqrt(2 * n)


def test_distribution_is_normal_and_frames_are_independent():
    clean = grey(2)
    noise = (add_awgn(clean, 255, seed=8) - clean).astype(np.float64)
    assert stats.kstest(noise[0].ravel(), "norm").pvalue > 1e-4
    first, second = noise[0].ravel(), noise[1].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(first.size)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 5 / np.sqrt(first.size)


def test_sigma_15_is_24_61_db():
    clean = grey(2, 256, 256)
    noisy = add_awgn(clean, 15, seed=0)
    assert 20 * np.log10(255 / 15) == pytest.approx(24.61, abs=0.005)
    assert per_frame(clean, noisy).mean_psnr_db == pytest.approx(24.61, abs=0.05)


def test_nothing_is_clipped():
    noisy = add_awgn(grey(value=1.0), 50, seed=1)
    assert (noisy > 1).mean() == pytest.approx(0.5, abs=0.01)
    assert add_awgn(grey(value=0.0), 50, seed=1).min() < 0


def test_prefix_and_pieces_give_the_same_bits():
    clean = np.random.default_rng(0).random((6, 16, 18, 3), np.float32)
    whole = add_awgn(clean, 25, seed=11)
    np.testing.assert_array_equal(add_awgn(clean[:2], 25, seed=11), whole[:2])
    pieces = [add_awgn(clean[t : t + 1], 25, seed=11, first_frame=t) for t in reversed(range(6))]
    np.testing.assert_array_equal(np.concatenate(pieces[::-1]), whole)


def test_seed_decides():
    clean = grey(1)
    np.testing.assert_array_equal(add_awgn(clean, 15, seed=1), add_awgn(clean, 15, seed=1))
    assert not np.array_equal(add_awgn(clean, 15, seed=1), add_awgn(clean, 15, seed=2))


def test_levels_share_their_noise():
    clean = np.zeros((2, 8, 9, 3), np.float32)
    np.testing.assert_allclose(
        add_awgn(clean, 30, seed=4), 3 * add_awgn(clean, 10, seed=4), rtol=1e-6
    )


def test_zero_sigma_returns_an_equal_copy():
    clean = np.random.default_rng(0).random((2, 8, 9, 3), np.float32)
    noisy = add_awgn(clean, 0, seed=0)
    np.testing.assert_array_equal(noisy, clean)
    assert noisy.dtype == np.float32
    assert not np.shares_memory(noisy, clean)


@pytest.mark.parametrize("sigma", [-1, -0.5, float("nan"), float("inf")])
def test_wrong_sigma(sigma):
    with pytest.raises(InputError, match=rf"sigma: expected a number >= 0 .*got {sigma}"):
        add_awgn(grey(), sigma, seed=0)


def test_wrong_seed_frame_number_and_frames():
    with pytest.raises(InputError, match="seed: expected an integer >= 0, got -1"):
        add_awgn(grey(), 15, seed=-1)
    with pytest.raises(InputError, match="first_frame: expected an integer >= 0, got -2"):
        add_awgn(grey(), 15, seed=0, first_frame=-2)
    with pytest.raises(InputError, match=r"float32 frames of shape \(T, H, W, C\), got uint8"):
        add_awgn(np.zeros((1, 8, 8, 3), np.uint8), 15, seed=0)
    with pytest.raises(InputError, match=r"got float32 of shape \(8, 8, 3\)"):
        add_awgn(np.zeros((8, 8, 3), np.float32), 15, seed=0)
