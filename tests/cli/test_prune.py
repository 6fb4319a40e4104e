"""``cimsim prune`` and what takes its files."""

import json
import sys

import pytest

from cimsim.cli import main

SMALL = ("--set", "array.rows=256", "--set", "array.cols=256")


@pytest.fixture
def cimsim(monkeypatch, capsys):
    """Run a command in this process; return its code, what it printed and its messages."""

    def run(*arguments):
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setattr(sys, "argv", ["cimsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        told = capsys.readouterr()
        return end.value.code, told.out.replace("\n", " "), told.err.replace("\n", " ")

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prune")


@pytest.fixture
def pruned(folder, cimsim):
    """The block on 40 of its 54 small arrays; pruned by the first test that asks."""
    path = folder / "p.safetensors"
    if not path.is_file():
        code, out, err = cimsim("prune", "--model", "fastdvdnet-block", *SMALL, "--arrays", 40,
                                "--crops", 2, "--size", "64x64", "--out", path)  # fmt: skip
        assert code == 0, err
        assert "54 arrays before, 40 arrays after" in out
        assert "->" in out
    return path


@pytest.mark.slow
def test_the_file_maps_on_as_many_arrays(pruned, cimsim):
    code, out, err = cimsim("map", "--model", "fastdvdnet-block", "--weights", pruned, *SMALL,
                            "--size", "64x64", "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["arrays_used"] == 40


@pytest.mark.slow
def test_the_file_runs(pruned, cimsim, tmp_path):
    code, out, err = cimsim("run", "--model", "fastdvdnet-block", "--weights", pruned, *SMALL,
                            "--size", "64x64", "--frames", 1, "--out", tmp_path / "run",
                            "--quiet")  # fmt: skip
    assert code == 0, err
    assert "FastDVDnet block, pruned on eflash40nm" in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "p.safetensors" in json.dumps(result["inputs"])


@pytest.mark.slow
def test_the_card_tells_where_it_comes_from(pruned):
    card = json.loads(pruned.with_suffix(".json").read_text())
    assert card["model"] == "fastdvdnet-block"
    assert card["command"].endswith("&& cimsim prune --arrays 40 --hw eflash40nm --mapping im2col")
    assert card["command"].startswith("cimsim train")


def test_the_file_is_timed_with_its_own_shapes(pruned, cimsim):
    timed = []
    for weights in ((), ("--weights", pruned)):
        code, out, err = cimsim("time", "--model", "fastdvdnet-block", *weights, *SMALL,
                                "--size", "64x64", "--json")  # fmt: skip
        assert code == 0, err
        timed.append(json.loads(out)["latency_cycles"])
    assert timed[1] < timed[0]


def test_other_options_than_the_files_are_refused(pruned, cimsim):
    code, _, err = cimsim("map", "--model", "fastdvdnet-block", "--width", 16, "--weights", pruned)
    assert code == 2
    assert "has shape" in err
    assert "other options" in err


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
def test_wrong_options(tmp_path, cimsim, arguments, message):
    code, _, err = cimsim("prune", *arguments, "--out", tmp_path / "p.safetensors")
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_name_without_a_suffix_is_refused_first(tmp_path, cimsim):
    code, _, err = cimsim("prune", "--arrays", 20, "--out", tmp_path / "p.pth")
    assert code == 2
    assert "ends in .safetensors" in err
