"""Classifiers beside published chips: losses, tables, trainings that go on after a kill."""

import numpy as np
import pytest
import torch

from benchmarks.cifar import data, train
from benchmarks.tasks import page
from benchmarks.tasks.cases import CASES, case
from benchmarks.tasks.record import Accuracy, Found, Loss, read


def chips(*right):
    return tuple(Accuracy("A3", "w.safetensors", 200, n, 180, r) for n, r in enumerate(right))


def test_losses_are_points_of_the_mean_chip():
    loss = Loss.of(chips(170, 174, 172))
    assert loss.reference == 90
    assert loss.on_chip == pytest.approx(86)
    assert loss.lost == pytest.approx(4)
    # standard error of 85, 87, 86 and t(0.95, 2) = 2.920
    low, high = loss.interval
    assert (low + high) / 2 == pytest.approx(4)
    assert high - 4 == pytest.approx(2.920 / 3**0.5, rel=1e-3)
    assert Loss.of(chips(170)).interval is None


def test_the_largest_run_of_the_newest_weights_counts():
    old, new = chips(150, 151), chips(170, 174)
    few = Accuracy("A3", "w.safetensors", 20, 0, 18, 17)
    other = [Accuracy("A3", "old", a.samples, a.seed, a.float_right, a.chip_right) for a in old]
    assert Found((*other, few, *new), ()).chips("A3") == new
    assert Found((), ()).chips("A3") == ()


def test_rows_without_both_published_figures_are_not_called_predictions():
    assert case("A3").is_verified
    assert case("A3b").changes
    for row in ("A1", "A2", "A4"):
        assert not case(row).is_verified
    table = page.accuracy(read())
    for one in CASES:
        lines = [line for line in table.splitlines() if line.startswith(f"| {one.row} ")]
        assert all(("| prediction |" in line) == one.is_verified for line in lines)


def test_documents_show_what_was_recorded():
    found = read()
    for path in (page.TASKS, page.VALIDATION):
        assert page.accuracy(found) in path.read_text()
    assert page.costs(found) in page.TASKS.read_text()


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    count = data.HELD_OUT + 300
    np.savez(tmp_path / "train.npz", y=rng.integers(0, 10, count).astype(np.uint8),
             x=rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))  # fmt: skip
    return tmp_path


def test_held_out_images_are_never_learned_from(images):
    _, labels = data.load(images, "train")
    learn, held = data.split(labels)
    assert len(held) == data.HELD_OUT
    assert not set(learn) & set(held)
    assert len(learn) + len(held) == len(labels)


@pytest.mark.slow
@pytest.mark.parametrize("network", train.NETWORKS)
def test_training_goes_on_from_its_checkpoint(images, tmp_path, network):
    def begun():
        return train.Training(network, images, tmp_path / "out", 10.0, 1e-3, 0.1, 0)

    first = begun()
    clean = [w.detach().clone() for w in first.matrices]
    first.rate = 0.0
    first.advance()
    for was, now in zip(clean, first.matrices, strict=True):
        torch.testing.assert_close(was, now)  # the noise of a step is taken away after it
    first.rate = 1e-3
    first.advance()
    first.save()
    again = begun()
    assert (again.step, again.used_s) == (2, first.used_s)
    for name, value in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
    assert any(not torch.equal(a, b) for a, b in zip(clean, again.matrices, strict=True))
    x, y = again._batch()
    before, after = first._batch()
    assert torch.equal(x, before)
    assert torch.equal(y, after)
