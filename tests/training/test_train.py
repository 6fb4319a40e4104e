from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cimsim.errors import ConfigError, SimulationError
from cimsim.training.average import Average
from cimsim.training.checkpoint import BEST, CHECKPOINT, LOCK, LOG
from cimsim.training.config import TrainConfig
from cimsim.training.data import Clip, Dataset
from cimsim.training.train import train
from cimsim.zoo import registry
from cimsim.zoo.weights import file_hash, named_card


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    clips = []
    for index in range(6):
        field = gaussian_filter(rng.standard_normal((48, 48, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        frames = np.stack([np.roll(image, shift, axis=0) for shift in range(4)])
        clips.append(Clip(f"{index}", f"{index}", frames))
    return Dataset(tuple(clips[2:]), tuple(clips[:2]), tuple(clips[2:3]))


def config(out, **changes):
    values = {
        "model": "fastdvdnet-block",
        "data": out,
        "out": out,
        "steps": 4,
        "batch": 2,
        "crop": 16,
        "validation_crop": 32,
        "warmup_steps": 2,
    }
    return TrainConfig(**(values | changes))


def test_training_denoises(tmp_path, data):
    seen = []
    result = train(
        config(
            tmp_path,
            steps=60,
            crop=24,
            batch=4,
            sigma=(60.0, 60.0),
            lr=5e-3,
            ema=0.9,
        ),
        dataset=data,
        progress=seen.append,
    )
    assert result.finished
    assert result.step == 60
    assert result.psnr_db > result.noisy_db + 3
    assert [report.step for report in seen] == list(range(1, 61))
    assert seen[-1].fraction == 1
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 20, 40, 60]
    assert lines[0]["psnr_db"] < result.psnr_db
    assert lines[0]["loss"] is None
    assert lines[-1]["psnr_db"] == result.psnr_db  # the end is validated and logged
    hidden = [path.name for path in tmp_path.glob(".*")]
    assert hidden == [LOCK]  # no temporary file is left


def test_an_interrupted_run_goes_on_exactly(tmp_path, data):
    whole = train(config(tmp_path / "a"), dataset=data)

    def stop(report):
        if report.step == 2:
            raise KeyboardInterrupt

    part = train(config(tmp_path / "b"), dataset=data, progress=stop)
    assert not part.finished
    assert part.step == 2
    assert (tmp_path / "b" / CHECKPOINT).is_file()
    rest = train(config(tmp_path / "b"), dataset=data)
    assert rest.step == 4
    for a, b in zip(
        whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_with_a_chip_in_the_loop_it_goes_on_exactly_too(tmp_path, data):
    start = tmp_path / "start.pt"
    torch.save(registry.build("baseline-o1", stride=8).state_dict(), start)
    same = {"model": "baseline-o1", "options": {"stride": 8}, "crop": 32, "hw": "eflash40nm"}
    same |= {"start": str(start), "steps": 3}

    def stop(report):
        if report.step == 2:
            raise KeyboardInterrupt

    whole = train(config(tmp_path / "a", **same), dataset=data)
    train(config(tmp_path / "b", **same), dataset=data, progress=stop)
    rest = train(config(tmp_path / "b", **same), dataset=data)
    assert whole.chip_db == rest.chip_db
    for a, b in zip(
        whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_the_best_network_is_kept(tmp_path, data):
    result = train(config(tmp_path), dataset=data)
    state = torch.load(tmp_path / BEST, weights_only=True)
    again = registry.build("fastdvdnet-block")
    again.load_state_dict(state["model"])
    for a, b in zip(again.state_dict().values(), result.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, data):
    train(config(tmp_path, steps=1), dataset=data)
    with pytest.raises(
        ConfigError, match="model: this checkpoint is of 'fastdvdnet-block', not of 'd"
    ):
        train(config(tmp_path, model="dncnn"), dataset=data)


def test_frozen_norms_keep_their_statistics(tmp_path, data):
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    model = registry.build("cimnet", stride=2)
    torch.save(model.state_dict(), start)
    options = {"model": "cimnet", "options": {"stride": 2}, "start": str(start), "ema": 0.0}
    frozen = train(config(tmp_path / "a", freeze_bn_at=0.0, **options), dataset=data)
    moving = train(config(tmp_path / "b", **options), dataset=data)
    key = "block1.encode.1.running_mean"
    assert not frozen.model.state_dict()[key].any()
    assert moving.model.state_dict()[key].any()


def test_wiener_start_is_for_cimnet(tmp_path, data):
    with pytest.raises(
        ConfigError, match="start wiener: only for cimnet with stages=1 and abla-net, not for D"
    ):
        train(config(tmp_path, model="dncnn", start="wiener"), dataset=data)


def test_a_start_that_is_nothing_is_named_before_clips_are_read(tmp_path):
    with pytest.raises(ConfigError, match=r"'shrinkag' is no weight file.*did you mean shrinkage"):
        train(config(tmp_path, data=tmp_path / "nowhere", start="shrinkag"))


def test_a_resumed_run_needs_its_start_no_more(tmp_path, data):
    start = tmp_path / "start.pt"
    torch.save(registry.build("fastdvdnet-block").state_dict(), start)
    train(config(tmp_path / "a", steps=1, start=str(start)), dataset=data)
    start.unlink()
    assert train(config(tmp_path / "a", steps=2, start=str(start)), dataset=data).step == 2


def test_a_resumed_run_tells_what_changed(tmp_path, data, caplog):
    train(config(tmp_path, steps=1), dataset=data)
    train(config(tmp_path, steps=2, ema=0.5), dataset=data)
    assert "goes on with other settings: ema was 0.998, is 0.5" in caplog.text


def test_other_layer_rates_than_the_checkpoint_s_are_refused(tmp_path, data):
    train(config(tmp_path, steps=1), dataset=data)
    with pytest.raises(ConfigError, match=r"lr_fan_in: layers learn at other rates.*--fresh"):
        train(config(tmp_path, steps=2, lr_fan_in=3), dataset=data)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path, data):
    train(config(tmp_path, steps=1), dataset=data)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(SimulationError, match=r"loss of step \d+ is not finite.*--lr"):
        train(config(tmp_path, steps=9, lr=1e30, warmup_steps=0), dataset=data)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_minutes_end_a_run(tmp_path, data):
    result = train(config(tmp_path, steps=None, minutes=1e-6), dataset=data)
    assert result.step == 1


@pytest.mark.parametrize("optimiser", ["muon", "adam"])
def test_what_is_frozen_stays_and_the_rest_moves(tmp_path, data, optimiser):
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    model = registry.build("cimnet", stride=2)
    torch.save(model.state_dict(), start)
    frozen = ("block1.smooth_*", "block1.down1.*")
    options = {"model": "cimnet", "options": {"stride": 2}, "start": str(start), "ema": 0.0}
    result = train(
        config(tmp_path / "a", freeze=frozen, optimiser=optimiser, **options), dataset=data
    )
    before, after = model.state_dict(), result.model.state_dict()
    for name, value in before.items():
        stays = "smooth_" in name or "down1" in name
        if value.is_floating_point():
            assert torch.equal(value, after[name]) == stays, name


def test_a_faster_rate_moves_farther(tmp_path, data):
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    model = registry.build("cimnet", stride=2)
    torch.save(model.state_dict(), start)
    same = {"model": "cimnet", "options": {"stride": 2}, "start": str(start), "ema": 0.0}
    same |= {"steps": 1, "warmup_steps": 0}
    name = "block1.encode.0.weight"
    moved = []
    for rates in ({}, {"block1.encode.*": 4.0}):
        result = train(config(tmp_path / f"r{len(rates)}", rates=rates, **same), dataset=data)
        # what decays in front of a norm decays faster, too
        moved.append((result.model.state_dict()[name] - model.state_dict()[name]).norm())
    assert moved[1] / moved[0] == pytest.approx(4, rel=1e-3)


def test_other_rates_do_not_go_on_from_a_checkpoint(tmp_path, data):
    same = {"model": "cimnet", "options": {"stride": 2}, "start": "random", "steps": 1}
    train(config(tmp_path, **same), dataset=data)
    same["steps"] = 2
    with pytest.raises(ConfigError, match="freeze: this checkpoint is of"):
        train(config(tmp_path, freeze=("block1.smooth_*",), **same), dataset=data)
    with pytest.raises(ConfigError, match="rates: this checkpoint is of"):
        train(config(tmp_path, rates={"block1.up1.*": 2.0}, **same), dataset=data)


def test_the_lineage_goes_on_from_shipped_weights_and_from_files(tmp_path, data):
    from_file = tmp_path / "some.pt"
    torch.save(registry.build("foldnet", stride=2).state_dict(), from_file)
    settings = {"model": "foldnet", "options": {"stride": 2}, "steps": 1}
    first = train(config(tmp_path / "a", start=str(from_file), **settings), dataset=data)
    assert [stage.command for stage in first.ancestors] == ["weights of unknown training: some.pt"]
    assert first.ancestors[0].sha256 == file_hash(from_file)
    shipped = train(config(tmp_path / "b", start="fastdvdnet-block", steps=1), dataset=data)
    card = named_card("fastdvdnet-block")
    assert shipped.ancestors == card.stages
    assert shipped.ancestors[-1].sha256 == card.sha256
    from_file.unlink()
    again = train(config(tmp_path / "a", **(settings | {"steps": 2})), dataset=data)
    assert again.ancestors == first.ancestors
    assert again.earlier_budgets == ("1 steps",)


def test_an_averaged_copy_follows_every_tensor():
    source, copy = (registry.build("foldnet", stride=2) for _ in range(2))
    before = {name: value.clone() for name, value in copy.state_dict().items()}
    source.read.norm.num_batches_tracked += 7
    Average(source, copy, 0.9).follow(1000)
    for name, value in copy.state_dict().items():
        twin = source.state_dict()[name]
        expected = 0.9 * before[name] + 0.1 * twin if value.is_floating_point() else twin
        torch.testing.assert_close(value, expected)
