"""A chip programmed by one command and run by another: same numbers, same hash, clear refusals."""

import numpy as np
import pytest
from typer.testing import CliRunner

import cimsim
from cimsim.cli.main import app
from cimsim.errors import ConfigError, InputError
from cimsim.session.result import Result
from cimsim.video.io import read_clip

NET = "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n" \
      "        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()," \
      " nn.Conv2d(8, 3, 3, padding=1))\n"  # fmt: skip
OWN = ["--model", "small_net:Net", "--weights", "random", "--size", "32x24", "--quiet"]


def call(*arguments):
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "small_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)


def frames(folder):
    return read_clip(folder / "frames" / "chip")


def test_run_on_a_programmed_chip_is_the_direct_run(tmp_path):
    told = call("program", *OWN, "--seed", 3, "--sigma", 20, "--out", "deep/chip.safetensors")
    chip = cimsim.ProgrammedChip.load("deep/chip.safetensors")
    assert chip.hash[:12] in told
    assert "2 arrays written" in told
    assert "cimsim run --programmed deep/chip.safetensors" in told
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["chip.safetensors"]
    shared = ("run", *OWN, "--frames", 2)
    call(*shared, "--seed", 3, "--sigma", 20, "--out", "direct")
    # seed and sigma are those of the file
    screen = call(*shared, "--programmed", "deep/chip.safetensors", "--out", "kept")
    assert f"programmed chip chip.safetensors ({chip.hash[:12]})" in screen
    direct, kept = Result.load("direct"), Result.load("kept")
    assert direct.hash == kept.hash
    assert direct.quality == kept.quality
    assert kept.programmed["sha256"] == chip.hash
    np.testing.assert_array_equal(frames(tmp_path / "direct"), frames(tmp_path / "kept"))
    call(*shared, "--programmed", "deep/chip.safetensors", "--seed", 4, "--out", "other")
    other = Result.load("other")
    assert other.hash != direct.hash
    assert other.inputs["programmed"] == {"seed": 3, "sigma": 20.0}


def test_what_does_not_fit_writes_nothing(tmp_path):
    call("program", *OWN, "--out", "c.safetensors")
    with pytest.raises(InputError, match=r"c\.safetensors: does not fit .* adc\.bits: 8 .* 6 here"):
        call("run", *OWN, "--programmed", "c.safetensors", "--set", "adc.bits=6", "--out", "x")
    with pytest.raises(InputError, match="32x24 in the file, 40x24 here"):
        call("run", *OWN, "--size", "40x24", "--programmed", "c.safetensors", "--out", "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--out", "chip.pt"], InputError, r"--out: .*\.safetensors"),
        (["--out", "small_net.py/c.safetensors"], InputError, "no write access"),
        (["--seed", "-1"], ConfigError, "--seed"),
        (["--sigma", "300"], ConfigError, "--sigma"),
        (["--set", "adc.bit=6"], ConfigError, "did you mean bits"),
        (["--streaming"], InputError, "no cascade of two stages"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(tmp_path, arguments, error, message):
    before = set(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        call("program", *OWN, *arguments)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "__pycache__"}


def test_progress_counts_arrays():
    network = cimsim.load_network("small_net:Net", weights="random")
    graph = cimsim.trace(network.module, network.example(24, 32))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", {"array.rows": 16}))
    seen = []
    cimsim.program(mapping, progress=lambda *step: seen.append(step))
    arrays = mapping.arrays_used
    assert arrays > 2
    assert seen[0] == ("calibration inputs", 0, 1)
    assert ("programming", 0, arrays) in seen
    assert ("programming", arrays, arrays) in seen
    done = [step[1] for step in seen if step[0] == "programming"]
    assert done == sorted(done)


def test_help_teaches():
    told = call("program", "--help")
    for part in ("cimsim run --programmed", "--seed", "--size", "refused", "--out"):
        assert part in told
