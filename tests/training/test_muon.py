from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cimsim.training.muon import COEFFICIENTS, DECAY, LARGEST, MOMENTUM, RMS, Muon, orthogonalised


def with_singular_values(m, n, values):
    generator = torch.Generator().manual_seed(m * 100 + n)
    left = torch.linalg.qr(torch.randn(m, m, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    k = len(values)
    return left[:, :k] @ torch.diag(values) @ right[:k], left[:, :k], right[:k]


@given(m=st.integers(1, 24), n=st.integers(1, 24), decades=st.floats(0, 2), size=st.floats(-6, 6))
def test_singular_values_become_alike_and_their_directions_stay(m, n, decades, size):
    k = min(m, n)
    values = torch.logspace(0, -decades, k, dtype=torch.float64) * 10**size
    matrix, left, right = with_singular_values(m, n, values)
    seen = left.T @ orthogonalised(matrix, torch.float64) @ right.T
    across = seen - torch.diag(seen.diagonal())
    assert float(across.abs().max()) < 1e-9
    assert float(seen.diagonal().min()) > 0.3
    assert float(seen.diagonal().max()) < 1.3


@given(
    m=st.integers(1, 40), n=st.integers(1, 40), decades=st.floats(0, 4), size=st.floats(-6, 6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_eigenvalues_give_what_the_published_iteration_gives(m, n, decades, size, dtype):
    k = min(m, n)
    values = torch.logspace(0, -decades, k, dtype=torch.float64) * 10**size
    matrix, *_ = with_singular_values(m, n, values)
    a, b, c = COEFFICIENTS
    expected = (matrix if m <= n else matrix.T) / (1.01 * matrix.norm())
    for _ in range(5):
        gram = expected @ expected.T
        expected = a * expected + b * gram @ expected + c * gram @ gram @ expected
    expected = expected if m <= n else expected.T
    got = orthogonalised(matrix.to(dtype), dtype).double()
    close = 1e-9 if dtype == torch.float64 else 3e-3
    assert float((got - expected).abs().max()) < close


def test_a_gradient_that_is_not_finite_gives_nan_and_no_crash():
    assert orthogonalised(torch.tensor([[1.0, torch.inf], [0, 1]])).isnan().all()


def test_bfloat16_is_good_enough():
    matrix, *_ = with_singular_values(48, 80, torch.logspace(0, -2, 48, dtype=torch.float64))
    values = torch.linalg.svdvals(orthogonalised(matrix.float(), torch.bfloat16))
    assert 0.3 < float(values.min()) <= float(values.max()) < 1.4


def test_a_zero_gradient_moves_nothing():
    assert not orthogonalised(torch.zeros(4, 6)).any()


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(5, 3)


def step_with(model, gradients, rate=0.1):
    optimiser = Muon([{"params": list(model.parameters()), "lr": rate}], model, torch.float32)
    for gradient in gradients:
        for parameter, value in zip(model.parameters(), gradient, strict=True):
            parameter.grad = value.clone()
        optimiser.step()
    return optimiser


def random_gradients(model, n_steps):
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(p.shape, generator=generator) for p in model.parameters()]
        for _ in range(n_steps)
    ]


def test_each_group_of_a_kernel_follows_its_own_momentum():
    model, rate = Layers(), 0.1
    before = model.conv.weight.detach().clone()
    first, second = random_gradients(model, 2)
    step_with(model, [first, second], rate)
    expected, momentum = before.clone(), torch.zeros(6, 18)
    for gradient in (first, second):
        expected *= 1 - rate * DECAY  # a norm follows
        flat = gradient[0].reshape(6, 18)
        momentum = MOMENTUM * momentum + flat
        ahead = flat + MOMENTUM * momentum
        for rows in (slice(0, 3), slice(3, 6)):
            change = orthogonalised(ahead[rows]) * (-rate * RMS * 18**0.5)
            expected[rows] += change.reshape(3, 2, 3, 3)
    torch.testing.assert_close(model.conv.weight.detach(), expected, rtol=1e-5, atol=1e-6)


def test_kernels_without_a_norm_do_not_decay():
    model = Layers()
    before = model.linear.weight.detach().clone()
    step_with(model, [[torch.zeros_like(p) for p in model.parameters()]], rate=0.5)
    assert torch.equal(model.linear.weight, before)
    assert float(model.conv.weight.detach().norm()) > 0


def test_an_update_is_as_large_as_adams():
    model = Layers()
    before = model.linear.weight.detach().clone()
    step_with(model, random_gradients(model, 1), rate=1.0)
    change = (model.linear.weight.detach() - before).square().mean().sqrt()
    assert float(change) == pytest.approx(RMS, rel=0.35)  # singular values of 0.7 .. 1.2


def test_vectors_and_huge_matrices_are_adams():
    model, twin = Layers(), Layers()
    gradients = random_gradients(model, 3)
    step_with(model, gradients)
    adam = torch.optim.Adam(twin.parameters(), lr=0.1, betas=(0.9, 0.99), fused=True)
    for gradient in gradients:
        for parameter, value in zip(twin.parameters(), gradient, strict=True):
            parameter.grad = value.clone()
        adam.step()
    for name in ("conv.bias", "norm.weight", "norm.bias", "linear.bias"):
        assert torch.equal(model.get_parameter(name), twin.get_parameter(name)), name
    assert not torch.equal(model.linear.weight, twin.linear.weight)
    huge = nn.Linear(LARGEST + 1, LARGEST + 1, bias=False)
    assert not Muon([{"params": list(huge.parameters())}], huge, torch.float32).shapes


def test_state_survives_saving():
    straight, broken = Layers(), Layers()
    gradients = random_gradients(straight, 4)
    step_with(straight, gradients)
    optimiser = step_with(broken, gradients[:2])
    resumed = Muon([{"params": list(broken.parameters()), "lr": 0.1}], broken, torch.float32)
    resumed.load_state_dict(optimiser.state_dict())
    for gradient in gradients[2:]:
        for parameter, value in zip(broken.parameters(), gradient, strict=True):
            parameter.grad = value.clone()
        resumed.step()
    for one, other in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(one, other)
