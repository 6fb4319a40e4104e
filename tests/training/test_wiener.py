from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from cimsim.errors import ConfigError
from cimsim.training import wiener
from cimsim.training.data import Clip, Dataset, Sampler, validation_batch
from cimsim.training.train import mean_psnr
from cimsim.zoo.baselines import AblaNet, BaselineO2
from cimsim.zoo.cimnet import GREY, CIMNet
from tests.thorough import some


def textures(n_clips=6, seed=0):
    """Smooth random clips that move by a pixel per frame."""
    rng = np.random.default_rng(seed)
    clips = []
    for index in range(n_clips):
        field = gaussian_filter(rng.standard_normal((70, 70, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        frames = np.stack([np.roll(image, shift, axis=1)[:64, :64] for shift in range(5)])
        clips.append(Clip(f"{index}", f"{index}", frames))
    return Dataset(tuple(clips[2:]), tuple(clips[:2]), ())


@pytest.fixture(scope="module")
def data():
    return textures()


def test_fit_is_the_least_squares_solution(data, monkeypatch):
    monkeypatch.setattr(wiener, "N_PATCHES", 3000)
    monkeypatch.setattr(wiener, "RIDGE", 0.0)
    fit = wiener.fit_patches(data, kernel=6, block=4, sigma=25, seed=1)
    sampler = Sampler(data, n_frames=3, crop=6, batch=1000, sigma=(25, 25), stills=0.2, seed=1)
    batches = [sampler.draw(index) for index in range(3)]
    x = np.concatenate([noisy.numpy().reshape(1000, -1) for noisy, _, _ in batches]) - GREY
    y = np.concatenate([c.numpy()[..., 1:5, 1:5].reshape(1000, -1) for _, _, c in batches]) - GREY
    x = np.column_stack([x.astype(float), np.ones(3000)])
    expected = np.linalg.lstsq(x, y, rcond=None)[0].T
    assert np.allclose(fit.weight, expected[:, :-1], atol=1e-6)
    assert np.allclose(fit.bias, expected[:, -1], atol=1e-6)


@pytest.mark.parametrize("copies", [1, 4])
def test_the_started_network_is_that_linear_map(data, monkeypatch, copies):
    monkeypatch.setattr(wiener, "N_PATCHES", 5000)
    monkeypatch.setattr(wiener, "QUIET", 0.0)
    monkeypatch.setattr(wiener, "HIDDEN", 0.0)
    torch.manual_seed(0)
    model = CIMNet(stride=4).eval()
    wiener.start(model, data, sigma=25, seed=1, copies=copies)
    noisy, noise_map, _ = validation_batch(data, n_frames=3, sigma=25, crop=48)
    fit = wiener.fit_patches(data, kernel=6, block=4, sigma=25, seed=1)
    patches = functional.unfold(noisy - GREY, 6, padding=1, stride=4)
    linear = torch.from_numpy(fit.weight).float() @ patches
    linear += torch.from_numpy(fit.bias).float()[:, None] + GREY
    expected = functional.fold(linear, (48, 48), 4, stride=4)
    with torch.no_grad():
        torch.testing.assert_close(model(noisy, noise_map), expected, rtol=1e-4, atol=1e-4)


def test_abla_net_starts_as_the_linear_map_of_the_noise(data, monkeypatch):
    monkeypatch.setattr(wiener, "N_PATCHES", 5000)
    monkeypatch.setattr(wiener, "QUIET", 0.0)
    monkeypatch.setattr(wiener, "HIDDEN", 0.0)
    torch.manual_seed(0)
    model = AblaNet(stride=4).eval()
    wiener.start(model, data, sigma=25, seed=1)
    noisy, noise_map, _ = validation_batch(data, n_frames=3, sigma=25, crop=48)
    fit = wiener.fit_patches(data, kernel=6, block=4, sigma=25, seed=1, residual=True)
    # zero padding: the patches of the picture itself are padded, not those with grey subtracted
    patches = functional.unfold(functional.pad(noisy, (1, 1, 1, 1)) - GREY, 6, stride=4)
    linear = torch.from_numpy(fit.weight).float() @ patches
    linear += torch.from_numpy(fit.bias).float()[:, None]
    expected = noisy[:, 3:6] - functional.fold(linear, (48, 48), 4, stride=4)
    with torch.no_grad():
        torch.testing.assert_close(model(noisy, noise_map), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "stride"),
    some([(CIMNet, 2), (CIMNet, 4), (AblaNet, 2), (AblaNet, 4)], (CIMNet, 4)),
)
def test_the_start_denoises(data, network, stride):
    torch.manual_seed(0)
    model = network(stride=stride).eval()
    wiener.start(model, data, sigma=25, seed=1, copies=2)
    noisy, noise_map, clean = validation_batch(data, n_frames=3, sigma=25, crop=48)
    before = -10 * np.log10(float((noisy[:, 3:6].clamp(0, 1) - clean).square().mean()))
    assert mean_psnr(model, noisy, noise_map, clean) > before + 4


def test_what_cannot_be_started(data):
    with pytest.raises(ConfigError, match="not for CIMNet with stages=2"):
        wiener.start(CIMNet(stride=4, stages=2), data, sigma=15, seed=0)
    with pytest.raises(
        ConfigError, match="only for cimnet with stages=1 and abla-net, not for Bas"
    ):
        wiener.start(BaselineO2(stride=4), data, sigma=15, seed=0)
    with pytest.raises(ConfigError, match="copies: expected 1 to 5, got 6"):
        wiener.start(CIMNet(stride=4), data, sigma=15, seed=0, copies=6)
