"""The closed forms of the bound on CIM-NET's coarse path, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.paper import bound


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_blocks_and_back():
    x = drawn(2, 3, 16, 24)
    blocks = bound.to_blocks(x)
    assert blocks.shape == (2 * 2 * 3, 192)
    assert torch.equal(bound.from_blocks(blocks, x.shape), x)
    second = x[0, :, :8, 8:16].reshape(-1)  # channel, y, x, as a pixel shuffle has them
    assert torch.equal(blocks[1], second)


def test_the_patches_are_what_a_strided_layer_reads():
    full = drawn(2, 32, 16, 24)
    weight = drawn(5, 32, 10, 10, seed=1)
    expected = functional.conv2d(full, weight, stride=8, padding=1)
    found = bound.patches_of(full) @ weight.flatten(1).T
    assert torch.allclose(found.reshape(2, 2, 3, 5).permute(0, 3, 1, 2), expected, atol=1e-3)


def test_least_squares_adds_up_to_the_whole_problem():
    x, y = drawn(200, 12), drawn(200, 3, seed=1)
    fit = bound.LeastSquares()
    for part in range(4):
        rows = slice(50 * part, 50 * part + 50)
        fit.add(x[rows], y[rows])
    whole, *_ = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)
    assert np.allclose(fit.solve(12, 0.0).numpy(), whole, atol=1e-4)
    first, *_ = np.linalg.lstsq(x[:, :5].numpy(), y.numpy(), rcond=None)
    assert np.allclose(fit.solve(5, 0.0).numpy(), first, atol=1e-4)
    heavy = fit.solve(12, 1e6)
    assert heavy.abs().max() < 1e-5


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_no_map_of_that_rank_is_better(rank):
    x, y = drawn(300, 6), drawn(300, 4, seed=1)
    y = y + x[:, :4] * torch.tensor([3.0, 2.0, 1.0, 0.5])
    fit = bound.LeastSquares()
    fit.add(x, y)
    best = bound.reduced(fit.solve(6, 0.0), fit.gram, rank)
    assert torch.linalg.matrix_rank(best, atol=1e-4) == rank
    error = float((y - x @ best).square().sum())
    # Eckart-Young: what the full fit leaves, and the fitted values' singular values that are cut
    fitted = x @ fit.solve(6, 0.0)
    cut = torch.linalg.svdvals(fitted)[rank:].square().sum()
    assert error == pytest.approx(float((y - fitted).square().sum() + cut), rel=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(50):  # other maps of the rank, near and far
        a = torch.from_numpy(rng.standard_normal((6, rank))).float()
        other, *_ = np.linalg.lstsq((x @ a).numpy(), y.numpy(), rcond=None)
        assert float((y - x @ a @ torch.from_numpy(other)).square().sum()) >= error - 1e-3


def test_positive_sums_reach_all_or_a_quadrant():
    both = torch.cat([torch.eye(3), -torch.eye(3)], dim=1)
    wanted = drawn(5, 3)
    assert bound.reach(both, wanted) == pytest.approx(0, abs=1e-6)
    left = wanted.clamp(max=0).norm() / wanted.norm()
    assert bound.reach(torch.eye(3), wanted) == pytest.approx(float(left), rel=1e-5)


def test_principal_directions_are_those_of_an_svd():
    samples = drawn(100, 6) * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    found = bound.principal(samples)
    _, _, rows = torch.linalg.svd(samples)
    assert torch.allclose((found.T @ rows.T).abs(), torch.eye(6), atol=1e-2)


@pytest.mark.slow
def test_the_features_of_the_fitted_path_are_layers_of_a_network():
    full = drawn(4, 32, 64, 64).abs()  # more patches than channels: each of those has a spread
    features = bound.CoarseFit.fitted(bound.patches_of(full))
    x = features(full)
    assert list(features.counts.values()) == [577, 577 + bound.N_RANDOM]
    assert x.shape == (4 * 8 * 8, 577 + bound.N_RANDOM)
    strided = functional.conv2d(
        full, features.components.T.reshape(-1, 32, 10, 10), stride=8, padding=1
    )
    kernel = features.weight.T.reshape(-1, 64, 3, 3)
    units = functional.conv2d(strided, kernel, features.bias, padding=1).clamp(min=0)
    wanted = units.permute(0, 2, 3, 1).reshape(len(x), -1)
    assert torch.allclose(x[:, 577:], wanted, atol=1e-2)
    assert (x[:, 0] == 1).all()


def test_psnr_is_the_mean_over_crops_of_clipped_estimates():
    clean = torch.full((2, 3, 8, 8), 0.5)
    estimate = clean.clone()
    estimate[0] += 0.1
    estimate[1] = 2.0  # clipped to 1
    assert bound.crop_psnr(estimate, clean) == pytest.approx((20 + 6.0206) / 2, abs=1e-3)


def test_the_local_estimate_is_the_shipped_cimnet():
    pair = bound.shipped_pair()
    generator = torch.Generator().manual_seed(0)
    noisy = torch.rand(1, 9, 32, 32, generator=generator)
    noise_map = torch.full((1, 1, 32, 32), bound.SIGMA / 255)
    with torch.no_grad():
        expected = pair.block(noisy, noise_map)
        assert torch.allclose(pair.local(noisy, noise_map), expected, atol=1e-5)


def test_the_table():
    lines = [
        bound.Line("width", "through 64 numbers", 34.0801, 0.4165),
        bound.Line("sum", "left", 0.0, 0.0),
    ]
    text = bound.markdown(lines).splitlines()
    assert text[2] == "| width | through 64 numbers | 34.08 | +0.42 |"
    assert text[3] == "| sum | left | 0 % | |"
