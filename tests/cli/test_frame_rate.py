"""``cimsim run --fps``: energy and power at a frame rate, and rates beyond what a chip reaches."""

import json

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import InputError

RUN = ["run", "--size", "32x32", "--frames", "1", "--quiet", "--weights", "random"]


@pytest.mark.slow
def test_a_chip_that_waits_pays_for_the_time_and_says_so(tmp_path):
    done = CliRunner().invoke(
        app, [*RUN, "--fps", "10", "--out", str(tmp_path / "r")], env={"COLUMNS": "160"}
    )
    assert done.exception is None, done.output
    assert "average power at 10 frames/s" in done.output
    numbers = json.loads((tmp_path / "r" / "result.json").read_text())["numbers"]
    power, energy = (numbers[f"energy.{n}"]["value"] for n in ("average_power", "per_frame"))
    assert power == pytest.approx(10 * energy, rel=1e-9, abs=0)
    assert numbers["energy.average_power"]["meaning"] == "at 10 frames per second"
    assert numbers["energy.static"]["value"] > 0.054e-3  # 0.54 mW of the chip for 100 ms


@pytest.mark.parametrize("rate", ["0", "-5", "1e12", "nan"])
def test_rates_that_cannot_be_are_refused_before_anything_runs(rate, tmp_path):
    done = CliRunner().invoke(app, [*RUN, "--fps", rate, "--out", str(tmp_path / "r")])
    assert isinstance(done.exception, InputError)
    assert "frame rate: " in str(done.exception)
    assert not (tmp_path / "r").exists()
