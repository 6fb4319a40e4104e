"""PSNR at several noise levels: sampling, resuming, sums by hand, bad inputs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.paper import level_table
from benchmarks.paper.clips import clips_in
from benchmarks.paper.denoisers import Classical, FloatNetwork, noisy_input, non_local_means
from benchmarks.paper.evaluate import Evaluator
from benchmarks.paper.networks import shipped_weights, weights_in
from benchmarks.paper.noise_levels import (
    LevelRow,
    Levels,
    methods_of,
    read_levels,
    record_rows,
    sampled,
)
from cimsim.errors import ConfigError, InputError
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip
from cimsim.video.metrics import psnr
from cimsim.video.noise import add_awgn
from cimsim.zoo import registry


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of different sizes and kinds: PNGs, and JPEGs as DAVIS has them."""
    place = tmp_path_factory.mktemp("clips")
    write_clip(place / "one", embedded_clip("default", 3, 32, 48))
    (place / "davis_two").mkdir()
    for number, frame in enumerate(embedded_clip("portrait", 3, 24, 32)):
        Image.fromarray(frame).save(place / "davis_two" / f"{number + 1:02d}.jpg", quality=95)
    (place / "manifest.csv").write_text("file\n")
    return clips_in(place, 3)


def test_clips_of_mixed_sizes_and_kinds(clips):
    shapes = {name: clip.shape for name, clip in clips.clips.items()}
    assert shapes == {"davis_two": (3, 24, 32, 3), "one": (3, 32, 48, 3)}
    assert "3 frames 32x24, 3 frames 48x32" in clips.title


def test_a_crop_is_the_middle_of_every_clip(clips, tmp_path):
    write_clip(tmp_path / "one", embedded_clip("default", 3, 32, 48))
    cut = clips_in(tmp_path, 3, (20, 30))
    np.testing.assert_array_equal(cut.clips["one"], clips.clips["one"][:, 6:26, 9:39])
    assert "30x20" in cut.name
    with pytest.raises(InputError, match="--crop 49x32: clip 'one' is 48x32"):
        clips_in(tmp_path, 3, (32, 49))


def test_larger_samples_hold_smaller_ones():
    assert sampled(20, 4) == [10, 5, 15, 2]
    for total in (1, 2, 3, 7, 20):
        whole = sampled(total, total)
        assert sorted(whole) == list(range(total))
        assert [sampled(total, k) for k in range(1, total)] == [whole[:k] for k in range(1, total)]
    for count in (0, 21):
        with pytest.raises(ConfigError, match=r"--sample: expected 1\.\.20"):
            sampled(20, count)


def half(frame, sigma):
    return 0.5 * frame


@pytest.mark.slow
def test_every_method_sees_the_same_noise_and_nothing_is_done_twice(clips, tmp_path):
    shipped = next(w for w in shipped_weights() if w.stem == "baseline-o2_s8")
    network = FloatNetwork.of(shipped)
    seen, calls = [], []

    def told(row, done, total):
        seen.append((row, done, total))

    def counted(frame, sigma):
        calls.append(sigma)
        return half(frame, sigma)

    methods = [noisy_input(), network, Classical("half", "0.5", counted)]
    levels = Levels(clips, tmp_path / "l.csv", 1, told)
    rows = levels.run(methods, [15.0, 25.0])
    assert len(rows) == 3 * 2 * 2
    assert [done for _, done, _ in seen] == list(range(1, 13))
    assert calls == [15 / 255, 25 / 255] * 2
    by = {(r.method, r.clip, r.sigma): r.psnr_db for r in rows}
    clean = clips.clips["one"]
    noisy = add_awgn(clean, 25.0, 0)
    assert by["noisy input", "one", 25.0] == pytest.approx(psnr(clean[1], noisy[1]), abs=1e-4)
    expected = psnr(clean[1], 0.5 * noisy[1])
    assert by["half", "one", 25.0] == pytest.approx(expected, abs=1e-4)
    # a larger sample goes on from there
    more = Levels(clips, tmp_path / "l.csv", 3, told)
    full = more.run(methods, [15.0, 25.0])
    assert len(seen) == len(full) == 36
    assert set(rows) < set(full)
    assert sorted(map(repr, read_levels(tmp_path / "l.csv"))) == sorted(map(repr, full))
    assert more.done(methods[:1], [15.0]) == [r for r in full if r.method == "noisy input"
                                             and r.sigma == 15.0]  # fmt: skip
    # all frames: the float figures of the paper's benchmark
    row = Evaluator(clips, tmp_path / "float.csv").network(shipped, 15.0)
    mine = [r.psnr_db for r in full if (r.method, r.clip, r.sigma) == (network.name, "one", 15.0)]
    assert np.mean(mine) == pytest.approx(row.per_clip["one"], abs=1e-3)


def test_an_interruption_keeps_what_is_done(clips, tmp_path):
    def stop(row, done, total):
        if done == 3:
            raise KeyboardInterrupt

    levels = Levels(clips, tmp_path / "new" / "l.csv", 2, stop)
    with pytest.raises(KeyboardInterrupt):
        levels.run([noisy_input()], [15.0, 25.0])
    assert len(levels.done([noisy_input()], [15.0, 25.0])) == 3


def test_non_local_means_helps_at_every_level(clips):
    clean = clips.clips["one"]
    for sigma in (15.0, 50.0):
        noisy = add_awgn(clean, sigma, 0)
        better = non_local_means().estimate(noisy, 0, sigma)
        assert psnr(clean[0], better) > psnr(clean[0], noisy[0]) + 0.5


def test_cbm3d_beats_non_local_means(clips):
    pytest.importorskip("bm3d")
    (method,) = methods_of(None, (), ["cbm3d"], ())
    clean = clips.clips["one"]
    noisy = add_awgn(clean, 25.0, 0)
    plain = psnr(clean[0], non_local_means().estimate(noisy, 0, 25.0))
    assert psnr(clean[0], method.estimate(noisy, 0, 25.0)) > plain


def level(method, clip, frame, db, sigma=25.0, saw=""):
    return LevelRow(method, "k", saw, "set #1", clip, sigma, frame, db, 1.0)


def test_sums_and_distances_by_hand():
    rows = [
        level("CBM3D, one frame", "a", 1, 30.0), level("CBM3D, one frame", "b", 1, 28.0),
        level("net", "a", 1, 31.0, saw="5..55"), level("net", "a", 2, 35.0, saw="5..55"),
        level("net", "b", 1, 28.5, saw="5..55"),
    ]  # fmt: skip
    yardstick, net = level_table.summarise(rows)
    assert (yardstick.mean_db, yardstick.error_db) == (29.0, pytest.approx(1.0))
    assert yardstick.against_db is None
    assert net.per_clip == {"a": 33.0, "b": 28.5}
    assert net.mean_db == pytest.approx(30.75)
    assert net.against_db == pytest.approx(0.75)  # only frames that both have seen
    assert net.against_error_db == pytest.approx(0.25)
    assert net.frames == 1
    text = level_table.markdown([yardstick, net])
    assert "| net | 5..55 | 25 | 33.00 | 28.50 | 30.75 ± 2.25 | +0.75 ± 0.25 |" in text
    assert (
        "σ = 25: 1 of 1 networks stand above CBM3D; the best one, net (saw 5..55), is 0.75 dB"
        in text
    )
    assert "tie" not in text
    close = [
        replace(row, psnr_db=row.psnr_db - 0.6) if row.method == "net" else row for row in rows
    ]
    assert "is 0.15 dB above it (within its standard error: a tie)" in level_table.markdown(
        level_table.summarise(close)
    )
    assert level_table.markdown([]) == "Nothing recorded yet."


def test_one_clip_has_no_error():
    (line,) = level_table.summarise([level("net", "a", 1, 31.0)])
    assert (line.error_db, line.against_db) == (0.0, None)


def test_a_record_holds_one_test_set(tmp_path):
    file = tmp_path / "r.csv"
    record_rows([level("net", "a", 1, 31.0)], file)
    kept = record_rows([level("net", "a", 2, 32.0), level("net", "a", 1, 30.0)], file)
    assert [(row.frame, row.psnr_db) for row in kept] == [(1, 30.0), (2, 32.0)]
    other = replace(level("net", "a", 1, 20.0), clips="other #2")
    assert record_rows([other], file) == [other]


@pytest.mark.slow
def test_weights_of_others_are_known_by_their_tensors(tmp_path):
    torch.manual_seed(0)
    model = registry.build("fastdvdnet-block", width=4, per_frame=2)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    (method,) = methods_of(None, [f"theirs={tmp_path / 'net.pth'}"], ["theirs"], ())
    assert (method.model, method.options) == ("fastdvdnet-block", {"width": 4, "per_frame": 2})
    noisy = add_awgn(np.full((1, 16, 16, 3), 0.5, np.float32), 15.0, 0)
    assert method.estimate(noisy, 0, 15.0).shape == (16, 16, 3)
    torch.save({"a": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="fit no network of the zoo"):
        FloatNetwork.of_file("odd", tmp_path / "odd.pth")
    with pytest.raises(InputError, match="no such weight file"):
        methods_of(None, ["theirs=none.pth"], (), ())
    with pytest.raises(ConfigError, match="expected NAME=FILE"):
        methods_of(None, ["none.pth"], (), ())


def test_weights_of_a_folder(tmp_path):
    with pytest.raises(InputError, match="holds no weights"):
        weights_in(tmp_path)
    shipped = shipped_weights()[0].card.file
    for suffix in (".safetensors", ".json"):
        target = tmp_path / "deep" / f"mine{suffix}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(shipped.with_suffix(suffix).read_bytes())
    (found,) = weights_in(tmp_path)
    assert found.stem == "mine"
    assert not found.shipped
    # the same weights under two names are one method
    names = [method.name for method in methods_of(tmp_path, (), (), ["cbm3d"])]
    assert len(names) == len(shipped_weights()) + 2


@pytest.mark.slow
def test_bad_inputs(tmp_path):
    with pytest.raises(ConfigError, match="--only nothing: fits no method; known: noisy, "):
        methods_of(None, (), ["nothing"], ())
    for arguments, text in (
        (("--sigma", "-3"), "--sigma: expected a number above 0"),
        (("--crop", "big"), "--crop: expected WIDTHxHEIGHT"),
        ((), "no such folder"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.paper.noise_levels", "--test",
             str(tmp_path / "none"), *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert text in done.stderr
