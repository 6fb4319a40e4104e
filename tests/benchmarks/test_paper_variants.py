"""Variants: what a path gives, rows and intervals, trainings that build on each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from scipy.ndimage import gaussian_filter
from torch import nn

from benchmarks.paper import spread, variants
from benchmarks.paper.contribution import contribution
from benchmarks.paper.job import Budget
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.runner import Runner
from benchmarks.paper.variants import RECIPE, VariantRow
from cimsim.errors import ConfigError
from cimsim.training.data import Clip, Dataset, validation_batch
from cimsim.zoo import registry

COMMON = {
    "batch": 2, "crop": 32, "sigma": 15, "warmup_steps": 2, "start": "random",
    "validation_scenes": 1, "validation_crop": 32,
}  # fmt: skip
FIRST = {"model": "cimnet", "stride": 4, "args": {"skip": "none"}}
SECOND = {
    "model": "cimnet", "stride": 4, "variant": "staged", "after": "cimnet_s4_skip-none",
    "label": "in two stages", "overrides": {"lr": 1e-9, "freeze": ["block1.smooth_*"]},
}  # fmt: skip
ALONE = {"model": "cimnet", "stride": 4, "args": {"coarse": 0}}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    clips = []
    for index in range(3):
        field = gaussian_filter(rng.standard_normal((40, 40, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        frames = np.stack([np.roll(image, shift, axis=0) for shift in range(3)])
        clips.append(Clip(f"{index}", f"s{index}", frames))
    return Dataset(tuple(clips[1:]), tuple(clips[:1]), ())


def recipe(tmp_path, *networks):
    path = tmp_path / "variants.yaml"
    path.write_text(yaml.safe_dump({"common": COMMON, "networks": list(networks)}))
    return load_recipe(path)


OFF = 1e-3  # of the frame that the toy network hands through: 60 dB


class Sum(nn.Module):
    """The noisy centre frame, plus a path that adds a block, plus what depends on the crop."""

    def __init__(self, constant, varying):
        super().__init__()
        self.path = nn.Identity()
        self.constant, self.varying = constant, varying

    def forward(self, noisy, _noise_map):
        added = self.constant.repeat(1, 1, 4, 4) + self.varying * noisy[:, :3]
        return noisy[:, 3:6] + self.path(added)


def crops(noise=0.05):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, 16, 16, generator=generator) * 0.2 + 0.4
    noisy = torch.zeros(3, 9, 16, 16)
    noisy[:, 3:6] = clean + OFF
    noisy[:, :3] = noise * torch.randn(3, 3, 16, 16, generator=generator)
    return noisy, torch.zeros(3, 1, 16, 16), clean


def test_a_path_that_adds_the_same_block_everywhere_gives_nothing_beyond_a_constant():
    constant = 0.1 * torch.arange(48.0).reshape(1, 3, 4, 4) / 48
    found = contribution(Sum(constant, 0.0), "path", 4, crops())
    assert found.gives == pytest.approx(0, abs=1e-3)
    assert found.zero == pytest.approx(60, abs=1e-2)  # without it the offset is left
    error = float((constant + OFF).square().mean())
    assert found.whole == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_what_varies_is_what_a_path_gives():
    noisy, noise_map, clean = crops()
    broken = noisy.clone()
    broken[:, 3:6] = clean - noisy[:, :3]  # the path mends exactly what is wrong
    found = contribution(Sum(torch.zeros(1, 3, 4, 4), 1.0), "path", 4, (broken, noise_map, clean))
    assert found.whole > 60
    expected = [-10 * np.log10(float(part.square().mean())) for part in noisy[:, :3]]
    assert found.zero == pytest.approx(np.mean(expected), abs=1e-3)
    assert found.gives > 30


def test_hooks_are_gone_afterwards():
    network = Sum(torch.ones(1, 3, 4, 4), 0.5)
    before = network(*crops()[:2])
    contribution(network, "path", 4, crops())
    assert torch.equal(network(*crops()[:2]), before)


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="path: no module 'up1' in this network; known: path"):
        contribution(Sum(torch.ones(1, 3, 4, 4), 0.5), "up1", 4, crops())


def test_intervals_are_those_of_students_t():
    values = [33.1, 33.4, 33.0]
    mean, half = spread.interval(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert spread.interval([1.5]) == (1.5, None)
    assert spread.shown([1.5]) == "1.50"
    assert spread.shown([]) == "–"
    assert spread.shown([0.5, 0.5], sign="+") == "+0.50 ± 0.00"


def row(**changes):
    values = {
        "model": "cimnet", "variant": "cimnet_s8", "label": "as shipped", "stride": 8,
        "budget": "120 steps", "seed": 0, "steps": 120, "crops": 960, "minutes": 1.5, "stages": 1,
        "noisy_db": 24.9, "psnr_db": 33.0, "constant_db": 32.9, "zero_db": 32.8,
    }  # fmt: skip
    return VariantRow(**(values | changes))


def test_rows_survive_the_file_and_replace_their_like(tmp_path):
    path = tmp_path / "rows.csv"
    first, other = row(), row(variant="two", constant_db=None, zero_db=None)
    variants.write_rows(path, [], [first, other])
    assert variants.read_rows(path) == [first, other]
    again = row(psnr_db=33.2)
    variants.write_rows(path, variants.read_rows(path), [again])
    assert variants.read_rows(path) == [again, other]


def test_the_table_has_a_line_for_each_budget_and_variant():
    rows = [row(seed=s, psnr_db=33.0 + s / 10) for s in range(3)]
    rows += [row(variant="two", label="two layers", constant_db=None, zero_db=None)]
    rows += [row(budget="3 min", stages=2)]
    lines = variants.markdown(rows).splitlines()
    half = stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert lines[2] == (
        f"| as shipped | 8 | 120 steps | 960 | 3 | 33.10 ± {half:.2f} | +8.20 ± {half:.2f} | "
        f"+0.20 ± {half:.2f} |"
    )
    assert lines[3].endswith("| 1 | 33.00 | +8.10 | – |")
    assert "| 2 x 3 min |" in lines[4]
    assert len(lines) == 5


def test_the_tables_go_between_their_markers(tmp_path):
    path = tmp_path / "page.md"
    marks = [f"<!-- begin {name} -->\nold\n<!-- end {name} -->" for name in variants.TABLES]
    path.write_text("\n\n".join(marks))
    o2 = row(model="baseline-o2", variant="baseline-o2_s8_direct", label="direct")
    variants.rewrite([row(), o2], path)
    first, second = path.read_text().split("\n\n")
    assert "| as shipped |" in first
    assert "direct" not in first
    assert "| direct |" in second
    assert "old" not in path.read_text()


@pytest.mark.slow
def test_the_shipped_recipe_builds_and_names_what_is_there():
    found = load_recipe(RECIPE)
    for entry in found.networks:
        assert entry.label
        network = registry.build(entry.model, **entry.options)
        names = [name for name, _ in network.named_parameters()]
        for pattern in (*(entry.overrides.rates or {}), *(entry.overrides.freeze or ())):
            from fnmatch import fnmatchcase

            assert any(fnmatchcase(name, pattern) for name in names), (entry.stem, pattern)
    stems = {entry.stem for entry in found.networks}
    assert {"cimnet_s8", "cimnet_s8_coarse1", "cimnet_s8_coarse1_conv"} <= stems
    assert "cimnet_s8_coarse1_frozen" in stems
    assert {"baseline-o2_s4_direct", "baseline-o2_s8_direct"} <= stems


def test_a_stage_before_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="after: no network of the name cimnet_s4_skip-none"):
        recipe(tmp_path, SECOND, FIRST)


@pytest.mark.slow
def test_variants_are_trained_measured_and_not_trained_again(tmp_path, dataset):
    read = recipe(tmp_path, FIRST, SECOND, ALONE)
    held_out = validation_batch(dataset, n_frames=3, sigma=15.0, crop=32)
    kept = tmp_path / "out" / "variants.csv"
    states = []

    def train(runner, jobs, done):
        outcomes = []
        for outcome in runner.run(jobs):
            outcomes.append(outcome)
            done(outcome)
        states.append([outcome.state for outcome in outcomes])
        assert not [outcome.error for outcome in outcomes if outcome.error]
        return outcomes

    def once(seeds):
        budget, out = Budget(steps=2), tmp_path / "out"
        for series in variants.all_series(read, tmp_path, out, budget, seeds, dataset):
            variants.run(series, read.networks, held_out, kept, train)
        return variants.read_rows(kept)

    rows = once(1)
    assert [one.variant for one in rows] == [
        "cimnet_s4_skip-none", "cimnet_s4_staged", "cimnet_s4_coarse0",
    ]  # fmt: skip
    none, staged, alone = rows
    assert (none.stages, staged.stages, alone.stages) == (1, 2, 1)
    assert none.gives
    assert alone.constant_db is None
    start, end = (
        torch.load(tmp_path / "out/2steps/seed0" / stem / "checkpoint.pt")["model"]
        for stem in (none.variant, staged.variant)
    )
    name = "block1.smooth_in.fc.weight"
    assert torch.allclose(start[name], end[name], atol=0.05)  # averaged weights in half precision
    again = once(2)
    assert states[1] == ["done before"] * 3
    assert states[2] == ["trained"] * 3
    assert again[:3] == rows
    assert [one.seed for one in again[3:]] == [1, 1, 1]
    assert again[3].psnr_db != rows[0].psnr_db


def test_the_stage_before_is_the_start(tmp_path, dataset):
    read = recipe(tmp_path, FIRST, SECOND)
    runner = Runner(tmp_path, tmp_path / "out", dataset=dataset)
    config = runner.config(read.job(read.networks[1], Budget(steps=1)))
    assert config.start.endswith("cimnet_s4_skip-none/cimnet_s4_skip-none.safetensors")
    assert config.freeze == ("block1.smooth_*",)
