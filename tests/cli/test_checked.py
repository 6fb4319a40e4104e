"""Command lines as scripts make them: empty variables, outputs that are inputs."""

import shutil

import pytest
from typer.testing import CliRunner

from cimsim import folders
from cimsim.boundary.arguments import check_length
from cimsim.chip.load import shipped
from cimsim.cli.main import app
from cimsim.errors import ConfigError
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip
from tests.cli.command import in_process


def refused(*arguments):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, ConfigError), (done.output, done.exception)
    return str(done.exception)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (["run", "--out", ""], "--out"),
        (["run", "--out="], "--out"),
        (["run", "--noisy", " ", "--sigma", "5"], "--noisy"),
        (["run", "-i", ""], "-i"),
        (["clip", "show", ""], "argument 1"),
        (["hw", "show", ""], "argument 1"),
        (["verify", ""], "argument 1"),
    ],
)
def test_empty_values_are_refused_by_name(line, option):
    assert refused(*line) == f"{option}: the value is empty; is a variable of the shell not set?"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder with a clip, weights, a chip, a table and a run, none of which may change."""
    monkeypatch.chdir(tmp_path)
    write_clip("clip.mkv", embedded_clip("default", 1, 16, 16))
    for name in ("weights.safetensors", "table.csv", "save.yaml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "chip.yaml").write_text(shipped()["example_minimal"])
    (tmp_path / "link.mkv").symlink_to("clip.mkv")
    (tmp_path / "hard.mkv").hardlink_to("clip.mkv")
    with folders.new_folder(tmp_path / "earlier") as made:
        (made / "result.json").write_text("{}")
        write_clip(made / "frames", embedded_clip("default", 1, 16, 16))
    shutil.copy("chip.yaml", tmp_path / "earlier")  # the user's own
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    yield tmp_path
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --input clip.mkv --video clip.mkv", "--video: would write over 'clip.mkv', which -"),
        ("run --noisy link.mkv --video ./clip.mkv", "--video: would write over 'link.mkv'"),
        ("run --noisy clip.mkv --video hard.mkv", "--video: would write over 'clip.mkv'"),
        ("run --noisy a.mkv --reference clip.mkv --video clip.mkv", "which --reference reads"),
        ("program --weights weights.safetensors --out weights.safetensors", "--out: would write"),
        ("prune --weights weights.safetensors --out weights.safetensors", "which --weights reads"),
        ("map --hw chip.yaml --save chip.yaml", "--save: would write over 'chip.yaml'"),
        ("map --mapping save.yaml --save save.yaml", "which --mapping reads"),
        ("ablate --set device.file=table.csv --out table.csv", "which --set reads"),
        ("run --input earlier/frames --out earlier", "--out: would write over 'earlier/frames'"),
    ],
)
def test_what_is_read_is_not_written_over(there, line, message):
    assert message in refused(*line.split())


def test_files_of_the_users_in_a_run_folder_are_no_reason_to_refuse(there):
    line = "run --hw earlier/chip.yaml --out earlier --input clip.mkv --frames nothing"
    assert "--frames: expected" in refused(*line.split())


LONG = "ä" * 150  # 300 bytes


@pytest.mark.parametrize(
    "line",
    [
        ["run", "--out", LONG], ["run", "--out", f"{LONG}/in/it"], ["run", "--out", "a" * 230],
        ["run", "--trace", f"{LONG}.json.gz"], ["run", "--picture", f"{LONG}.png"],
        ["run", "--video", f"{LONG}.mp4"], ["run", "--out", "/".join(["a" * 200] * 20)],
        ["map", "--out", LONG], ["map", "--save", f"{LONG}.yaml"],
        ["program", "--out", f"{LONG}.safetensors"], ["train", "--data", "x", "--out", LONG],
        ["report", "x", "--out", LONG], ["sweep", "--out", LONG],
        ["device", "fit", "x.csv", "--out", LONG],
    ],
    ids=lambda line: " ".join(line)[:20],
)  # fmt: skip
def test_names_that_no_file_system_takes_are_refused_at_once(line):
    said = refused(*line)
    assert said.startswith(f"{line[-2]}: '")
    assert said.endswith("can be written there; take a shorter name")


def test_a_long_folder_that_is_there_is_no_reason_to_refuse(tmp_path):
    place = tmp_path / ("a" * 230)
    place.mkdir()
    check_length("--out", place / "out")
    with pytest.raises(ConfigError, match="has 208 bytes, and at most 207 can"):
        check_length("--out", place / ("b" * 208))


@pytest.mark.parametrize("line", [["run", "-i", LONG], ["verify", LONG], ["report", LONG],
                                  ["time", "--model", f"{LONG}.onnx"]])  # fmt: skip
def test_names_of_inputs_that_are_too_long_end_in_one_message(line, tmp_path):
    done = in_process(*line, cwd=tmp_path)
    assert done.returncode == 2
    assert "File name too long" in done.stderr
    assert len(done.stderr.splitlines()) == 1
