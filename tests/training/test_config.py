from __future__ import annotations

from pathlib import Path

import pytest

from cimsim.errors import ConfigError
from cimsim.training.config import TrainConfig


def config(**changes):
    values = {"model": "cimnet", "data": Path("data"), "out": Path("out"), "steps": 4}
    return TrainConfig(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "give a budget"),
        ({"steps": 0}, "steps: expected a positive number, got 0"),
        ({"lr": -1.0}, "lr: expected a positive number"),
        ({"sigma": (20.0, 10.0)}, "sigma: expected 0 <= low <= high"),
        ({"sigma": (0.0, 0.0)}, "high > 0, got 0.0, 0.0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"validation_scenes": 0}, "validation_scenes: expected a positive number"),
        ({"ema": 1.5}, r"ema: expected 0\.\.1, got 1\.5"),
        ({"schedule": "linear"}, "schedule: expected cosine or steps, got 'linear'"),
        ({"optimiser": "sgd"}, "optimiser: expected muon or adam, got 'sgd'"),
        ({"tied": 3.0}, "tied: .* give --optimiser adam"),
        ({"lr_fan_in": 0}, "lr_fan_in: expected an integer >= 1"),
        ({"tied": -1.0}, r"tied: expected 0 or more, got -1\.0"),
        ({"overrides": ("adc.bits=6",)}, "give --hw too"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({}, "shrinkage"),  # stride 8 is the default
        ({"options": {"stride": 4}}, "shrinkage"),
        ({"options": {"stride": 2}}, "wiener"),
        ({"model": "abla-net", "options": {"stride": 2}}, "random"),
        ({"options": {"stages": 2}}, "random"),
        ({"model": "abla-net", "options": {"stride": 8}}, "shrinkage"),
        ({"model": "baseline-o2", "options": {"stride": 8}}, "random"),
        ({"start": "random"}, "random"),
        ({"start": "w.safetensors"}, "w.safetensors"),
    ],
)
def test_the_automatic_start(changes, start):
    assert config(**changes).resolved_start == start


def test_a_checkpoint_fits_the_same_network_and_chip_only(tmp_path):
    plan = config(options={"stride": 4}, hw="eflash40nm")
    plan.check_resumable(plan.plain(), tmp_path)
    longer = config(options={"stride": 4}, hw="eflash40nm", steps=900, lr=0.5)
    plan.check_resumable(longer.plain(), tmp_path)  # a budget may grow
    with pytest.raises(ConfigError, match="hw: this checkpoint is of None, not of 'eflash40nm'"):
        plan.check_resumable(config(options={"stride": 4}).plain(), tmp_path)
    spelt = config(options={"stride": 8, "stages": 1}, hw="eflash40nm")
    config(hw="eflash40nm").check_resumable(spelt.plain(), tmp_path)  # the defaults, spelt out
    with pytest.raises(ConfigError, match="options: "):
        plan.check_resumable(config(hw="eflash40nm").plain(), tmp_path)


def test_changes_since_a_checkpoint_are_told_but_for_budget_and_place():
    before = config(lr=1e-3)
    assert config(lr=2e-3).changed_since(before.plain()) == ["lr was 0.001, is 0.002"]
    elsewhere = {"out": Path("elsewhere"), "device": "cuda", "workers": 3}
    moved = config(lr=1e-3, steps=9, minutes=1.0, **elsewhere)
    assert moved.changed_since(before.plain()) == []


@pytest.mark.parametrize(
    ("changes", "rate", "fan_in"),
    [
        ({"start": "random"}, 8e-3, 288),
        ({"start": "random", "optimiser": "adam"}, 1e-3, 288),
        ({"start": "shrinkage"}, 8e-3, 200),
        ({"start": "shrinkage", "optimiser": "adam"}, 1e-3, 10),
        ({"start": "wiener"}, 8e-3, 10),
        ({"start": "trained.safetensors"}, 2e-3, 288),
        ({"start": "trained.safetensors", "lr": 0.5, "lr_fan_in": 7}, 0.5, 7),
    ],
)
def test_rates_follow_from_start_and_optimiser(changes, rate, fan_in):
    wanted = config(**changes)
    assert (wanted.peak_lr, wanted.fan_in) == (rate, fan_in)


@pytest.mark.parametrize(
    ("reading", "start"),
    [
        ({"skip": "none"}, "random"),
        ({"behind": 2}, "random"),
        ({"smoothing": "conv"}, "wiener"),
        ({"residual": "frame"}, "shrinkage"),
        ({"coarse": 0}, "shrinkage"),
    ],
)
def test_a_closed_form_starts_the_readings_that_can_hand_it_on(reading, start):
    assert config(options={"stride": 8, **reading}).resolved_start == start


def test_a_factor_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"rates: a\*: expected a positive factor, got 0"):
        config(rates={"a*": 0})


def test_the_command_on_a_card_names_rates_and_what_is_frozen():
    from cimsim.training.card import command

    text = command(config(rates={"block1.up1.*": 4.0}, freeze=("block1.smooth_*",)))
    assert "--rate 'block1.up1.*=4'" in text
    assert "--freeze 'block1.smooth_*'" in text
