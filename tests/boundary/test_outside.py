"""Cells, estimators and tasks of the user's own, by import path and by entry point."""

import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

import cimsim
from cimsim.chip.cells import build, device_of
from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.load import chip_hash, load_hw
from cimsim.errors import ConfigError
from cimsim.studies.keys import values_of
from cimsim.tasks.questions import task_of

CELLS = """
import numpy as np
from pydantic import BaseModel, ConfigDict
from cimsim.api import AbstractDevice

class P(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    sigma: float = {sigma}

class Cell(AbstractDevice):
    Parameters = P
    conduction = "ohmic"
    g_min_s = 0.0
    g_max_s = 2e-5
    is_exact = False
    def __init__(self, parameters):
        self.parameters = parameters
    def program(self, target_s, rng):
        return np.maximum(target_s + self.parameters.sigma * self.g_max_s *
                          rng.standard_normal(target_s.shape), 0)
    def read_sigma(self, g_s, time_s=0.0, written_s=None):
        return np.zeros_like(g_s)

class NoCell:
    pass
"""
PARTS = """
from cimsim.api import AbstractEstimator, Classification

class Fom(AbstractEstimator):
    gives = ("energy",)
    formula = "5 fJ x 2**bits"
    source = "test"
    def estimate(self, chip, section):
        return {"energy": 5e-15 * 2**chip.adc.bits}

class Task(Classification):
    pass
"""

NETS = """
from cimsim.api import AbstractConverter, AbstractInterconnect, Hop

class Slow(AbstractConverter):
    conversion_s = 1e-3
    def steps(self, bits):
        return 1.0

class Wire(AbstractInterconnect):
    is_one_wire = True
    def way(self, source, targets):
        return (Hop((), tiles=targets),)
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "owncells.py").write_text(CELLS.format(sigma=0.01))
    (tmp_path / "ownparts.py").write_text(PARTS)
    yield tmp_path
    for name in ("owncells", "ownparts"):
        sys.modules.pop(name, None)


def test_a_cell_of_ones_own_has_its_parameters_checked_and_used(outside):
    device = build("owncells:Cell", {"sigma": 0.1})
    target = np.full(100_000, 1e-5)
    written = device.program(target, np.random.default_rng(0))
    assert np.std(written - target) == pytest.approx(0.1 * 2e-5, rel=0.02)
    with pytest.raises(ConfigError, match=r"device\.sigmo: unknown key .*sigma"):
        build("owncells:Cell", {"sigmo": 0.1})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("owncells:NoCell", "expected a class that derives from cimsim.api.AbstractDevice"),
        ("owncells:Missing", "module 'owncells' has no 'Missing'"),
        ("nowhere.at.all:Cell", "cannot import 'nowhere.at.all'"),
        (":Cell", "expected package.module:Name"),
    ],
)
def test_what_is_no_cell_is_refused_with_its_name(outside, kind, told):
    with pytest.raises(ConfigError, match=r"device\.kind: ") as error:
        device_of(load_hw("eflash40nm", {"device.kind": kind}))
    assert told in str(error.value)


def test_another_text_of_the_cell_is_another_chip(outside):
    chip = load_hw("eflash40nm", {"device.kind": "owncells:Cell"})
    before, key = chip_hash(chip), values_of(chip)["device.source_code"]
    assert chip_hash(load_hw("eflash40nm", {"device.kind": "owncells:Cell"})) == before
    (outside / "owncells.py").write_text(CELLS.format(sigma=0.2))
    assert chip_hash(chip) != before
    assert values_of(chip)["device.source_code"] != key


def test_the_hash_of_a_built_in_cell_names_no_code():
    assert "device.source_code" not in values_of(load_hw("eflash40nm"))


def test_an_estimator_of_ones_own_fills_auto(outside):
    chip = load_hw("eflash40nm", {"adc.energy": "auto ownparts:Fom", "adc.bits": 6})
    assert chip.adc.energy_j == pytest.approx(5e-15 * 64)
    with pytest.raises(ConfigError, match=r"gives energy, not area"):
        load_hw("eflash40nm", {"adc.area": "auto ownparts:Fom"})
    with pytest.raises(ConfigError, match=r"expected a class that derives .*AbstractEstimator"):
        load_hw("eflash40nm", {"adc.energy": "auto ownparts:Task"})


def test_installed_packages_offer_cells_estimators_and_tasks(outside, monkeypatch):
    offered = {
        "cimsim.devices": [EntryPoint("mine", "owncells:Cell", "cimsim.devices")],
        "cimsim.estimators": [EntryPoint("fom", "ownparts:Fom", "cimsim.estimators")],
        "cimsim.tasks": [EntryPoint("mine", "ownparts:Task", "cimsim.tasks")],
    }
    monkeypatch.setattr(
        "cimsim.boundary.outside.entry_points", lambda group: offered.get(group, [])
    )
    assert build("mine", {}).g_max_s == 2e-5
    chip = load_hw("eflash40nm", {"adc.energy": "auto fom", "device.kind": "mine"})
    assert chip.adc.energy_j == pytest.approx(5e-15 * 256)
    assert "device.source_code" in values_of(chip)
    assert task_of("mine").__name__ == "Task"
    with pytest.raises(ConfigError, match=r"--task: expected .*mine.*, got 'mina'.*mine"):
        task_of("mina")


def test_installed_packages_offer_converters_and_interconnects(outside, monkeypatch):
    (outside / "ownnets.py").write_text(NETS)
    offered = {
        "cimsim.converters": [EntryPoint("mine", "ownnets:Slow", "cimsim.converters")],
        "cimsim.interconnects": [EntryPoint("net", "ownnets:Wire", "cimsim.interconnects")],
    }
    monkeypatch.setattr(
        "cimsim.boundary.outside.entry_points", lambda group: offered.get(group, [])
    )
    chip = load_hw("eflash40nm", {"adc.kind": "mine", "interconnect.kind": "net"})
    assert chip.adc.conversion_s == 1e-3
    assert interconnect_of(chip).is_one_wire
    for path in ("adc.kind", "interconnect.kind"):
        assert "sha256:" in values_of(chip)[path]
    with pytest.raises(ConfigError, match=r"adc\.kind: expected .*'mine'.*got 'mina'"):
        load_hw("eflash40nm", {"adc.kind": "mina"})
    sys.modules.pop("ownnets", None)


def test_the_code_of_a_task_is_part_of_the_result(outside):
    from ownparts import Task

    from cimsim.api import Arrays, Classification

    torch.manual_seed(0)
    net = torch.nn.Linear(6, 3)
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 6),))
    mapping = cimsim.map_graph(graph, load_hw("eflash40nm"))
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    source = Arrays((x,), np.arange(40) % 3)
    own, plain = (
        cimsim.run(mapping, kind(source=source, samples=4)) for kind in (Task, Classification)
    )
    assert own.inputs["task_code"].startswith("sha256:")
    assert "task_code" not in plain.inputs
    assert own.numbers()["quality.top1"].value == plain.numbers()["quality.top1"].value
