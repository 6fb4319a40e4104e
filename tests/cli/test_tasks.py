"""Networks of any kind on the command line: shapes, tasks, data, what is not modelled."""

import json
import textwrap

import numpy as np
import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.errors import CimsimError

NETS = """
    import torch
    from torch import nn

    class Words(nn.Module):
        def __init__(self, classes=4):
            super().__init__()
            self.r, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, classes)

        def forward(self, x):
            return self.head(self.r(x)[0][:, -1])

    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 2)

        def forward(self, x):
            return self.a(x), nn.functional.conv_transpose2d(x[None], x.reshape(1, 1, 5, 6))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "foreignnets.py").write_text(textwrap.dedent(NETS))
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "words.npz", x=rng.normal(size=(40, 5, 6)).astype(np.float32),
        y=rng.integers(0, 4, 40),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def call(text):
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, text.split())


def screen(text):
    done = call(text)
    assert done.exit_code == 0, (done.output, done.exception)
    return " ".join(done.output.split())


WORDS = "--model foreignnets:Words"


@pytest.mark.slow
def test_a_classifier_is_judged_and_its_result_says_how(folder):
    told = screen(f"run -q {WORDS} --weights random --task classification --data words.npz "
                  "--samples 6 --calibration 8 --seeds 2 --out out")  # fmt: skip
    assert "6 samples of 1x5x6" in told
    assert "right class (top-1)" in told
    assert "mean of 2 chips" in told
    assert "modelled: 100 % of the MACs (100 % on arrays)" in told
    result = json.loads((folder / "out" / "result.json").read_text())
    assert len(result["measures"][0]["chip"]) == 2
    assert result["coverage"]["modelled"] == {"macs": 1.0, "weights": 1.0, "moved": 1.0}


@pytest.mark.parametrize("command", ["time -q", "map --json", "count --json"])
def test_any_input_can_be_said_and_constructors_have_arguments(command):
    told = screen(f"{command} {WORDS} --arg classes=9 --input-shape 1x5x6")
    assert "macs" in told or "modelled: 100 %" in told


@pytest.mark.parametrize("command", ["time -q", "map", "count", "run -q --weights random"])
def test_a_network_that_is_mostly_free_gives_no_headline(command):
    text = f"{command} --model foreignnets:Free --input-shape 1x5x6"
    done = call(text)
    assert isinstance(done.exception, CimsimError)
    assert "Not modelled: conv_transpose2d" in str(done.exception)
    assert "--partial" in str(done.exception)


def test_the_part_that_is_modelled_can_be_asked_for():
    told = screen("time -q --model foreignnets:Free --input-shape 1x5x6 --partial")
    assert "not modelled, no time and no energy: conv_transpose2d" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--task classification", "--task: give --data"),
        ("--task clasification --data words.npz", "did you mean classification"),
        ("--data none.npz", "there is no such file"),
        ("--data words.npz --sigma 5", "--sigma: for --task denoising"),
        ("--task denoising --data words.npz", "--data: for --task classification"),
        ("--task classification --input-shape 1x5x6", "give --data with labels"),
        ("--input-shape 5,,6", "--input-shape: expected"),
        ("--input-shape 1x5x7", "with an input [1, 5, 7] (float32)"),
        ("--data words.npz --samples 900", "40 samples, 900 to judge"),
        ("--data words.npz --normalize 1", "--normalize: expected MEAN/STD"),
        ("--data foreignnets:None_", "cannot be built"),
    ],
)
def test_wrong_questions_have_one_message(text, words):
    done = call(f"run -q {WORDS} --weights random {text}")
    assert isinstance(done.exception, CimsimError), (done.output, done.exception)
    assert words in str(done.exception)
