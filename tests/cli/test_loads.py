"""A chip that is written load after load, on the command line."""

import json

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import MappingError

SMALL = ["--stride=8", "--arg=coarse=1", "--size=64x48", "--set=tile.count=10"]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_map_shows_every_load_and_a_saved_mapping_keeps_the_refusal(tmp_path):
    saved = tmp_path / "m.yaml"
    done = run("map", *SMALL, "--allow-reprogram", f"--out={tmp_path}", f"--save={saved}")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [
        "floorplan.png", "floorplan_load1.png", "floorplan_load2.png",
    ]  # fmt: skip
    assert "shared with" not in done.output
    again = run("map", *SMALL, f"--mapping={saved}", "--allow-reprogram", "--json")
    assert json.loads(again.output)["allocation"] == "loads"
    refused = run("map", *SMALL, f"--mapping={saved}")
    assert isinstance(refused.exception, MappingError)
    assert "--allow-reprogram" in str(refused.exception)


@pytest.mark.parametrize("option", ["--allocation=replicated"])
def test_a_mapping_file_says_the_arrays(tmp_path, option):
    saved = tmp_path / "m.yaml"
    done = run("map", "--stride=8", "--size=64x48", f"--out={tmp_path}", f"--save={saved}")
    assert done.exit_code == 0
    refused = run("map", "--stride=8", "--size=64x48", f"--mapping={saved}", option)
    assert "says which arrays the layers take" in str(refused.exception)


def test_a_name_that_cannot_be_saved_is_refused_first(tmp_path):
    refused = run("map", "--stride=8", "--size=64x48", f"--save={tmp_path / 'm.txt'}")
    assert "expected a name that ends in .yaml" in str(refused.exception)


@pytest.mark.slow
def test_explain_works_where_layers_share_arrays():
    options = ["--allocation=packed", "--set=adc.shared=tile", "--set=interconnect.kind=mesh"]
    done = run("time", "--stride=8", "--size=64x48", *options, "--explain", "--quiet")
    assert done.exit_code == 0, done.output
    assert "Critical path" in done.output
