"""The main job on small frames: what it prints, what it writes, and that it repeats bit for bit."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import InputError
from cimsim.session.result import Result
from cimsim.video.io import read_clip

SMALL = ["run", "--size", "64x48", "--frames", "2", "--quiet"]


def run(*arguments, columns=120):
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [*SMALL, *map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return run("--out", folder), folder


def test_screen_answers_quality_time_energy_and_hardware(demo):
    screen, _ = demo
    for part in (
        "noisy input", "float32", "on the chip", "SSIM", "cycles", "latency", "frames per second",
        "bottleneck", "ADCs", "DACs", "static", "TOPS/W", "arrays used", "6 of 76", "area",
        "windows (MVMs)", "array activations", "ADC conversions", "before_after.png",
    ):  # fmt: skip
        assert part in screen, part


@pytest.mark.slow
def test_screen_fits_any_usual_width(tmp_path):
    for columns in (80, 120, 160):
        screen = run("--out", tmp_path / "x", columns=columns)
        tables = screen[: screen.index("report:")]
        assert max(map(len, tables.splitlines())) <= columns
        assert "…" not in tables


def test_folder_holds_everything_and_no_partial(demo):
    _, folder = demo
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "result.json", "manifest.json", "layers.csv", "before_after.png",
        "plots/energy_by_layer.png", "plots/time_by_layer.png", "plots/psnr_per_frame.png",
        "plots/tornado.png",
        *(f"frames/{kind}/{n:05d}.png" for kind in ("noisy", "chip") for n in range(2)),
    }  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]


def test_numbers_hang_together(demo):
    _, folder = demo
    numbers = {k: n.value for k, n in Result.load(folder).numbers().items()}
    parts = [v for k, v in numbers.items() if k.startswith("energy.") and k.count(".") == 1]
    assert numbers["energy.per_frame"] in parts
    with (folder / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["energy_j"]) for row in rows) == pytest.approx(numbers["energy.per_frame"])
    for count in ("windows", "activations", "conversions", "macs"):
        matrices = [row for row in rows if row["macs"]]
        assert sum(int(row[count]) for row in matrices) == numbers[f"work.{count}"]
    # 64 x 48 at stride 8: two windows for each of 8 x 6 blocks
    assert numbers["work.windows"] == 2 * 48
    assert numbers["timing.latency_s"] == pytest.approx(numbers["timing.latency"] / 148e6)
    assert numbers["timing.latency"] >= numbers["timing.cycles_per_frame"]
    seconds = numbers["timing.seconds_per_frame"]
    assert numbers["energy.average_power"] == pytest.approx(numbers["energy.per_frame"] / seconds)
    assert numbers["quality.chip_psnr"] > numbers["quality.noisy_psnr"]


def test_result_reloads_and_refuses_edited_inputs(demo, tmp_path):
    _, folder = demo
    result = Result.load(folder)
    copy = tmp_path / "result.json"
    copy.write_text(result.to_json())
    assert Result.load(copy) == result
    data = json.loads(copy.read_text())
    data["inputs"]["seed"] = 1
    copy.write_text(json.dumps(data))
    with pytest.raises(InputError, match="edited"):
        Result.load(copy)


@pytest.mark.slow
def test_same_seed_same_bits_whatever_the_threads(demo, tmp_path):
    _, folder = demo
    first = Result.load(folder)
    run("--out", tmp_path / "again", "--threads", 1)
    again = Result.load(tmp_path / "again")
    assert again == first
    frames = [read_clip(path / "frames" / "chip") for path in (folder, tmp_path / "again")]
    np.testing.assert_array_equal(*frames)
    run("--out", tmp_path / "other", "--seed", 1)
    other = Result.load(tmp_path / "other")
    assert other.hash != first.hash
    assert other.quality.chip_psnr != first.quality.chip_psnr


@pytest.mark.slow
def test_an_earlier_run_in_the_same_place_is_replaced(tmp_path):
    run("--out", tmp_path / "x", "--seed", 1)
    run("--out", tmp_path / "x", "--seed", 2)
    assert Result.load(tmp_path / "x").inputs["seed"] == 2


@pytest.mark.slow
def test_own_network_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n"
        "class Blur(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(),"
        " nn.Conv2d(8, 3, 3, padding=1))\n"
    )
    monkeypatch.chdir(tmp_path)
    screen = run("--model", "my_net:Blur", "--weights", "random", "--out", tmp_path / "x")
    assert "Blur" in screen
    assert "PSNR means nothing" in screen
    assert Result.load(tmp_path / "x").hardware.weights == 27 * 8 + 72 * 3


@pytest.mark.slow
def test_image_folder_as_input_is_cropped_to_the_size_asked_for(tmp_path, demo):
    _, folder = demo
    screen = run("--input", folder / "frames" / "noisy", "--size", "32x24", "--out", tmp_path / "x")
    assert "2 frames of 32 x 24" in screen


@pytest.mark.slow
def test_time_and_temperature_are_shortcuts_for_the_chips_conditions(tmp_path):
    run("--time", "30d", "--set", "device.kind=pcm", "--out", tmp_path / "short")
    long = run(
        "--set", "conditions.time=30 d", "--set", "device.kind=pcm", "--out", tmp_path / "long"
    )  # fmt: skip
    assert "30 d after programming at 25 °C" in " ".join(long.split())
    short = Result.load(tmp_path / "short")
    other = Result.load(tmp_path / "long")
    assert short.hash == other.hash
    # all that was measured; only the record of how the chip was asked for may differ
    differ = {f.name for f in dataclasses.fields(short)
              if getattr(short, f.name) != getattr(other, f.name)}  # fmt: skip
    assert differ <= {"inputs", "command"}
    told = [{k: v for k, v in r.inputs.items() if k != "overrides"} for r in (short, other)]
    assert told[0] == told[1]
    frames = [read_clip(tmp_path / name / "frames" / "chip") for name in ("short", "long")]
    np.testing.assert_array_equal(*frames)
    assert short.inputs["chip"]["conditions"]["time_s"] == 30 * 86400
    run("--temperature", "85C", "--out", tmp_path / "warm")
    warm = Result.load(tmp_path / "warm")
    assert warm.inputs["chip"]["conditions"]["temperature_k"] == pytest.approx(358.15)
    assert any("at 85 °C" in note for note in warm.notes)


@pytest.mark.slow
def test_pulses_of_a_loop_that_was_run_are_what_programming_costs(demo, tmp_path):
    _, folder = demo
    loop = ("device.sigma_program=0", "device.sigma_read=0", "device.verify.tolerance=0",
            "device.verify.gain=1")  # fmt: skip
    run(*(part for item in loop for part in ("--set", item)), "--out", tmp_path / "x")
    measured, assumed = Result.load(tmp_path / "x"), Result.load(folder)
    erase = measured.hardware.arrays_used * 10e-6
    pulses = (measured.energy.programming_j - erase) / (2 * measured.hardware.weights * 1e-9)
    # one exact pulse for the written cell of each pair whose weight is not 0
    assert 0.4 < pulses < 0.5
    assert assumed.energy.programming_j == pytest.approx(
        erase + 2 * assumed.hardware.weights * 20e-9, rel=1e-9
    )


CASCADE = """
import torch
from torch import nn

class Cascade(nn.Module):
    n_frames, multiple = 5, 1

    def __init__(self):
        super().__init__()
        self.early, self.late = (nn.Conv2d(10, 3, 3, padding=1) for _ in range(2))

    def first_stage(self, frames, noise_map):
        return self.early(torch.cat([frames, noise_map], dim=1))

    def second_stage(self, frames, noise_map):
        return self.late(torch.cat([frames, noise_map], dim=1))

    def forward(self, frames, noise_map):
        steps = [self.first_stage(frames[:, 3 * i : 3 * i + 9], noise_map) for i in range(3)]
        return self.second_stage(torch.cat(steps, dim=1), noise_map)
"""


@pytest.mark.slow
def test_streaming_prints_and_stores_what_it_saves(tmp_path, monkeypatch):
    (tmp_path / "cascade.py").write_text(CASCADE)
    monkeypatch.chdir(tmp_path)
    own = ("--model", "cascade:Cascade", "--weights", "random")
    screen = run(*own, "--streaming", "--out", tmp_path / "s", columns=80)
    written = run(*own, "--out", tmp_path / "w", columns=80)
    tables = screen[: screen.index("report:")]
    assert "Streaming saves" in tables
    assert max(map(len, tables.splitlines())) <= 80
    assert "…" not in tables
    assert "with --streaming" in " ".join(written.split())
    assert "Streaming saves" not in written
    short, long = Result.load(tmp_path / "s"), Result.load(tmp_path / "w")
    assert "streaming" in short.model
    assert short.as_written.cycles_per_frame == long.timing.cycles_per_frame
    assert short.as_written.windows == long.hardware.windows == 4 * 64 * 48
    assert short.hardware.windows == 2 * 64 * 48
    assert short.quality.float_psnr == pytest.approx(long.quality.float_psnr, abs=1e-4)
