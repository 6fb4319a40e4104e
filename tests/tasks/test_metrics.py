"""Metrics of one's own: in result, table, JSON and hash; and what is refused."""

import io
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from rich.console import Console

import cimsim
from cimsim.api import AbstractMetric, Arrays, Classification, Comparison
from cimsim.errors import InputError
from cimsim.report.run.tables import print_result
from cimsim.tasks.metrics import metrics_of
from cimsim.video.embedded import embedded_clip
from cimsim.video.metrics import psnr


class MeanError(AbstractMetric):
    """Mean absolute error of a frame."""

    name, unit, meaning = "mean_error", "1", "mean absolute error"

    def of(self, truth, answer):
        return float(np.abs(answer.astype(np.float64) - truth).mean())


class Decibels(AbstractMetric):
    """The PSNR once more, by way of a metric."""

    name, unit, meaning = "decibels", "dB", "PSNR"

    def of(self, truth, answer):
        return psnr(truth, answer)


class Surely(AbstractMetric):
    """Probability of the right class."""

    name, unit, meaning, judges = "surely", "%", "probability of the right class", "labels"

    def of(self, truth, answer):
        return 100 * float(answer.softmax(0)[truth])


class Largest(AbstractMetric):
    """Largest difference from the float network, over all samples."""

    name, unit, meaning, judges = "largest", "1", "largest difference", "outputs"

    def of(self, truth, answer):
        return float((truth[0] - answer[0]).abs().max())

    def total(self, values):
        return max(values)


@pytest.fixture(scope="module")
def mapping():
    """A mean of nine pixels: it takes noise away, and little time."""
    net = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 3, 3) / 9)
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 3, 32, 32),))
    return cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))


@pytest.fixture(scope="module")
def clip():
    return embedded_clip(frames=3)[:, :32, :32]


@pytest.fixture(scope="module")
def result(mapping, clip):
    return cimsim.simulate(mapping, clip, metrics=[MeanError, Decibels])


def test_a_metric_of_frames_sees_the_frames_that_the_result_has(result):
    frames, numbers = result.frames, result.numbers()
    for who, prefix in (("chip", ""), ("float", "float_"), ("noisy", "noisy_")):
        shown = np.clip(frames[who], 0, 1).astype(np.float64)
        wanted = np.mean([np.abs(a - b).mean() for a, b in zip(frames["clean"], shown,
                                                               strict=True)])  # fmt: skip
        assert numbers[f"quality.{prefix}mean_error"].value == pytest.approx(wanted, rel=1e-12)
    assert numbers["quality.decibels"].value == pytest.approx(result.quality.psnr_db, rel=1e-12)
    assert numbers["quality.noisy_decibels"].value == numbers["quality.noisy_psnr"].value
    assert np.array_equal(result.to_numpy()["chip_decibels"], result.quality.chip_psnr)
    assert numbers["quality.decibels"].interval == pytest.approx(result.psnr_interval)
    assert numbers["quality.mean_error"].unit == "1"


def test_the_table_has_a_row_for_each_metric(result):
    console = Console(file=io.StringIO(), width=200)
    print_result(result, console)
    rows = [line for line in console.file.getvalue().splitlines() if "mean_error" in line]
    assert len(rows) == 1
    # as many digits as its interval allows, where there is one
    for prefix, digits in (("", 4), ("float_", 3), ("noisy_", 3)):
        assert f"{result.numbers()[f'quality.{prefix}mean_error'].value:.{digits}g}" in rows[0]


def test_json_keeps_what_was_measured(result):
    again = cimsim.Result.from_json(result.to_json(), "kept")
    assert again.measures == result.measures
    assert again.numbers()["quality.mean_error"] == result.numbers()["quality.mean_error"]


def test_metrics_move_no_bit_and_enter_the_hash(mapping, clip, result):
    plain = cimsim.simulate(mapping, clip)
    assert np.array_equal(plain.frames["chip"], result.frames["chip"])
    assert plain.hash != result.hash
    assert set(result.inputs["metrics"]) == {"mean_error", "decibels"}
    assert "metrics" not in plain.inputs


def test_several_chips_have_an_interval_over_chips(mapping, clip):
    found = cimsim.simulate(mapping, clip, metrics=[Decibels], programmings=3)
    assert found.measures[0].chip == found.programmings
    assert found.measures[0].interval_of == "programmings"
    assert found.measures[0].interval == pytest.approx(found.psnr_interval)


def test_a_clip_that_is_read_as_it_goes_gives_the_same_numbers(mapping, clip, result, tmp_path):
    np.save(tmp_path / "clip.npy", (clip * 255).round().astype(np.uint8) if clip.dtype != np.uint8
            else clip)  # fmt: skip
    opened = cimsim.load_clip(tmp_path / "clip.npy")
    found = cimsim.simulate(mapping, opened, metrics=[MeanError, Decibels])
    assert [m.chip for m in found.measures] == [m.chip for m in result.measures]


@pytest.fixture(scope="module")
def classes():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 6),))
    x = np.random.default_rng(0).normal(size=(44, 6)).astype(np.float32)
    return cimsim.map_graph(graph, cimsim.load_hw("eflash40nm")), x


def test_metrics_of_labels_and_outputs_stand_beside_those_of_the_task(classes):
    mapping, x = classes
    task = Classification(source=Arrays((x,), np.arange(44) % 3), samples=12)
    found = cimsim.run(mapping, task, metrics=[Surely, Largest])
    names = [m.name for m in found.measures]
    assert names == ["top1", "agreement", "surely", "largest"]
    surely, largest = found.measures[2:]
    wanted = [
        100 * float(mapping.graph.reference(*task.inputs(task.asked(i), mapping.graph))[0][0]
                    .softmax(0)[task.asked(i).label])
        for i in range(12)
    ]  # fmt: skip
    assert surely.reference == pytest.approx(np.mean(wanted), rel=1e-6)
    assert largest.reference is None
    assert largest.mean == max(largest.each)
    assert largest.interval is None  # of no mean
    assert len(surely.each) == 12


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Two words"}, r"name: expected letters a-z, 0-9 and _, got 'Two words'"),
        ({"name": "psnr"}, r"quality\.psnr is a number of every result; take another name"),
        ({"unit": None}, r"unit: expected a text"),
        ({"judges": "sounds"}, r"judges: expected frames, labels, outputs, got 'sounds'"),
        ({"judges": "labels"}, r"judges labels; a clip has frames to judge"),
        (
            {"of": lambda self, truth, answer: 1 / 0},
            r"mean_error.* failed with ZeroDivision",
        ),
        ({"of": lambda self, truth, answer: np.nan}, r"expected a finite number, got nan"),
        (
            {"of": lambda self, truth, answer: "much"},
            r"expected a finite number, got 'much'",
        ),
        ({"__init__": lambda self, more: None}, r"cannot be built: TypeError"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(mapping, clip, change, told):
    kind = type("Wrong", (MeanError,), change)
    with pytest.raises(InputError, match=told) as error:
        cimsim.simulate(mapping, clip[:1], metrics=[kind])
    assert str(error.value).startswith("--metric: ")


def test_what_cannot_be_judged_is_refused(mapping, clip, classes):
    with pytest.raises(InputError, match="nothing runs that they could judge"):
        cimsim.simulate(mapping, None, metrics=[MeanError])
    with pytest.raises(InputError, match=r"clean ones, of which there are none; give.*--reference"):
        cimsim.simulate(mapping, clip, noisy=True, metrics=[MeanError])
    with pytest.raises(InputError, match="another metric has the name 'mean_error'"):
        cimsim.simulate(mapping, clip, metrics=[MeanError, MeanError])
    placed, x = classes
    with pytest.raises(InputError, match=r"surely.: judges labels, sample 0 has none"):
        cimsim.run(placed, Comparison(source=Arrays((x,)), samples=2), metrics=[Surely])
    twice = type("Twice", (Largest,), {"name": "agreement"})
    task = Classification(source=Arrays((x,), np.arange(44) % 3), samples=2)
    with pytest.raises(InputError, match="the task measures 'agreement' already"):
        cimsim.run(placed, task, metrics=[twice])


def test_a_metric_is_found_by_import_path_and_by_entry_point(tmp_path, monkeypatch):
    offered = {"cimsim.metrics": [EntryPoint("theirs", f"{__name__}:MeanError", "cimsim.metrics")]}
    monkeypatch.setattr(
        "cimsim.boundary.outside.entry_points", lambda group: offered.get(group, [])
    )
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules[__name__])
    assert [m.__name__ for m in metrics_of(["theirs"], ("frames",), "a clip")] == ["MeanError"]
    with pytest.raises(InputError, match=r"--metric: 'their' is unknown.*theirs.*package\.module"):
        metrics_of(["their"], ("frames",), "a clip")
    with pytest.raises(InputError, match=r"derives from cimsim\.api\.AbstractMetric"):
        metrics_of(["pathlib:Path"], ("frames",), "a clip")
