from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cimsim.errors import ConfigError
from cimsim.session.loading import load_network
from cimsim.training import start
from cimsim.training.config import TrainConfig
from cimsim.training.data import Dataset
from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError

NO_DATA = Dataset((), (), ())


def config(**changes):
    values = {"model": "cimnet", "data": Path("data"), "out": Path("out"), "steps": 1}
    return TrainConfig(**(values | changes))


def test_shipped_weights_by_name():
    model = registry.build("cimnet", stride=8)
    start.initialise(model, config(start="cimnet_s8"), NO_DATA)
    shipped = load_network("cimnet", {"stride": 8}).module.state_dict()
    for key, value in model.state_dict().items():
        if "num_batches_tracked" not in key:
            assert torch.equal(value, shipped[key]), key


def test_a_file_wins_over_a_name_and_must_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(registry.build("cimnet", stride=4).state_dict(), "start.pt")
    with pytest.raises(WeightsError, match=r"start\.pt: .*it fits --model cimnet --stride 4"):
        start.initialise(registry.build("cimnet", stride=8), config(start="start.pt"), NO_DATA)


@pytest.mark.parametrize("name", ["shrinkag", "nowhere.safetensors"])
def test_a_start_that_is_nothing_is_named(name):
    with pytest.raises(ConfigError, match=rf"start: '{name}' is no weight file.*known: auto"):
        start.check(config(start=name))


@pytest.mark.parametrize("name", ["auto", "random", "wiener", "cimnet_s8"])
def test_starts_that_are_something(name):
    start.check(config(start=name))


def test_random_weights_with_a_chip_are_warned_of(caplog):
    model = registry.build("baseline-o1", stride=8)
    start.initialise(model, config(start="random"), NO_DATA)
    assert not caplog.text
    start.initialise(model, config(start="random", hw="eflash40nm"), NO_DATA)
    assert "--init a trained float network" in caplog.text
