"""``cimsim verify``, and signals: through real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)
    def forward(self, x):
        return x {how} self.a(x)
"""
RUN = ["run", "--model", "own:Net", "--weights", "random", "--hw", "example_minimal", "--frames",
       "1", "--size", "16x16", "--set", "adc.bits=7", "--threads", "1", "--quiet"]  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def start(folder, *arguments, **more):
    where = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": where, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "cimsim", *arguments], cwd=folder, text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def called(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    (folder / "own.py").write_text(NET.format(how="-"))
    code, _, err = called(folder, *RUN, "--out", "o")
    assert code == 0, err
    return folder


@pytest.mark.slow
def test_the_same_comes_out_again_and_another_network_is_noticed(kept):
    code, out, err = called(kept, "verify", "o")
    assert code == 0, err
    assert "run again: the same" in out
    assert "3 clips bit by bit" in out
    (kept / "own.py").write_text(NET.format(how="+ 0.3 *"))
    code, _, err = called(kept, "verify", "o")
    assert code == 2
    assert "another result this time: input operations" in err
    (kept / "own.py").write_text(NET.format(how="-"))


@pytest.mark.slow
def test_edited_files_are_noticed(kept, tmp_path):
    import shutil

    folder = tmp_path / "o"
    shutil.copytree(kept / "o", folder)
    (folder / "layers.csv").write_text("edited")
    next((folder / "plots").iterdir()).unlink()
    code, _, err = called(tmp_path, "verify", "o", "--files")
    assert code == 2
    assert "is missing" in err
    assert "layers.csv was changed" in err
    text = (folder / "result.json").read_text()
    data = json.loads(text)
    data["timing"]["latency_cycles"] += 1
    (folder / "result.json").write_text(json.dumps(data))
    code, _, err = called(tmp_path, "verify", "o")
    assert code == 2
    assert "it was edited" in err


MOMENTS = [0.05, 0.3, 0.8, 1.5, 2.5]


@pytest.mark.parametrize("moment", [0.3, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_without_a_traceback_and_leave_nothing(
    kept, tmp_path, number, expected, moment
):
    (tmp_path / "own.py").write_text(NET.format(how="-"))
    for after in MOMENTS if moment is None else [moment]:
        process = start(tmp_path, *RUN, "--out", "o")
        ready(process)
        time.sleep(after)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (expected, 0), err  # 0: it was through
        assert "Traceback" not in err, err
        left = [place.name for place in tmp_path.rglob(".*") if ".cimsim-" in place.name]
        assert left == []


def ready(process):
    """Wait until the process has its handlers: before that Python itself answers."""
    handled = 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & handled:
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_a_reader_that_goes_away_loses_no_run(kept, tmp_path):
    (tmp_path / "own.py").write_text(NET.format(how="-"))
    process = start(tmp_path, *RUN, "--out", "o")
    process.stdout.close()
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    assert (tmp_path / "o" / "result.json").is_file()


@pytest.mark.slow
def test_an_interrupt_inside_executed_text_has_the_code_of_an_interrupt(tmp_path):
    """CPython would die of the signal at its end, although the interrupt was caught."""
    text = 'exec("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)")'
    (tmp_path / "own.py").write_text(text)
    code, _, err = called(tmp_path, *RUN, "--out", "o")
    assert code == 130
    assert err.strip() == "interrupted; no result was written"
