"""What a run writes beside its own files, by name: files, trackers, and what fails."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

import cimsim
from cimsim import folders
from cimsim.api import AbstractWriter
from cimsim.cli.verify import _UNSAID
from cimsim.errors import InputError
from cimsim.report.run.folder import write
from cimsim.report.run.trackers import WRITERS, writer_of
from tests.cli.command import in_process
from tests.report.run.test_trackers import Tracker

CODE = """
from cimsim.api import AbstractWriter

class Note(AbstractWriter):
    def write(self, result, folder):
        (folder / "note.txt").write_text(result.hash)
        return "note: note.txt"

class Fails(AbstractWriter):
    def write(self, result, folder):
        raise OSError("the server is away")
"""


@pytest.fixture(scope="module")
def result():
    network = cimsim.load_network("cimnet", {"stride": 8}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32))
    return cimsim.simulate(cimsim.map_graph(graph, cimsim.load_hw("eflash40nm")), None)


class Note(AbstractWriter):
    """Writes a file."""

    def write(self, result, folder):
        (folder / "note.txt").write_text(result.hash)
        return "note: note.txt"


class Fails(AbstractWriter):
    """Cannot."""

    def write(self, result, folder):
        raise OSError("the server is away")


def test_what_a_writer_writes_is_part_of_the_run(result, tmp_path):
    told = []
    folder = write(result, tmp_path / "run", writers=[Note()], say=told.append)
    assert told == ["note: note.txt"]
    assert (folder / "note.txt").read_text() == result.hash
    assert "note.txt" in folders.manifest(folder)
    again = result.to_dir(folder)  # a later run replaces all of it
    assert not (again / "note.txt").exists()


def test_one_that_fails_keeps_nothing_else_back(result, tmp_path):
    told = r"--writer: .*Fails\.write failed with OSError: the server is away .*; all else is"
    with pytest.raises(InputError, match=told):
        result.to_dir(tmp_path / "run", writers=[Fails(), Note()])
    assert cimsim.Result.load(tmp_path / "run").hash == result.hash
    assert (tmp_path / "run" / "note.txt").exists()


def test_trackers_are_writers_by_name(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", mlflow := Tracker("mlflow"))
    monkeypatch.setitem(sys.modules, "wandb", wandb := Tracker("wandb"))
    assert writer_of("mlflow").write(result, tmp_path) == "mlflow: run r1"
    writer_of("wandb").write(result, tmp_path)
    assert {name for name, _, _ in mlflow.calls} >= {"start_run", "log_metrics", "log_text"}
    assert {name for name, _, _ in wandb.calls} >= {"init", "log"}
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="mlflow: is not installed: pip install mlflow"):
        writer_of("mlflow")  # before anything runs


def test_tensorboard_writes_into_the_run(result, tmp_path):
    pytest.importorskip("tensorboard")
    folder = result.to_dir(tmp_path / "run", writers=[writer_of("tensorboard")])
    assert [path for path in folders.manifest(folder) if path.startswith("tensorboard/events")]


def test_names_are_looked_up_as_those_of_other_plugs(monkeypatch):
    module = ModuleType("ownwriters")
    exec(CODE, module.__dict__)
    monkeypatch.setitem(sys.modules, "ownwriters", module)
    point = EntryPoint("note", "ownwriters:Note", "cimsim.writers")
    monkeypatch.setattr("cimsim.boundary.outside.entry_points", lambda group: [point] * (
        group == "cimsim.writers"))  # fmt: skip
    assert type(writer_of("note")).__name__ == "Note"
    with pytest.raises(InputError, match=r"--writer: 'nota' is unknown.*note") as error:
        writer_of("nota")
    assert all(name in str(error.value) for name in WRITERS)
    with pytest.raises(InputError, match=r"derives from cimsim\.api\.AbstractWriter"):
        writer_of("pathlib:Path")


def test_the_command_writes_says_and_does_not_verify_it_again(tmp_path):
    (tmp_path / "ownwriters.py").write_text(CODE)
    options = ("--frames=1", "--size=32x32", "-q", "--writer=ownwriters:Note")
    done = in_process("run", *options, "--out=o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: note.txt" in done.stdout
    assert "writer" in _UNSAID
    assert "writer" not in cimsim.Result.load(tmp_path / "o").command["options"]
    failed = in_process("run", *options, "--writer=ownwriters:Fails", "--out=f", cwd=tmp_path)
    assert failed.returncode == 2
    assert "the server is away" in failed.stderr
    assert "per frame" in failed.stdout  # the numbers are shown all the same
    assert (tmp_path / "f" / "result.json").is_file()
    typo = in_process("run", *options, "--writer=nobody", "--out=t", cwd=tmp_path)
    assert typo.returncode == 2
    assert not (tmp_path / "t").exists()
