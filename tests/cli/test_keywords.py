"""``cimsim run --task keywords`` as a user types it."""

import json

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app


def invoke(*words):
    return CliRunner().invoke(app, list(words))


def test_words_on_the_chip_with_no_option_but_the_task(tmp_path):
    done = invoke("run", "--task", "keywords", "--samples", "10", "--seeds", "2", "--quiet",
                  "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "DS-CNN on wtm2101" in told
    assert "measured on this chip (Bai et al., TCAD 2024, Tab. IV)" in told
    assert "average power at 1 frames/s" in told
    held = json.loads((tmp_path / "run" / "result.json").read_text())
    top = held["measures"][0]
    assert len(top["chip"]) == 2
    assert min(top["chip"]) >= 80
    assert held["details"]["task"] == "keywords"
    assert "dscnn_wtm2101.safetensors" in json.dumps(held["inputs"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--task", "keywords", "--normalize", "0/1"), "--normalize: not for --task keyw"),
        (("run", "--task", "keywords", "--data", "nowhere"), "no test recordings in 'nowhere'"),
        (("run", "--task", "keyword"), "did you mean keywords"),
        (("run", "--task", "keywords", "--samples", "61"), "60 samples"),
        (("run", "--model", "resnet20"), "give --data with labels"),
        (
            ("train", "--model", "dscnn", "--data", ".", "--out", "x", "--steps", "1"),
            "dscnn is no denoiser",
        ),
    ],
)
def test_what_is_wrong_is_said(words, message):
    done = invoke(*words)
    assert done.exit_code != 0
    text = " ".join((done.output + str(done.exception)).split())
    assert message in text


def test_networks_that_are_no_denoisers_are_counted_and_listed():
    done = invoke("count", "--model", "dscnn")
    assert done.exit_code == 0, done.output
    assert "21,888" in done.output
    listed = invoke("models", "list").output
    assert all(name in listed for name in ("dscnn", "keyword-lstm", "resnet20", "resnet9"))
    shown = " ".join(invoke("models", "show", "keyword-lstm").output.split())
    assert "held out" in shown
    assert "keyword-lstm_wtm2101" in shown
