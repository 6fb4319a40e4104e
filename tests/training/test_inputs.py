from __future__ import annotations

import numpy as np
import pytest
import torch

from cimsim.errors import SimulationError
from cimsim.training.inputs import DIRECTIONS, InputSamples, InputStatistics
from cimsim.training.patches import MatrixShape


def shape(channels):
    from torch import nn

    from cimsim.chip.load import load_hw

    return MatrixShape.of(nn.Conv2d(channels, 2, 3, padding=1), load_hw("eflash40nm"))


def test_few_directions_hold_the_covariance_of_few_causes():
    torch.manual_seed(0)
    causes = torch.randn(500, 2, DIRECTIONS // 2)
    vectors = torch.einsum("ngk,gkr->ngr", causes, torch.randn(2, DIRECTIONS // 2, 90)) + 3
    found = InputStatistics.of(vectors, seed=0)
    for g in range(2):
        covariance = np.cov(vectors[:, g].double().numpy().T, bias=True)
        got = (found.factors[g].T @ found.factors[g] + torch.diag(found.rest[g])).numpy()
        np.testing.assert_allclose(got, covariance, atol=1e-4 * np.abs(covariance).max())
    np.testing.assert_allclose(found.mean, vectors.mean(0), rtol=1e-5)


def test_the_variance_of_every_row_is_exact_and_the_large_directions_are_found():
    torch.manual_seed(0)
    strong = torch.randn(400, 1, 3) * 10 @ torch.randn(3, 80)
    vectors = strong + torch.randn(400, 1, 80) * torch.rand(80)
    found = InputStatistics.of(vectors, seed=1)
    covariance = np.cov(vectors[:, 0].double().numpy().T, bias=True)
    got = (found.factors[0].T @ found.factors[0] + torch.diag(found.rest[0])).numpy()
    np.testing.assert_allclose(np.diag(got), np.diag(covariance), rtol=1e-4)
    assert np.abs(got - covariance).max() < 0.01 * np.abs(covariance).max()
    scaled = found.scaled(2.0)
    torch.testing.assert_close(scaled.rest, found.rest * 4)
    torch.testing.assert_close(scaled.factors, found.factors * 2)


def test_ranges_follow_the_engines_rule():
    x = torch.rand(2, 3, 40, 41, generator=torch.Generator().manual_seed(0))
    samples = InputSamples()
    samples.add(x, shape(3))
    samples.add(2 * x, shape(3))
    both = np.concatenate([x.numpy().ravel(), 2 * x.numpy().ravel()])
    assert samples.range(100, "a") == (0.0, both.max())
    assert samples.range(98, "a") == (0.0, np.quantile(both, 0.98, method="nearest"))
    samples.add(x - 0.5, shape(3))
    every = np.append(both, x.numpy().ravel() - np.float32(0.5))
    low, high = samples.range(98, "a")
    assert (low, high) == tuple(np.quantile(every, [0.01, 0.99], method="nearest"))
    samples.clear()
    assert samples.empty


def test_activations_that_are_not_finite_are_refused():
    samples = InputSamples()
    samples.add(torch.full((1, 3, 8, 8), torch.nan), shape(3))
    with pytest.raises(SimulationError, match=r"layer 'down': its input .* NaN or infinity"):
        samples.range(99, "down")
