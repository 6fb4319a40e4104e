"""Tasks: samples of any kind, asked one by one; measures against counts made here."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

import cimsim
from cimsim.engine.execute import execute
from cimsim.engine.written import written
from cimsim.errors import ConfigError, InputError
from cimsim.session.result import Result
from cimsim.tasks.questions import Classification, Comparison
from cimsim.tasks.shapes import InputShape
from cimsim.tasks.sources import Arrays, Dataset, Images, Normalize, RandomTensors, fitted


@pytest.fixture(scope="module")
def mapping():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 7)).eval()
    graph = cimsim.trace(net, (torch.zeros(1, 3, 4),), name="net")
    return cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    return Arrays((rng.normal(size=(60, 3, 4)).astype(np.float32),), rng.integers(0, 7, 60))


def test_classification_counts_what_a_loop_by_hand_counts(mapping, data):
    task = Classification(source=data, samples=20, calibration=16)
    result = cimsim.run(mapping, task, seed=4, programmings=2)
    calibrated = task.calibration_inputs(mapping.graph)
    right, agree, float_right = [], [], 0
    for seed in (4, 5):
        ready, _ = written(mapping, calibrated, seed, None, lambda *_: None)
        hits = same = 0
        for i in range(20):
            sample = task.asked(i)
            x = torch.from_numpy(sample.inputs[0])[None]
            want = mapping.graph.reference(x)[0].argmax()
            got = execute(ready, (x,), i, seed).outputs[0].argmax()
            hits, same = hits + int(got == sample.label), same + int(got == want)
            float_right += int(want == sample.label) * (seed == 4)
        right.append(100 * hits / 20)
        agree.append(100 * same / 20)
    by_name = {m.name: m for m in result.measures}
    assert by_name["top1"].chip == tuple(right)
    assert by_name["top1"].reference == 100 * float_right / 20
    assert by_name["agreement"].chip == tuple(agree)
    assert set(by_name) == {"top1", "top5", "agreement"}
    assert np.sum(result.details["confusion"]) == 20
    assert result.energy.array_energy_from == "operands"
    # what calibrates is never judged
    asked = {task.asked(i).inputs[0].tobytes() for i in range(20)}
    assert not asked & {x[0].numpy().tobytes() for x in calibrated}


def test_a_result_of_a_task_comes_back_from_its_file(mapping, data, tmp_path):
    result = cimsim.run(mapping, Comparison(source=data, samples=3, calibration=8))
    (snr,) = result.measures
    assert 5 < snr.mean < 60
    assert result.numbers()["quality.snr"].unit == "dB"
    again = Result.load(result.to_dir(tmp_path / "run"))
    assert (again.measures, again.details, again.coverage) == (
        result.measures, result.details, result.coverage,
    )  # fmt: skip
    assert again.hash == result.hash
    other = cimsim.run(mapping, Comparison(source=data, samples=4, calibration=8))
    assert other.hash != result.hash


def test_samples_of_every_source(tmp_path, mapping):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3, 4)), rng.integers(0, 7, 5)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xy.npz", inputs=x, labels=y)
    both = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    for source, labelled in (
        (Arrays.load(tmp_path / "x.npy"), False), (Arrays.load(tmp_path / "xy.npz"), True),
        (Dataset(both), True),
    ):  # fmt: skip
        sample = source.sample(3)
        (got,) = fitted(sample, mapping.graph.inputs, None, "data")
        assert torch.equal(got, torch.from_numpy(x[3]).float()[None])
        assert sample.label == (y[3] if labelled else None)
    for name, value in (("b", 200), ("a", 100)):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (4, 2), (value, 0, 0)).save(tmp_path / "images" / name / "0.png")
    images = Images.load(tmp_path / "images")
    assert images.classes == ("a", "b")
    assert [images.sample(i).label for i in range(2)] == [0, 1]
    assert images.sample(1).inputs[0].shape == (3, 2, 4)
    assert images.sample(1).inputs[0][0].max() == 200


def test_bytes_are_0_to_1_and_normalised_by_channel():
    graph = cimsim.trace(nn.Conv2d(2, 1, 1), (torch.zeros(1, 2, 3, 3),))
    x = np.full((2, 3, 3), 51, np.uint8)
    sample = Arrays((x[None],)).sample(0)
    (got,) = fitted(sample, graph.inputs, Normalize((0.1, 0.2), (0.5, 0.25)), "data")
    assert got[0, :, 0, 0].tolist() == pytest.approx([0.2, 0.0])


def test_random_samples_do_not_depend_on_each_other():
    shapes = (InputShape.parse("1x3x4"), InputShape.parse("1x5:int9"))
    source = RandomTensors(shapes, 4, seed=1)
    later = RandomTensors(shapes, 9, seed=1).sample(3).inputs
    for a, b in zip(source.sample(3).inputs, later, strict=True):
        assert torch.equal(a, b)
    assert later[1].dtype == torch.int64
    assert int(later[1].max()) < 9


@pytest.mark.parametrize("text", ["", "3x", "0x3", "1x3:int0", "1x3:half", "99999x99999", "-1x2"])
def test_a_shape_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--input-shape: expected"):
        InputShape.parse(text)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: Comparison(source=d, samples=60), "60 samples, 60 to judge and 32 to calib"),
        (lambda d: Comparison(source=d, samples=0), "samples: expected at least 1"),
        (lambda d: Arrays((d.arrays[0], d.arrays[0][:3])), "input 0: 60, input 1: 3"),
        (lambda d: Arrays(d.arrays, np.zeros(60)), "expected whole numbers"),
        (lambda d: Normalize.parse("1,2/3"), "expected MEAN/STD"),
    ],
)
def test_what_cannot_be_asked_is_refused(data, make, words):
    with pytest.raises(InputError, match=words):
        make(data)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((40, 4, 3), np.float32), r"the shape \[4, 3\], the network takes \[1, 3, 4\]"),
        (np.zeros((40, 3, 4), np.int64), "is torch.int64, the network takes torch.float32"),
    ],
)
def test_samples_that_do_not_fit_are_refused(mapping, x, words):
    with pytest.raises(InputError, match=words):
        cimsim.run(mapping, Comparison(source=Arrays((x,)), samples=2))


def test_a_network_without_classes_is_not_asked_for_them(data):
    graph = cimsim.trace(nn.Conv1d(3, 2, 1), (torch.zeros(1, 3, 4),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    with pytest.raises(InputError, match=r"takes an output \[1, classes\]"):
        cimsim.run(mapping, Classification(source=data))
