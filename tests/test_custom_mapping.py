"""The examples of docs/custom_mapping.md run as they are printed."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "custom_mapping.md"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the document's modules, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for code in blocks("python"):
        named = re.match(r"# (\w+\.py)\n", code)
        if named:
            (tmp_path / named[1]).write_text(code)
    yield tmp_path
    for name in ("mymaps", "myplaces"):
        sys.modules.pop(name, None)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def test_scripts_of_the_document_run(place, capsys):
    scripts = [code for code in blocks("python") if not code.startswith("# my")]
    assert len(scripts) == 2
    for code in scripts:
        exec(compile(code, DOCUMENT.name, "exec"), {})  # the example, word for word
    assert capsys.readouterr().out == "27 110\n"


def commands():
    text = "\n".join(blocks(""))
    return [line.split()[1:] for line in text.splitlines() if line.startswith("cimsim ")]


def test_commands_of_the_document_run(place):
    for arguments in commands():
        small = ["--size=32x32"]
        small += ["--json"] if arguments[0] == "map" else ["--frames=1", "--out=out", "-q"]
        done = CliRunner().invoke(app, [*arguments, *small])
        assert done.exit_code == 0, done.output
        if arguments[0] == "map":
            assert json.loads(done.stdout)["strategy"] == "spread"
        else:
            result = json.loads((place / "out" / "result.json").read_text())
            slots = [
                s for layer in result["inputs"]["mapping"]["layers"] for s in layer["slots"][0]
            ]
            assert min(tile for tile, _ in slots) == 40


def test_the_table_of_the_document_names_every_allocation():
    from cimsim.placing.by_name import ALLOCATIONS

    assert all(f"`{name}`" in DOCUMENT.read_text() for name in ALLOCATIONS)
