from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer

import cimsim
from benchmarks.paper import chip_table
from benchmarks.paper.chip import ChipRuns, FrameRow, frames_of_seed, read_frames
from benchmarks.paper.clips import clips_in
from benchmarks.paper.networks import Weights
from benchmarks.paper.on_chip import choose, main, measure
from cimsim.errors import ConfigError, InputError
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, save_weights


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    place = tmp_path_factory.mktemp("clips")
    for name, scene in (("one", "default"), ("two", "portrait")):
        write_clip(place / name, embedded_clip(scene, 2, 32, 32))
    return clips_in(place, 2)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    torch.manual_seed(0)
    model = registry.build("baseline-o1", stride=8).eval()
    card = Card("baseline-o1", {"stride": 8}, "", "", 0, 0.0, "cpu", 0, (15.0, 15.0), {}, "", "0")
    path = tmp_path_factory.mktemp("weights") / "baseline-o1_s8.safetensors"
    return Weights("baseline-o1_s8", save_weights(model, path, card), None, shipped=False)


@pytest.fixture(scope="module")
def rows(clips, network, tmp_path_factory):
    """Two seeds, each on every frame; first in two halves, then the rest."""
    kept = tmp_path_factory.mktemp("kept") / "frames.csv"
    halves = ChipRuns(clips, kept, step=2, threads=1).run([network], seeds=2)
    return halves, ChipRuns(clips, kept, step=1, threads=1).run([network], seeds=2), kept


@pytest.mark.slow
def test_a_frame_is_that_of_cimsim_run_with_the_same_seed(clips, network, rows):
    _, full, _ = rows
    loaded = cimsim.load_network("baseline-o1", {"stride": 8}, network.card.file)
    graph = cimsim.trace(loaded.module, loaded.example(32, 32))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    quality = cimsim.simulate(mapping, clips.clips["two"], seed=1, threads=1).quality
    for t in range(2):
        (row,) = (r for r in full if (r.clip, r.seed, r.frame) == ("two", 1, t))
        assert row.chip_db == pytest.approx(quality.chip_psnr[t], abs=1e-4)
        assert row.float_db == pytest.approx(quality.float_psnr[t], abs=1e-4)
        assert row.noisy_db == pytest.approx(quality.noisy_psnr[t], abs=1e-4)


@pytest.mark.slow
def test_seeds_share_the_frames_and_a_full_run_goes_on_from_there(rows):
    halves, full, kept = rows
    assert {(r.clip, r.seed, r.frame) for r in halves} == {
        (clip, seed, seed) for clip in ("one", "two") for seed in (0, 1)
    }
    assert len(full) == 8
    assert set(halves) < set(full)  # the same rows, seconds and all: not computed again
    assert sorted(map(repr, read_frames(kept))) == sorted(map(repr, full))


def test_every_frame_is_seen_once():
    seen = [frame for seed in range(5) for frame in frames_of_seed(seed, 20, 5)]
    assert sorted(seen) == list(range(20))
    assert list(frames_of_seed(3, 4, 1)) == [0, 1, 2, 3]


@pytest.mark.slow
def test_an_interruption_keeps_what_is_done(clips, network, tmp_path):
    def stop(row, done, total):
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    kept = tmp_path / "frames.csv"
    with pytest.raises(KeyboardInterrupt):
        ChipRuns(clips, kept, threads=1, progress=stop).run([network], seeds=1)
    done = read_frames(kept)
    assert len(done) == 3
    told = []
    runs = ChipRuns(clips, kept, threads=1, progress=lambda *report: told.append(report[1:]))
    assert set(done) < set(runs.run([network], seeds=1))
    assert told == [(4, 4)]


@pytest.mark.slow
def test_the_table_is_written_and_comes_back(clips, network, tmp_path):
    from rich.console import Console

    console = Console(quiet=True)
    rows, finished = measure(console, clips, [network], tmp_path, seeds=1, step=2, threads=1)
    assert finished
    assert [(r.clip, r.seeds, r.frames_per_seed) for r in rows] == [
        ("one", 1, 1), ("two", 1, 1), ("mean", 1, 2),
    ]  # fmt: skip
    back = chip_table.read(tmp_path / "on_chip.csv")
    assert sorted(back, key=repr) == sorted(rows, key=repr)
    text = (tmp_path / "on_chip.md").read_text()
    assert f"| {rows[2].float_db:.2f} | {rows[2].chip_db:.2f} ± 0.00 |" in text
    assert text.count("| equal budget |") == 1  # the mean over the clips
    assert "programmings: 1, each on 1 frames of a clip" in text
    told = chip_table.markdown(rows, {rows[0].sha256})
    assert told.count("| shipped |") == 3


def test_new_rows_replace_old_ones_of_the_same_network_together(rows):
    _, full, _ = rows
    first = chip_table.summarise(full)
    other = [replace(row, sha256="0" * 64) for row in first]
    both = chip_table.merged([], [*first, *other])
    assert len(both) == 2 * len(first)
    assert chip_table.merged(both, first) == first
    elsewhere = [replace(row, network="else") for row in first]
    assert len(chip_table.merged(elsewhere, first)) == 2 * len(first)


def test_shared_frames_are_said_to_be_shared(rows):
    halves, full, _ = rows
    text = chip_table.markdown(chip_table.summarise(halves))
    assert "programmings: 2, each on 1 of the 2 frames of a clip" in text
    assert "compare the losses" in text
    assert "compare the losses" not in chip_table.markdown(chip_table.summarise(full))


def frame(clip, seed, number, exact, chip):
    return FrameRow(
        "n", "sha", "hw", "id", "set #1", clip, 15.0, seed, number, 20.0, exact, chip, 1
    )


def test_means_and_spreads_by_hand():
    rng = np.random.default_rng(1)
    exact = rng.uniform(30, 33, (3, 2, 4))  # seed, clip, frame
    chip = exact - rng.uniform(0, 1, exact.shape)
    rows = [
        frame("ab"[c], s, f, exact[s, c, f], chip[s, c, f])
        for s in range(3) for c in range(2) for f in range(4)
    ]  # fmt: skip
    a, _, mean = chip_table.summarise(rows)
    loss = (exact - chip).mean(axis=2)
    assert (mean.clip, mean.seeds, mean.frames_per_seed) == ("mean", 3, 8)
    assert (a.frames, mean.frames) == (4, 8)
    assert a.chip_db == pytest.approx(chip[:, 0].mean(), abs=1e-4)
    assert a.chip_sd_db == pytest.approx(chip[:, 0].mean(axis=1).std(ddof=1), abs=1e-4)
    assert mean.loss_db == pytest.approx(loss.mean(), abs=1e-4)
    assert mean.loss_sd_db == pytest.approx(loss.mean(axis=1).std(ddof=1), abs=1e-4)
    assert mean.loss_max_db == pytest.approx(loss.mean(axis=1).max(), abs=1e-4)


def test_an_interrupted_seed_counts_with_the_clips_it_has():
    rows = [
        frame("a", 0, 0, 32.0, 31.0),
        frame("b", 0, 0, 34.0, 33.5),
        frame("a", 1, 0, 32.0, 31.5),
    ]
    a, b, mean = chip_table.summarise(rows)
    assert (a.loss_db, b.loss_db) == (0.75, 0.5)
    assert mean.loss_db == pytest.approx((0.75 + 0.5) / 2)


def test_newer_rows_replace_those_of_the_record():
    old = chip_table.summarise([frame("a", 0, 0, 32.0, 31.0), frame("b", 0, 0, 32.0, 31.0)])
    new = chip_table.summarise([frame("a", 0, 0, 32.0, 31.9)])
    assert {r.clip: r.loss_db for r in chip_table.merged(old, new)} == {
        "a": 0.1, "b": 1.0, "mean": 1.0,
    }  # fmt: skip


def test_wrong_options_are_refused(clips, network, tmp_path):
    with pytest.raises(ConfigError, match=r"--stride-frames: expected 1\.\.2 .*, got 3"):
        ChipRuns(clips, tmp_path / "f.csv", step=3)
    with pytest.raises(ConfigError, match=r"--only x: no such weights; known: baseline-o1_s8"):
        choose([network], ["x"])
    assert choose([network], ["base*"]) == [network]
    (tmp_path / "f.csv").write_text("no,frames\n")
    with pytest.raises(InputError, match="expected the columns network, sha256"):
        read_frames(tmp_path / "f.csv")


def test_the_command_stops_politely(tmp_path, capsys, monkeypatch):
    def interrupt(self, networks, seeds):
        raise KeyboardInterrupt

    monkeypatch.setattr(ChipRuns, "run", interrupt)  # Ctrl-C before the first frame
    write_clip(tmp_path / "test" / "one", embedded_clip("portrait", 1, 32, 32))
    with pytest.raises(typer.Exit) as end:
        main(data=tmp_path / "test", frames=1, seeds=1, out=tmp_path / "out")
    assert end.value.exit_code == 130
    assert "the same command goes on" in capsys.readouterr().out


def test_sigterm_stops_a_background_job_whose_shell_ignores_ctrl_c():
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from benchmarks.paper.console import run_command\n"
        "def main() -> None:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
        "run_command(main)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, timeout=50, check=False, capture_output=True)
    assert done.returncode == 143, done.stderr
