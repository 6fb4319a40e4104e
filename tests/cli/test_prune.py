"""``cimsim prune`` and what takes its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "array.rows=256", "--set", "array.cols=256")


def cimsim(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "cimsim", *map(str, arguments)], capture_output=True, text=True,
        check=False, env=environment, timeout=400,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    path = tmp_path_factory.mktemp("prune") / "p.safetensors"
    done = cimsim("prune", "--model", "fastdvdnet-block", *SMALL, "--arrays", 40, "--crops", 2,
                  "--size", "64x64", "--out", path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "54 arrays before, 40 arrays after" in done.stdout
    assert "->" in done.stdout
    return path


def test_the_file_runs_and_maps_on_as_many_arrays(pruned, tmp_path):
    mapped = cimsim("map", "--model", "fastdvdnet-block", "--weights", pruned, *SMALL,
                    "--size", "64x64", "--json")  # fmt: skip
    assert mapped.returncode == 0, mapped.stderr
    assert json.loads(mapped.stdout)["arrays_used"] == 40
    ran = cimsim("run", "--model", "fastdvdnet-block", "--weights", pruned, *SMALL, "--size",
                 "64x64", "--frames", 1, "--out", tmp_path / "run")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "FastDVDnet block, pruned on eflash40nm" in ran.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "arrays" in json.dumps(result)


def test_the_card_tells_where_it_comes_from(pruned):
    card = json.loads(pruned.with_suffix(".json").read_text())
    assert card["model"] == "fastdvdnet-block"
    assert card["command"].endswith("&& cimsim prune --arrays 40 --hw eflash40nm --mapping im2col")
    assert card["command"].startswith("cimsim train")


def test_other_options_than_the_files_are_refused(pruned):
    done = cimsim("map", "--model", "fastdvdnet-block", "--width", 16, "--weights", pruned)
    assert done.returncode == 2
    assert "has shape" in done.stderr
    assert "other options" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --arrays N or --energy"),
        (("--arrays", 3, "--energy", "1 mJ"), "give either --arrays N or --energy"),
        (("--arrays", 0), "--arrays: expected at least 1, got 0"),
        (("--energy", "3 s"), "--energy: "),
        (("--energy", "0 J"), "--energy: expected more than 0 J"),
        (("--arrays", 9, "--weights", "random"), "has random weights"),
        (("--arrays", 9, "--mapping", "im3col"), "'im3col' is unknown"),
        (("--arrays", 9, "--crops", 2, "--size", "64x64"), "takes 16 arrays under this mapping"),
    ],
)
def test_wrong_options(tmp_path, arguments, message):
    done = cimsim("prune", *arguments, "--out", tmp_path / "p.safetensors")
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_name_without_a_suffix_is_refused_first(tmp_path):
    done = cimsim("prune", "--arrays", 20, "--out", tmp_path / "p.pth")
    assert done.returncode == 2
    assert "ends in .safetensors" in done.stderr
