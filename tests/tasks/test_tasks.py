"""Tasks: samples of any kind, asked one by one; measures against counts made here."""

import zipfile

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


IMAGES = np.arange(60, dtype=np.float32).reshape(5, 3, 4)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npz", b"<html>404</html>", r"'.*a\.npz' is no \.npz file \(it begins with b'<html>"),
        ("a.npy", b"<html>404</html>", r"'.*a\.npy' is no \.npy file \(it begins with b'<html>"),
        ("a.npz", b"\x80\x04\x95", r"is no \.npz file \(it is a pickle, which could run code\)"),
        ("a.npz", b"", r"is no \.npz file \(it is empty\); write it with numpy\.savez"),
        ("a.npz", b"PK\x03\x04 and no more", r"cannot read .*damaged or cut short: fetch"),
        ("a.npy", b"\x93NUMPY\x01\x00v", r"cannot read .*damaged or cut short: fetch"),
    ],
)
def test_a_data_file_that_is_none_says_what_it_is(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        Arrays.load(tmp_path / name)
    assert "allow_pickle" not in str(caught.value)


def test_an_array_of_objects_is_named_with_a_way_out(tmp_path):
    objects = np.array([1, "a", None, {}, ()], dtype=object)
    np.savez(tmp_path / "a.npz", x=IMAGES, y=objects)
    with pytest.raises(InputError, match=r"array 'y' of '.*a\.npz' holds Python objects.*astype"):
        Arrays.load(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", objects)
    with pytest.raises(InputError, match=r"'.*a\.npy' holds Python objects.*astype"):
        Arrays.load(tmp_path / "a.npy")


def test_what_is_no_array_in_an_archive_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "how it was made")
    with pytest.raises(InputError, match=r"'readme\.txt' of '.*a\.npz' is no array"):
        Arrays.load(tmp_path / "a.npz")


def test_a_number_beside_arrays_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, version=3)
    with pytest.raises(InputError, match=r"a\.npz: array 'version': expected an axis that"):
        Arrays.load(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_named_when_the_file_is_read(tmp_path, value):
    spoilt = IMAGES.copy()
    spoilt[3, 1, 1] = value
    np.savez(tmp_path / "a.npz", first=IMAGES, second=spoilt, y=np.arange(5))
    with pytest.raises(InputError, match=r"a\.npz: array 'second', sample 3 holds NaN or inf"):
        Arrays.load(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", spoilt)
    with pytest.raises(InputError, match=r"a\.npy: array, sample 3 holds NaN or infinity"):
        Arrays.load(tmp_path / "a.npy")
    held = Arrays((spoilt,))
    held.sample(2)
    with pytest.raises(InputError, match="arrays: input 0, sample 3 holds NaN or infinity"):
        held.sample(3)
    with pytest.raises(InputError, match="dataset: item 3 holds NaN or infinity"):
        Dataset(TensorDataset(torch.from_numpy(spoilt), torch.arange(5))).sample(3)


def test_a_sample_too_large_for_the_network_is_refused(mapping):
    huge = Arrays((np.full((40, 3, 4), 1e300),))
    task = Comparison(source=huge, samples=1, calibration=1)
    with pytest.raises(InputError, match=r"a number too large for torch\.float32"):
        task.calibration_inputs(mapping.graph)


def test_deep_images_are_refused_and_not_made_white(tmp_path):
    Image.fromarray(np.full((4, 4), 30_000, np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"0\.png' has samples of more than 8 bits \(I;16\); sav"):
        Images.load(tmp_path).sample(0)


@pytest.mark.parametrize("gone", ["cat", "dog/1.png"])
def test_a_link_to_nothing_among_images_is_not_left_out_in_silence(tmp_path, gone):
    (tmp_path / "dog").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "dog" / "0.png")
    (tmp_path / gone).symlink_to("nowhere")
    with pytest.raises(InputError, match=rf"{gone}' is a link that leads to nothing"):
        Images.load(tmp_path)
