from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cimsim.errors import ConfigError
from cimsim.training import teacher
from cimsim.training.card import command, save_trained
from cimsim.training.config import TrainConfig
from cimsim.training.data import Clip, Dataset, Sampler
from cimsim.training.train import train
from cimsim.zoo import registry
from cimsim.zoo.narrow import is_narrowed, narrow, shapes_of_state
from cimsim.zoo.weights import Card, save_weights

SMALL = {"width": 4, "per_frame": 3}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    clips = []
    for index in range(4):
        field = gaussian_filter(rng.standard_normal((40, 40, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        frames = np.stack([np.roll(image, shift, axis=0) for shift in range(4)])
        clips.append(Clip(f"{index}", f"{index}", frames))
    return Dataset(tuple(clips[1:]), tuple(clips[:1]), ())


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A teacher's file and a student's start."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(3)
    for name, options in (("teacher", {"width": 6, "per_frame": 5}), ("start", SMALL)):
        model = registry.build("fastdvdnet-block", **options)
        torch.save(model.state_dict(), folder / f"{name}.pth")
    return folder


def config(out, taught, **changes):
    values = {
        "model": "fastdvdnet-block", "options": SMALL, "data": out, "out": out, "steps": 4,
        "batch": 2, "crop": 16, "validation_crop": 32, "warmup_steps": 2, "amp": False,
        "start": str(taught / "start.pth"), "teacher": str(taught / "teacher.pth"),
    }  # fmt: skip
    return TrainConfig(**(values | changes))


def test_the_loss_of_a_step_is_the_one_computed_by_hand(tmp_path, data, taught):
    seen = []
    train(config(tmp_path, taught, steps=1, teacher_weight=0.7), dataset=data,
          progress=lambda report: seen.append(report.loss))  # fmt: skip
    sampler = Sampler(data, n_frames=3, crop=16, batch=2, sigma=(15.0, 15.0), stills=0.3, seed=0)
    noisy, noise_map, clean = sampler.draw(0)
    student = registry.build("fastdvdnet-block", **SMALL)
    student.load_state_dict(torch.load(taught / "start.pth"))
    guide = registry.build("fastdvdnet-block", width=6, per_frame=5)
    guide.load_state_dict(torch.load(taught / "teacher.pth"))
    with torch.no_grad():
        out, target = student.train()(noisy, noise_map), guide.eval()(noisy, noise_map)
    errors = [float(((out - wanted).double() ** 2).mean()) for wanted in (clean, target)]
    assert seen == [pytest.approx(errors[0] + 0.7 * errors[1], rel=1e-4)]


def test_a_teacher_is_frozen_and_its_gradient_goes_to_the_student_alone(taught):
    guide = teacher.load(str(taught / "teacher.pth"), 3)
    assert not guide.training
    assert not any(parameter.requires_grad for parameter in guide.parameters())
    estimate = torch.rand(1, 3, 4, 4, requires_grad=True)
    clean, target = torch.rand(2, 1, 3, 4, 4)
    teacher.loss(estimate, clean, target, 0.5).backward()
    wanted = 2 / 48 * ((estimate - clean) + 0.5 * (estimate - target)).detach()
    torch.testing.assert_close(estimate.grad, wanted)


@pytest.mark.slow
def test_a_taught_run_goes_on_exactly(tmp_path, data, taught):
    def stop(report):
        if report.step == 2:
            raise KeyboardInterrupt

    whole = train(config(tmp_path / "a", taught), dataset=data)
    train(config(tmp_path / "b", taught), dataset=data, progress=stop)
    rest = train(config(tmp_path / "b", taught), dataset=data)
    alone = train(config(tmp_path / "c", taught, teacher=None), dataset=data)
    states = [run.model.state_dict() for run in (whole, rest, alone)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"teacher": None}, "teacher: this checkpoint is of '.*teacher.pth', not of None"),
     ({"teacher_weight": 2.0}, "teacher_weight: this checkpoint is of 0.5, not of 2.0")],
)  # fmt: skip
def test_a_run_does_not_go_on_with_another_teacher(tmp_path, data, taught, change, message):
    train(config(tmp_path, taught, steps=1), dataset=data)
    with pytest.raises(ConfigError, match=message):
        train(config(tmp_path, taught, **change), dataset=data)


def test_checkpoints_of_before_there_were_teachers_go_on(tmp_path, taught):
    saved = config(tmp_path, taught, teacher=None).plain()
    for name in ("teacher", "teacher_weight"):
        del saved[name]
    config(tmp_path, taught, teacher=None).check_resumable(saved, tmp_path)
    with pytest.raises(ConfigError, match="teacher: this checkpoint is of None"):
        config(tmp_path, taught).check_resumable(saved, tmp_path)


def test_the_card_names_the_teacher(tmp_path, taught):
    line = command(config(tmp_path, taught, teacher_weight=2.0))
    assert "--teacher teacher.pth --teacher-weight 2" in line
    assert "teacher" not in command(config(tmp_path, taught, teacher=None)).partition("--init")[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", "teacher: 'nobody' is no weight file, no shipped weights and no network"),
        ("dncnn", "teacher: 'dncnn' has no shipped weights for its default options"),
    ],
)
def test_a_teacher_that_is_nothing_is_named_before_clips_are_read(tmp_path, taught, name, message):
    with pytest.raises(ConfigError, match=message):
        train(config(tmp_path, taught, teacher=name, data=tmp_path / "nowhere"))


def test_a_teacher_of_more_frames_is_refused(tmp_path):
    path = tmp_path / "five.pth"
    torch.save(registry.build("fastdvdnet", **SMALL).state_dict(), path)
    with pytest.raises(ConfigError, match="looks at 5 frames, the network to train at 3"):
        teacher.load(str(path), 3)
    torch.save({"x": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match=r"tensors of no network of the zoo.*its card"):
        teacher.load(str(path), 3)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_weights_that_are_no_weight(tmp_path, taught, weight):
    with pytest.raises(ConfigError, match="teacher_weight: expected a positive number"):
        config(tmp_path, taught, teacher_weight=weight)


def test_shipped_weights_are_found_by_their_names():
    assert teacher.find("fastdvdnet-block").model == "fastdvdnet-block"
    assert teacher.find("cimnet").options["stride"] == 8
    assert teacher.find("cimnet_s8_eflash40nm").hw == "eflash40nm"


def pruned_file(path):
    model = registry.build("fastdvdnet-block", **SMALL)
    shapes = shapes_of_state(model)
    for name in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"outc.convblock.1.{name}"] = (2,)
    shapes |= {"outc.convblock.0.weight": (2, 4, 3, 3), "outc.convblock.3.weight": (3, 2, 3, 3)}
    narrow(model, shapes, where="test")
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(part.weight)
            part.running_var.fill_(1)
    save_weights(model, path, Card(
        model="fastdvdnet-block", options=SMALL, data="d", licence="l", steps=1, minutes=0.0,
        device="cpu", seed=0, sigma=(15.0, 15.0), psnr_db={}, command="c", code_version="0",
    ))  # fmt: skip


def test_a_pruned_start_trains_resumes_and_is_saved_as_pruned(tmp_path, data, taught):
    start = tmp_path / "p.safetensors"
    pruned_file(start)

    def stop(report):
        if report.step == 2:
            raise KeyboardInterrupt

    changes = {"start": str(start), "teacher": str(start)}
    whole = train(config(tmp_path / "a", taught, **changes), dataset=data)
    train(config(tmp_path / "b", taught, **changes), dataset=data, progress=stop)
    rest = train(config(tmp_path / "b", taught, **changes), dataset=data)
    for a, b in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert is_narrowed(rest.model)
    path = save_trained(rest, config(tmp_path / "b", taught, **changes))
    assert path.name == "fastdvdnet-block_w4_f3_pruned.safetensors"
    assert teacher.load(str(path), 3).outc.convblock[0].out_channels == 2
