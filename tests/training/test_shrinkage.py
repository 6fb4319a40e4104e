from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from cimsim.errors import ConfigError
from cimsim.training import shrinkage, wiener
from cimsim.training.data import Clip, Dataset, Sampler, validation_batch
from cimsim.training.train import mean_psnr
from cimsim.zoo.baselines import AblaNet, BaselineO2
from cimsim.zoo.cimnet import GREY, CIMNet

SIGMA = 25.0


def rectangles(n_clips=8, seed=0):
    """Clips of flat rectangles: sparse in local transforms, and far from Gaussian."""
    rng = np.random.default_rng(seed)
    clips = []
    for index in range(n_clips):
        image = np.full((70, 70, 3), 128, np.uint8)
        for _ in range(25):
            top, left = rng.integers(0, 60, 2)
            high, wide = rng.integers(6, 30, 2)
            image[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        frames = np.stack([np.roll(image, shift, axis=1)[:64, :64] for shift in range(5)])
        clips.append(Clip(f"{index}", f"{index}", frames))
    return Dataset(tuple(clips[2:]), tuple(clips[:2]), ())


@pytest.fixture(scope="module")
def data():
    return rectangles()


@pytest.fixture
def few_patches(monkeypatch):
    monkeypatch.setattr(shrinkage, "N_PATCHES", 6000)
    monkeypatch.setattr(wiener, "N_PATCHES", 6000)


def built(network, data, *, seed=1, **options):
    torch.manual_seed(0)
    model = network(**options).eval()
    shrinkage.start(model, data, sigma=SIGMA, seed=seed)
    return model


def test_cosines_are_orthonormal_and_cover_the_patch():
    vectors = shrinkage.cosines(10, 4, 3)
    assert vectors.shape == (300, 9 * 48)
    assert np.allclose(np.linalg.norm(vectors, axis=0), 1)
    one = vectors[:, :48]
    assert np.allclose(one.T @ one, np.eye(48))
    assert (np.abs(vectors).sum(axis=1) > 0).all()
    flat = np.ones((3, 10, 10)).reshape(-1)
    seen = (vectors.T @ flat).reshape(9, 3, 16)
    assert np.allclose(seen[:, 0, 0], 4 * np.sqrt(3))  # grey level, frequency 0
    assert np.allclose(np.delete(seen.reshape(9, 48), 0, axis=1), 0, atol=1e-12)


@pytest.mark.usefixtures("few_patches")
def test_the_last_layer_solves_the_normal_equations(data, monkeypatch):
    monkeypatch.setattr(wiener, "HIDDEN", 0.0)
    monkeypatch.setattr(shrinkage, "WEIGHT_ERROR", 0.0)
    monkeypatch.setattr(shrinkage, "OUTPUT_RIDGE", 1e-9)
    model = built(CIMNet, data, stride=4)
    block = model.block1
    sampler = Sampler(
        data, n_frames=3, crop=6, batch=1000, sigma=(SIGMA, SIGMA), stills=0.2, seed=1
    )
    correlation, power = 0.0, 0.0
    for index in range(6):  # the patches of the fit
        noisy, _, clean = sampler.draw(index)
        with torch.no_grad():
            matrix = block.smooth_in.fc.weight[:, :9].reshape(512, -1)
            units = torch.relu((noisy.flatten(1) - GREY) @ matrix.T + block.smooth_in.fc.bias)
            inner = block.smooth_out.fc.weight[:, :, 1:5, 1:5].reshape(48, 512)
            estimate = units @ inner.T + block.smooth_out.fc.bias
        error = (estimate - clean[..., 1:5, 1:5].flatten(1)).double()
        correlation = correlation + units.double().T @ error
        power = power + (units.double().square().sum(0)[:, None] * error.square().sum(0)).sqrt()
    assert float((correlation / power.clamp_min(1e-12)).abs().max()) < 0.01
    outer = block.smooth_out.fc.weight.clone()
    outer[:, :, 1:5, 1:5] = 0
    assert not outer.any()  # the margin is left for training to use


@pytest.mark.slow
@pytest.mark.usefixtures("few_patches")
@pytest.mark.parametrize("network", [CIMNet, AblaNet])
def test_it_is_better_than_the_best_linear_start(data, network):
    batch = validation_batch(data, n_frames=3, sigma=SIGMA, crop=48)
    noisy = mean_psnr(lambda x, _: x[:, 3:6], *batch)
    torch.manual_seed(0)
    linear = network(stride=4).eval()
    wiener.start(linear, data, sigma=SIGMA, seed=1)
    best_linear = mean_psnr(linear, *batch)
    assert best_linear > noisy + 3
    assert mean_psnr(built(network, data, stride=4), *batch) > best_linear + 0.3


@pytest.mark.usefixtures("few_patches")
def test_it_depends_on_the_seed_alone(data):
    first, again, other = (built(CIMNet, data, stride=4, seed=seed) for seed in (1, 1, 2))
    name = "block1.smooth_out.fc.weight"
    assert first.state_dict()[name].equal(again.state_dict()[name])
    assert not first.state_dict()[name].equal(other.state_dict()[name])


@pytest.mark.usefixtures("few_patches")
def test_units_have_alike_ranges(data):
    noisy, noise_map, _ = validation_batch(data, n_frames=3, sigma=SIGMA, crop=48)
    model = built(CIMNet, data, stride=4)
    with torch.no_grad():
        full = model.block1.smooth_in(torch.cat([noisy - GREY, noise_map], dim=1))
        taps = model.block1.smooth_in.fc.weight.flatten(1).norm(dim=1)
    top = functional.pixel_unshuffle(full, 4).amax(dim=(0, 2, 3)).clamp_min(1e-3)
    # taps of length 1 would have ranges that differ by as much as their lengths do now
    assert float(taps.log().std()) > 1.5 * float(top.log().std())


@pytest.mark.usefixtures("few_patches")
def test_it_bears_errors_of_its_weights(data, monkeypatch):
    batch = validation_batch(data, n_frames=3, sigma=SIGMA, crop=48)

    def lost(model):
        """dB that errors of 2 % of each layer's largest weight cost, mean of four draws."""
        before = mean_psnr(model, *batch)
        after = []
        for seed in range(4):
            generator = torch.Generator().manual_seed(seed)
            worse = copy.deepcopy(model)
            for layer in (worse.block1.smooth_in.fc, worse.block1.smooth_out.fc):
                weight = layer.weight.detach()
                sigma = 0.02 * weight.flatten(1).abs().amax(dim=1).reshape(-1, 1, 1, 1)
                weight += sigma * torch.randn(weight.shape, generator=generator)
            after.append(mean_psnr(worse, *batch))
        return before - sum(after) / 4

    robust = lost(built(CIMNet, data, stride=4))
    monkeypatch.setattr(shrinkage, "WEIGHT_ERROR", 0.0)
    monkeypatch.setattr(shrinkage, "OUTPUT_RIDGE", 1e-6)
    assert 0 < robust < 0.5 * lost(built(CIMNet, data, stride=4))


def test_what_cannot_be_started(data):
    with pytest.raises(ConfigError, match="needs a stride of 4 or more, a block of 1 x 1"):
        shrinkage.start(CIMNet(stride=2), data, sigma=15, seed=0)
    with pytest.raises(ConfigError, match="start shrinkage: only for cimnet with stages=1 and abl"):
        shrinkage.start(BaselineO2(stride=4), data, sigma=15, seed=0)
