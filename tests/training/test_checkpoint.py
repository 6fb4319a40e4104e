from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch

from cimsim.errors import InputError
from cimsim.training.checkpoint import Log, locked, read, write


@pytest.fixture
def no_space():
    """Let no file grow beyond 16 KiB: what a full disk does to a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, no_space):
    path = tmp_path / "checkpoint.pt"
    write(path, {"config": {}, "x": torch.arange(3)})
    no_space()
    with pytest.raises(InputError, match=r"cannot be written.*the last checkpoint is kept.*free"):
        write(path, {"config": {}, "x": torch.zeros(100_000)})
    assert read(path, torch.device("cpu"))["x"].equal(torch.arange(3))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot read the checkpoint.*--fresh"):
        read(path, torch.device("cpu"))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="no checkpoint of cimsim train"):
        read(path, torch.device("cpu"))


def test_a_cut_log_ends_at_the_step(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.cut(10)  # nothing there: nothing to do
    for step in (20, 40, 60):
        log.append({"step": step, "loss": step / 7})
    with log.path.open("a") as handle:
        handle.write('{"step": 80, "lo')  # a kill in the middle of a line
    log.cut(45)
    assert [line["step"] for line in log.read()] == [20, 40]
    assert log.read()[1]["loss"] == 40 / 7


def test_a_run_that_starts_anew_has_an_empty_log(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.append({"step": 0, "loss": None})
    log.cut(0)
    assert log.read() == []


@pytest.mark.slow
def test_a_folder_is_one_runs_at_a_time(tmp_path):
    with locked(tmp_path):
        code = (
            "import sys, pathlib\n"
            "from cimsim.training.checkpoint import locked\n"
            "with locked(pathlib.Path(sys.argv[1])): pass\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
        )
        assert "another run trains into this folder" in other.stderr
    with locked(tmp_path):  # free again
        pass
