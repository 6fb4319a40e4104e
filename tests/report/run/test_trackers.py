"""What trackers of experiments get: every number, the inputs, and nothing that they cannot draw."""

import math
import struct
import sys
import types
from contextlib import contextmanager

import pytest

import cimsim
from cimsim.errors import InputError
from cimsim.report.run import trackers


@pytest.fixture(scope="module")
def result():
    network = cimsim.load_network("cimnet", {"stride": 8}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32))
    return cimsim.simulate(cimsim.map_graph(graph, cimsim.load_hw("eflash40nm")), None)


class Tracker(types.ModuleType):
    """Notes down what is called; stands for mlflow and for wandb."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []
        self.info = types.SimpleNamespace(run_id="r1")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*arguments, **options):
            self.calls.append((name, arguments, options))
            return self._run() if name in ("start_run", "init") else None

        return called

    @contextmanager
    def _run(self):
        yield self


def test_metrics_are_the_numbers_with_the_ends_of_their_intervals(result):
    numbers, found = result.numbers(), trackers.metrics(result)
    energy = numbers["energy.per_frame"]
    assert found["energy.per_frame"] == energy.value
    assert (found["energy.per_frame.low"], found["energy.per_frame.high"]) == energy.interval
    assert "timing.bottleneck" not in found  # a text
    assert all(math.isfinite(value) for value in found.values())
    plain = {name for name, one in numbers.items() if isinstance(one.value, int | float)}
    assert plain <= set(found)


def test_parameters_say_what_was_run(result):
    told = trackers.parameters(result)
    assert told["hash"] == result.hash
    assert (told["chip"], told["mapping"]) == ("eflash40nm", "im2col")
    assert all(isinstance(value, str) for value in told.values())


def test_mlflow_gets_parameters_metrics_and_the_file(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", tracker := Tracker("mlflow"))
    assert trackers.to_mlflow(result, "bits", run_name="one") == "r1"
    calls = {name: (arguments, options) for name, arguments, options in tracker.calls}
    assert calls["set_experiment"][0] == ("bits",)
    assert calls["start_run"][1] == {"run_name": "one"}
    assert calls["log_params"][0] == (trackers.parameters(result),)
    assert calls["log_metrics"][0] == (trackers.metrics(result),)
    assert calls["log_text"][0] == (result.to_json(), "result.json")


def test_wandb_gets_a_run_of_one_step(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", tracker := Tracker("wandb"))
    trackers.to_wandb(result, "bits", mode="offline")
    calls = {name: (arguments, options) for name, arguments, options in tracker.calls}
    assert calls["init"][1] == {
        "project": "bits", "config": trackers.parameters(result), "mode": "offline"
    }  # fmt: skip
    assert calls["log"][0] == (trackers.metrics(result),)


def test_tensorboard_reads_what_was_written(result, tmp_path):
    pytest.importorskip("tensorboard")
    trackers.to_tensorboard(result, tmp_path, step=8)
    content = b"".join(path.read_bytes() for path in tmp_path.glob("events*"))
    assert b"energy.per_frame" in content
    assert struct.pack("<f", result.energy.total_j) in content  # summaries are float32


def test_a_missing_tracker_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="mlflow: is not installed: pip install mlflow"):
        trackers.to_mlflow(result)
