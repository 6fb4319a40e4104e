"""The options for clips: what they choose, what they refuse, what they say."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cimsim.cli.clips import ClipOptions
from cimsim.cli.main import app
from cimsim.errors import CimsimError, ConfigError, InputError
from cimsim.session.result import Result
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import read_clip, to_uint8, write_clip
from cimsim.video.noise import add_awgn


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    clean = embedded_clip("default", 7, 48, 64)
    write_clip(folder / "clean.mkv", clean, fps=12.5)
    write_clip(folder / "noisy.mkv", to_uint8(add_awgn(clean / np.float32(255), 20, 3)), fps=12.5)
    return folder / "clean.mkv", folder / "noisy.mkv"


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])


def refused(*arguments):
    done = run(*arguments)
    assert isinstance(done.exception, CimsimError), (done.output, done.exception)
    return str(done.exception)


def test_show_says_what_was_decoded_and_assumed(files, tmp_path):
    done = run("clip", "show", files[0])
    assert done.exit_code == 0
    for part in (
        "7 frames of 64 x 48, 12.5 frames/s",
        "ffv1",
        "bgr0",
        "RGB",
        "nothing was assumed",
    ):
        assert part in done.output
    np.save(tmp_path / "deep.npy", np.full((2, 8, 9), 1000, np.uint16))
    done = run("clip", "show", tmp_path / "deep.npy")
    assert "taken as 10 bits (black 0, white 1023)" in done.output
    done = run("clip", "show", tmp_path / "deep.npy", "--white", 2000, "--frames", 1)
    assert "1 frame of 9 x 8" in done.output
    assert "values:    128..128" in done.output
    assert "no such file" in refused("clip", "show", tmp_path / "none.mp4")


@pytest.mark.slow
def test_a_noisy_clip_and_its_reference_from_a_start_into_a_video(files, tmp_path):
    clean, noisy = files
    done = run(
        "run", "--noisy", noisy, "--reference", clean, "--start", 5, "--frames", "all", "--quiet",
        "--out", tmp_path / "o", "--video", tmp_path / "o.mkv", "--size", "32x32",
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    result = Result.load(tmp_path / "o")
    assert result.frame == (2, 32, 32)
    assert result.quality.mean("noisy_psnr") == pytest.approx(20 * np.log10(255 / 20), abs=1)
    assert result.inputs["sigma"] == pytest.approx(20, rel=0.25)
    stored = read_clip(tmp_path / "o" / "frames" / "noisy")
    np.testing.assert_array_equal(stored, read_clip(noisy, start=5)[:, 8:40, 16:48])
    written = read_clip(tmp_path / "o.mkv")
    np.testing.assert_array_equal(written, read_clip(tmp_path / "o" / "frames" / "chip"))
    json.loads((tmp_path / "o" / "result.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--noisy", "{noisy}", "--input", "{clean}"], "--noisy: takes the place of --input"),
        (["--reference", "{clean}"], "--reference: the clean frames of a --noisy clip"),
        (["--noisy", "{noisy}", "--seeds", "2"], "needs a clean --reference"),
        (["--input", "{clean}", "--frames", "none"], "--frames: expected at least 1, or 'all'"),
        (["--input", "{clean}", "--frames", "0"], "--frames: expected at least 1, or 'all'"),
        (["--input", "{clean}", "--frames", "8"], "asked for 8 frames, the clip has 7"),
        (["--input", "{clean}", "--start", "7"], "the clip has 7 frames, cannot start at 7"),
        (["--input", "{clean}", "--start", "-1"], "--start: expected at least 0"),
        (["--frames", "all"], "it has no end"),
        (["--white", "4095"], "levels of a clip of your own"),
        (["--input", "{clean}", "--video", "a.gif"], "--video: expected a file name that ends in"),
        (["--input", "{clean}", "--size", "640x480"], "--size: 640x480 is larger than the clip's"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_run(files, arguments, message):
    given = [text.format(clean=files[0], noisy=files[1]) for text in arguments]
    assert message in refused("run", "--quiet", *given)


def test_usual_frames_are_five_or_what_there_is(files):
    assert len(ClipOptions().opened(files[0])) == 5
    assert len(ClipOptions(start=4).opened(files[0])) == 3
    assert len(ClipOptions("all").opened(files[0])) == 7
    with pytest.raises(InputError, match="asked for 5 frames from frame 4, the clip has 7"):
        ClipOptions("5", 4).opened(files[0])
    for text in ("²", "1e3", "-2", "9" * 30):
        with pytest.raises(ConfigError, match="--frames"):
            ClipOptions(text).opened(files[0])


def test_the_embedded_clip_is_the_same_from_any_start():
    clip = ClipOptions("2", 3, (32, 48)).opened(None)
    np.testing.assert_array_equal(np.asarray(clip), embedded_clip("default", 5, 32, 48)[3:])
