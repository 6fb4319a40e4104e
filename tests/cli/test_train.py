"""``cimsim train`` as a process: killed, resumed, and given data that cannot be used."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import in_process

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments):
    return [sys.executable, "-m", "cimsim", "train", *map(str, arguments)]


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def run(*arguments):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=environment(),
        timeout=300,
    )  # fmt: skip


def write_clips(folder, n_clips=5, edge=48):
    """Image folders of moving random blocks, and their manifest."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n_clips):
        clip = folder / f"clip{index}"
        clip.mkdir(parents=True)
        image = np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((edge // 6, edge // 6, 1)))
        for frame in range(4):
            moved = np.roll(image, frame, axis=1).astype(np.uint8)
            Image.fromarray(moved).save(clip / f"{frame}.png")
        rows.append({"file": clip.name, "scene": f"scene{index}"})
    with (folder / "manifest.csv").open("w", newline="") as handle:
        table = csv.DictWriter(handle, ["file", "scene"])
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


def settings(clips, out, steps):
    return [
        "--model", "baseline-o1", "--stride", 8, "--data", clips, "--out", out, "--steps", steps,
        "--batch", 2, "--crop", 32, "--validation-scenes", 2, "--validation-crop", 32,
        "--checkpoint-steps", 20,
    ]  # fmt: skip


def losses(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


@pytest.mark.slow
def test_json_has_what_the_screen_tells(clips, tmp_path):
    done = run(*settings(clips, tmp_path / "o", 2), "--json")
    told = json.loads(done.stdout)
    assert (told["finished"], told["step"]) == (True, 2)
    assert f"{told['psnr_db']:.2f} dB" in done.stderr
    assert Path(told["weights"]).is_file()


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_curve(clips, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*settings(clips, whole, 200)).returncode == 0
    with subprocess.Popen(
        command(*settings(clips, killed, 200)), env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not (killed / "checkpoint.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # some steps beyond the checkpoint
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "baseline-o1_s8.safetensors").exists()
    done = run(*settings(clips, killed, 200))
    assert done.returncode == 0, done.stderr
    expected, found = losses(whole), losses(killed)
    common = sorted(expected.keys() & found.keys())
    assert set(range(20, 201, 20)) <= set(common)
    assert [found[step] for step in common] == [expected[step] for step in common]
    files = [folder / "baseline-o1_s8.safetensors" for folder in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_says_so(clips, tmp_path):
    with subprocess.Popen(
        command(*settings(clips, tmp_path, 1_000_000)), env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not (tmp_path / "log.jsonl").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert "interrupted at step" in out
    assert "goes on from here" in out
    assert process.returncode == 130
    assert "no result" not in err
    assert "Traceback" not in err
    assert (tmp_path / "checkpoint.pt").is_file()


def wrong_data(case, folder):
    if case == "empty":
        return ["manifest.csv: not found", "file and scene"]
    write_clips(folder)
    if case == "corrupt":
        (folder / "clip1" / "2.png").write_bytes(b"no picture")
        return ["clip1", "2.png"]
    if case == "missing":
        (folder / "clip2").rename(folder / "elsewhere")
        return ["clip2"]
    return ["crop 64 with 3 frames fits into none", "smaller crop"]


@pytest.mark.parametrize("case", ["empty", "corrupt", "missing", "small"])
def test_data_that_cannot_be_used(case, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    parts = wrong_data(case, folder)
    done = in_process(
        "train", "--model", "baseline-o1", "--data", folder, "--out", tmp_path / "out",
        "--steps", 1, "--validation-scenes", 2, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    for part in parts:
        assert part in done.stderr.replace("\n", " ")


def test_a_device_that_is_not_there(clips, tmp_path):
    done = in_process(
        "train", *settings(clips, tmp_path / "o", 1), "--device", "cuda:93", cwd=tmp_path
    )
    assert done.returncode == 2
    assert "device: 'cuda:93' cannot be used here" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rate", "block1.up1.*", "--rate: expected PATTERN=N, got 'block1.up1.*'"),
        ("--rate", "block1.up1.*=fast", "--rate: expected PATTERN=N"),
        ("--rate", "block1.up1.*=-1", "rates: block1.up1.*: expected a positive factor, got -1"),
    ],
)
def test_a_rate_that_is_none(option, value, message, tmp_path):
    done = in_process(
        "train", "--data", tmp_path, "--out", tmp_path / "out", "--steps", 1, option, value,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
