"""The command, its files, and the speed of mapping."""

import json
import time
import xml.etree.ElementTree as ElementTree

import pytest
import yaml
from typer.testing import CliRunner

import cimsim
from cimsim.cli.main import app
from cimsim.zoo.registry import MODELS


def run(*arguments):
    done = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.stdout


def numbers(*arguments):
    return json.loads(run("map", "--json", "--size=64x64", *arguments))


@pytest.mark.slow
def test_table_and_pictures(tmp_path):
    options = ["--size=64x64", "--arg=coarse=1", "--allocation=replicated"]
    out = run("map", *options, f"--out={tmp_path}")
    assert "block1.smooth_in.fc" in out
    assert "replicas" in out
    assert "steady interval" in out
    assert (tmp_path / "floorplan.png").read_bytes().startswith(b"\x89PNG")
    picture = ElementTree.parse(tmp_path / "floorplan.svg").getroot()
    assert picture.tag.endswith("svg")
    assert len(picture.findall(".//{*}path")) > 75
    data = json.loads((tmp_path / "mapping.json").read_text())
    assert data["arrays_used"] == 76
    # an array may hold copies of several layers
    assert sum(row["replicas"] * row["arrays"] for row in data["layers"]) >= 76


def test_numbers_are_those_of_the_mapping():
    data = numbers("--model=fastdvdnet-block", "--hw=wtm2101", "--allocation=packed")
    network = cimsim.load_network("fastdvdnet-block", {}, "random")
    graph = cimsim.trace(network.module, network.example(64, 64))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("wtm2101"), "im2col", "packed")
    assert data["arrays_used"] == data["arrays"] == mapping.arrays_used == 2
    assert data["utilisation"] == pytest.approx(1_237_320 / (2 * 896 * 1024))
    assert data["windows"] == 5.875 * 64 * 64
    assert len(data["layers"]) == 16


@pytest.mark.slow
def test_a_saved_mapping_runs_and_keeps_its_hash(tmp_path):
    path = tmp_path / "m.yaml"
    options = ["--size=32x32", "--stride=8"]
    run("map", *options, "--json", f"--save={path}", "--allocation=packed")
    small = ["run", *options, "--frames=1", "-q"]
    run(*small, f"--mapping={path}", f"--out={tmp_path / 'a'}")
    run(*small, "--allocation=packed", f"--out={tmp_path / 'b'}")
    run(*small, f"--out={tmp_path / 'c'}")
    a, b, c = (json.loads((tmp_path / name / "result.json").read_text()) for name in "abc")
    assert a["hash"] == b["hash"] != c["hash"]
    # sharing arrays changes time, never the picture
    assert a["quality"] == c["quality"]
    assert a["timing"] != c["timing"]


def test_an_edited_mapping_is_refused_by_name(tmp_path):
    path = tmp_path / "m.yaml"
    options = ["--size=32x32", "--arg=coarse=1"]
    run("map", *options, "--json", f"--save={path}")
    data = yaml.safe_load(path.read_text())
    data["layers"][1]["replicas"][0][0] = [0, 0]
    path.write_text(yaml.safe_dump(data))
    done = CliRunner().invoke(app, ["map", *options, f"--mapping={path}"])
    assert done.exit_code != 0
    message = str(done.exception)
    for part in (str(path), "block1.smooth_in.fc", "block1.down1.fc", "tile 0, array 0", "overlap"):
        assert part in message


@pytest.mark.parametrize("allocation", ["in_order", "packed"])
@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_mapped_within_two_seconds(name, allocation):
    network = cimsim.load_network(name, {}, "random")
    graph = cimsim.trace(network.module, network.example(64, 64))
    chip = cimsim.load_hw("eflash40nm", {"tile.count": 400})
    started = time.process_time()
    mapping = cimsim.map_graph(graph, chip, "im2col", allocation)
    assert time.process_time() - started < 2
    assert mapping.arrays_used <= 400


@pytest.mark.slow
def test_the_search_prints_and_draws_the_pareto_set(tmp_path):
    options = ["map", "--size=64x64", "--optimize=latency"]
    out = run(*options, f"--out={tmp_path}", f"--save={tmp_path / 'best.yaml'}")
    assert "Pareto set" in out
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads(run(*options, "--json"))
    intervals = [point["interval_cycles"] for point in data["pareto"]]
    assert intervals == sorted(intervals)
    assert data["interval_cycles"] == intervals[0]
    again = numbers(f"--mapping={tmp_path / 'best.yaml'}")
    assert again["interval_cycles"] == intervals[0]
    done = CliRunner().invoke(app, [*options, "--allocation=packed"])
    assert "--optimize chooses both" in str(done.exception)
