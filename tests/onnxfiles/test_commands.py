"""The commands take a model file as they take a network by name."""

import json

import pytest
from typer.testing import CliRunner

pytest.importorskip("onnx")

from cimsim.cli.main import app
from tests.onnxfiles import small


def test_count_and_map_agree_on_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.written(tmp_path / "net.onnx", small.model())
    runner = CliRunner(env={"COLUMNS": "200"})
    counted = runner.invoke(app, ["count", "--model", "net.onnx", "--json"])
    assert counted.exit_code == 0, counted.output
    row = json.loads(counted.output)["networks"][0]
    mapped = runner.invoke(app, ["map", "--model", "net.onnx", "--out", "m"])
    assert mapped.exit_code == 0, mapped.output
    assert f"{row['per_frame']['arrays']} of 76 arrays" in mapped.output
    shown = runner.invoke(app, ["count", "--model", "net.onnx"])
    assert "One frame of 1x" in shown.output
