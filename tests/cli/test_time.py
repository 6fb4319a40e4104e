import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from tests.report.timeline import trace_format

SMALL = ["time", "--size", "64x48", "--frames", "2", "--quiet"]


def screen(*arguments, columns=120):
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [*SMALL, *map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.mark.parametrize("columns", [80, 160])
def test_the_screen_needs_no_weights_and_fits(columns):
    found = screen("--model", "fastdvdnet-block", columns=columns)
    for part in ("latency", "frames per second", "bottleneck", "inc.convblock.0", "DRIVE",
                 "interconnect 0", "starved", "Line buffers", "64 x 48"):  # fmt: skip
        assert part in found, part
    assert max(map(len, found.splitlines())) <= columns
    assert "…" not in found


def test_trace_and_picture_are_written_where_asked(tmp_path):
    trace, picture = tmp_path / "t.json.gz", tmp_path / "t.png"
    found = screen("--trace", trace, "--picture", picture, "--schedule", "sequential")
    about = trace_format.load(trace)
    trace_format.check(about)
    assert about["otherData"]["schedule"] == "sequential"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert about["otherData"]["kept"] in " ".join(found.split())


@pytest.mark.slow
def test_run_writes_them_too(tmp_path):
    trace, picture = tmp_path / "t.json.gz", tmp_path / "t.svg"
    arguments = ["run", "--size", "32x32", "--frames", "1", "--quiet", "--out", tmp_path / "run",
                 "--trace", trace, "--picture", picture]  # fmt: skip
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    trace_format.check(trace_format.load(trace))
    assert "<svg" in picture.read_text()
