from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.ndimage import gaussian_filter

from benchmarks.paper.pids import listed, read_pids
from benchmarks.paper.queue_file import load_queue, select
from benchmarks.paper.queue_status import look
from benchmarks.paper.runner import LOCK, Runner
from cimsim.chip.load import shipped
from cimsim.errors import ConfigError
from cimsim.training.checkpoint import BEST
from cimsim.training.data import Clip, Dataset, validation_batch
from cimsim.training.train import mean_psnr
from cimsim.video.io import write_clip
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, load_weights

ROOT = Path(__file__).resolve().parents[2]
COMMON = {
    "batch": 2, "crop": 16, "warmup_steps": 2, "validation_scenes": 1, "validation_crop": 32,
    "checkpoint_steps": 2, "ema": 0.5, "optimiser": "adam",
}  # fmt: skip
NET = {"model": "foldnet", "options": {"stride": 2}, "budget": {"steps": 2}}

ONE = {"steps": 1}


def textures(count=3):
    rng = np.random.default_rng(0)
    for index in range(count):
        field = gaussian_filter(rng.standard_normal((40, 40, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        frames = np.stack([np.roll(image, shift, axis=0) for shift in range(3)])
        yield Clip(f"{index}", f"s{index}", frames)


@pytest.fixture(scope="module")
def dataset():
    clips = tuple(textures())
    return Dataset(clips[1:], clips[:1], ())


@pytest.fixture
def queue_file(tmp_path):
    def write(*entries, **common):
        path = tmp_path / "queue.yaml"
        path.write_text(yaml.safe_dump({"common": COMMON | common, "entries": list(entries)}))
        return path

    return write


@pytest.fixture
def runner(tmp_path, dataset):
    return Runner(tmp_path, tmp_path / "out", dataset=dataset, poll_s=0.05)


def states(outcomes):
    return [(outcome.network, outcome.state) for outcome in outcomes]


@pytest.mark.slow
def test_the_shipped_queue_can_be_trained_and_names_its_weights_as_they_are_shipped(tmp_path):
    jobs = load_queue().jobs()
    runner = Runner(tmp_path, tmp_path)
    assert len({job.name for job in jobs}) == len(jobs)
    for job in jobs:
        chip = job.settings.get("hw")
        assert [name for name in shipped() if name in job.name] == ([chip] if chip else [])
        stem = runner.weights(job).stem.removesuffix(f"_{chip}")
        assert job.name.startswith(stem), job.name
        assert (job.settings["sigma"] == (5, 55)) == ("_blind" in job.name)
    seeds = [job.settings["seed"] for job in jobs]
    assert seeds == sorted(seeds)
    assert set(seeds) == {0, 1, 2}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a"} | NET | {"modl": 1}], r"entries\.a\.modl: unknown key.*did you mean model"),
        ([{"name": "a"} | NET | {"settings": {"bach": 1}}],
         r"entries\.a: settings: bach: unknown setting.*did you mean batch"),
        ([{"name": "a"} | NET | {"settings": {"seed": 1}}], r"seed: .* place of its own"),
        ([{"name": "a"} | NET | {"settings": {"batch": "many"}}],
         r"entries\.a: settings: batch: .*integer.*got 'many'"),
        ([{"name": "a"} | NET | {"settings": {"lr": -1}}], r"lr: expected a positive number"),
        ([{"name": "a"} | NET | {"sigma": [55, 5]}], r"entries\.a: settings: sigma: expected 0 <="),
        ([{"name": "a"} | NET | {"budget": {}}], r"entries\.a: budget: give minutes, steps or"),
        ([{"name": "a"} | NET | {"budget": {"hours": 1}}], r"entries\.a\.budget\.hours: unknown"),
        ([{"name": "a", "model": "foldnet"}], r"entries\.a\.budget: Field required"),
        ([{"name": "a"} | NET | {"model": "foldnt"}], r"entries\.a: .*did you mean foldnet"),
        ([{"name": "a"} | NET | {"options": {"stride": 3}}], r"foldnet: stride: expected one of"),
        ([{"name": "a", "budget": {"steps": 1}}], r"entries\.a: model: missing"),
        ([{"name": "a", "after": "b"} | NET, {"name": "c"} | NET],
         r"entries\.a: after: no entry 'b'; known: a, c"),
        ([{"name": "a", "after": "b"} | NET, {"name": "b", "after": "a"} | NET],
         r"entries\.a: after: goes in a circle, a after b after a"),
        ([{"name": "a", "after": "a"} | NET], r"a after a; one of them must start without"),
        ([{"name": "a"} | NET | {"hw": "eflash4nm"}], r"entries\.a: hw: .*eflash40nm"),
        ([{"name": "a"} | NET | {"hw": "eflash40nm", "set": ["adc.bit=6"]}], r"hw: .*adc\.bit"),
        ([{"name": "a"} | NET | {"set": ["adc.bits=6"]}], r"set: changes of a chip need a chip"),
        ([{"name": "a"} | NET, {"name": "a"} | NET], r"entries\.a: listed more than once"),
        ([{"name": "a"} | NET, {"name": "b", "after": "a", "seeds": [0, 1], "budget": ONE}],
         r"entries\.b: seeds: a, which it starts from, has no seed 1; it has 0"),
        ([], r"entries: expected at least one"),
        ([{"name": "a"} | NET | {"seeds": [1, 1]}], r"entries\.a\.seeds: expected different seeds"),
    ],
)  # fmt: skip
def test_a_wrong_queue_names_the_place_in_one_line(queue_file, entries, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_queue(queue_file(*entries))
    assert len(str(error.value).splitlines()) == 1


def test_seeds_follow_the_entry_that_is_started_from(queue_file):
    entries = [
        {"name": "b", "after": "a", "budget": {"steps": 1}},
        {"name": "a", "seeds": [0, 2]} | NET,
    ]
    queue = load_queue(queue_file(*entries))
    jobs = queue.jobs()
    assert [job.name for job in jobs] == ["b", "a", "b_seed2", "a_seed2"]
    assert [job.after and job.after.name for job in jobs] == ["a", None, "a_seed2", None]
    assert jobs[0].options == {"stride": 2}
    assert [job.name for job in queue.jobs([7])] == ["b_seed7", "a_seed7"]
    assert [job.name for job in select(jobs, ["b_*"])] == ["b_seed2", "a_seed2"]
    with pytest.raises(ConfigError, match=r"--only c: no such entry"):
        select(jobs, ["c"])


@pytest.mark.slow
def test_three_stages_start_from_one_another_and_the_card_tells_all(queue_file, runner):
    jobs = load_queue(
        queue_file(
            {"name": "last", "after": "chip", "sigma": [5, 55], "budget": {"steps": 1}},
            {"name": "plain", "seeds": [3]} | NET,
            {"name": "chip", "after": "plain", "hw": "eflash40nm", "budget": {"steps": 1},
             "set": ["device.sigma_program=3 %"], "settings": {"lr": 1e-3}},
        )
    ).jobs()  # fmt: skip
    assert states(runner.run(jobs)) == [
        ("plain_seed3", "trained"), ("chip_seed3", "trained"), ("last_seed3", "trained"),
    ]  # fmt: skip
    card = Card.read(runner.out / "last_seed3" / "foldnet_t1.json")
    assert [(s.steps, s.seed, s.hw) for s in card.lineage] == [
        (2, 3, None), (1, 3, "eflash40nm"), (1, 3, None),
    ]  # fmt: skip
    files = ("plain_seed3/foldnet_t1", "chip_seed3/foldnet_t1_eflash40nm", "last_seed3/foldnet_t1")
    shas = [Card.read(runner.out / f"{file}.json").sha256 for file in files]
    assert [stage.sha256 for stage in card.lineage] == shas
    assert "--hw eflash40nm" in card.lineage[1].command
    assert "'device.sigma_program=3 %'" in card.lineage[1].command
    assert "--init foldnet_t1_eflash40nm.safetensors" in card.lineage[2].command
    assert card.lineage[2].command == card.command
    assert [line.state for line in look(runner, jobs)] == ["done"] * 3
    # more time for the first stage: what came of the old weights is told as such
    longer = replace(jobs[1], budget=replace(jobs[1].budget, steps=4))
    outcomes = list(runner.run([longer]))
    assert states(outcomes) == [("plain_seed3", "trained")]
    grown = Card.read(runner.out / f"{files[0]}.json").lineage[0]
    assert (grown.steps, grown.earlier_budgets) == (4, ("2 steps",))
    if grown.sha256 != shas[0]:
        assert look(runner, jobs)[2].state == "done, from older weights of plain_seed3"


def test_the_best_weights_are_kept_and_not_the_last(queue_file, runner, dataset):
    entry = {"name": "a"} | NET | {"budget": {"steps": 6}, "settings": {"lr": 3.0, "ema": 0.0}}
    (job,) = load_queue(queue_file(entry)).jobs()
    (outcome,) = runner.run([job])
    card = Card.read(runner.weights(job).with_suffix(".json"))
    log = [json.loads(line) for line in (runner.out / "a" / "log.jsonl").read_text().splitlines()]
    curve = {line["step"]: line["psnr_db"] for line in log if line["psnr_db"] is not None}
    best = max(curve, key=curve.get)
    assert best < 6, "the rate was to spoil the network"
    assert card.lineage[-1].kept_step == best
    assert card.psnr_db["validation"] == round(curve[best], 2)
    model = registry.build("foldnet", stride=2)
    load_weights(model, card)
    crops = validation_batch(dataset, n_frames=3, sigma=15, crop=32)
    assert mean_psnr(model.eval(), *crops) == pytest.approx(curve[best], abs=0.02)
    assert outcome.done.psnr_db == pytest.approx(curve[best], abs=1e-3)
    kept = torch.load(runner.out / "a" / BEST, weights_only=True)
    assert kept["step"] == best


def test_turns_change_nothing_but_the_order(queue_file, tmp_path, dataset):
    jobs = load_queue(queue_file({"name": "a"} | NET, {"name": "b", "seeds": [0]} | NET)).jobs()
    plain, sliced = (Runner(tmp_path, tmp_path / name, dataset=dataset) for name in "ps")
    assert states(plain.run(jobs)) == [("a", "trained"), ("b", "trained")]
    assert states(sliced.run(jobs, slice_minutes=0)) == [
        ("a", "paused"), ("b", "paused"), ("a", "trained"), ("b", "trained"),
    ]  # fmt: skip
    for job in jobs:
        assert plain.weights(job).read_bytes() == sliced.weights(job).read_bytes()


def test_when_its_minutes_are_over_the_queue_stops_and_later_goes_on(queue_file, runner):
    jobs = load_queue(queue_file({"name": "a"} | NET, {"name": "b"} | NET)).jobs()
    assert states(runner.run(jobs, minutes=1e-9)) == []
    first = list(runner.run(jobs, minutes=1e-4))  # a step of the first one takes longer
    assert states(first) == [("a", "paused")]
    assert [(line.state, line.next) for line in look(runner, jobs)] == [
        ("begun", True), ("to do", False),
    ]  # fmt: skip
    assert states(runner.run(jobs)) == [("a", "trained"), ("b", "trained")]


def test_what_starts_from_a_failed_entry_waits_and_the_others_go_on(queue_file, runner):
    jobs = load_queue(
        queue_file(
            {"name": "bad"} | NET | {"settings": {"start": "nowhere.pt"}},
            {"name": "next", "after": "bad", "budget": {"steps": 1}},
            {"name": "good"} | NET,
        )
    ).jobs()
    outcomes = list(runner.run(jobs))
    assert states(outcomes) == [("bad", "failed"), ("good", "trained"), ("next", "waiting")]
    assert "starts from bad, which is not trained" in outcomes[2].error
    assert [line.state for line in look(runner, jobs)] == ["to do", "after bad", "done"]


@pytest.mark.slow
def test_an_entry_of_another_process_is_passed_over_and_then_waited_for(queue_file, runner):
    jobs = load_queue(queue_file({"name": "a"} | NET, {"name": "b"} | NET)).jobs()
    folder = runner.out / "a"
    folder.mkdir(parents=True)
    code = (
        "import sys, pathlib\n"
        "from cimsim.training.checkpoint import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), sys.argv[2]):\n"
        "    print('mine', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder, LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"mine\n"
        assert look(runner, jobs)[0].state == "running"
        turns = runner.run(jobs)
        assert states([next(turns)]) == [("b", "trained")]
        other.stdin.close()  # it ends, and frees the folder
        assert states(turns) == [("a", "trained")]


def test_a_queue_lists_its_process_and_forgets_dead_ones(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "queue.pid").write_text(f"{gone.pid}\n{os.getppid()}\n")
    with listed(tmp_path):
        assert read_pids(tmp_path) == [os.getppid(), os.getpid()]
    assert read_pids(tmp_path) == [os.getppid()]


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    lines = ["file,scene"]
    for clip in textures():
        write_clip(folder / f"{clip.name}.mkv", clip.frames)
        lines.append(f"{clip.name}.mkv,{clip.scene}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_a_killed_queue_ends_with_the_weights_of_an_unbroken_one(queue_file, clips, tmp_path):
    queue = queue_file({"name": "a"} | NET | {"budget": {"steps": 40}}, checkpoint_steps=5)

    def start(out):
        command = [
            sys.executable, "-m", "benchmarks.paper.queue", "--queue", queue, "--data", clips,
            "--out", out, "--nice", 0,  # the session is that of all tests
        ]  # fmt: skip
        return subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def stopped_beyond(step, number):
        """Start, send a signal once the log is beyond a step, and return the exit code."""
        with start(tmp_path / "broken") as process:
            log = tmp_path / "broken" / "a" / "log.jsonl"
            deadline = time.monotonic() + 900
            while time.monotonic() < deadline and process.poll() is None:
                text = log.read_text() if log.is_file() else ""
                if f'"step": {step},' in text:
                    break
                time.sleep(0.01)
            assert read_pids(tmp_path / "broken") == [process.pid]
            process.send_signal(number)
            process.communicate(timeout=900)
        return process.returncode

    with start(tmp_path / "whole") as process:
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "1 of 1 done" in out
    assert stopped_beyond(10, signal.SIGKILL) == -signal.SIGKILL
    assert stopped_beyond(20, signal.SIGTERM) == 128 + signal.SIGTERM
    assert not (tmp_path / "broken" / "a" / "done.json").exists()
    assert stopped_beyond(30, signal.SIGINT) == 128 + signal.SIGINT
    with start(tmp_path / "broken") as process:
        _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    files = [tmp_path / name / "a" / "foldnet_t1.safetensors" for name in ("whole", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_pids(tmp_path / "broken") == []
