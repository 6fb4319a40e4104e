"""The command as a process: signals, terminals of few letters, full disks, odd environments."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "cimsim"]


def called(*arguments, cwd, out=subprocess.PIPE, **environment):
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, stdout=out, stderr=subprocess.PIPE, check=False,
        env=os.environ | environment, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [("hw", "show", "eflash40nm"), ("hw", "show", "unié芯.yaml")])
def test_letters_that_a_terminal_does_not_have_are_spelt(arguments, tmp_path):
    done = called(*arguments, cwd=tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C")
    said = done.stdout.decode("ascii") + done.stderr.decode("ascii")
    assert "Traceback" not in said
    if done.returncode:
        assert "uni\\xe9\\u82af.yaml" in said
    else:
        assert "every 6.49 us: " in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_a_full_disk_does_not_take_is_told(tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = called("hw", "list", cwd=tmp_path, out=full)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "error: standard output did not take everything: No space left on device"
    ]


@pytest.mark.parametrize(("name", "value"), [
    ("NUMBA_NUM_THREADS", "0"), ("NUMBA_NUM_THREADS", "-2"), ("OMP_NUM_THREADS", "abc"),
])  # fmt: skip
def test_numbers_of_threads_that_are_none_are_refused_by_name(name, value, tmp_path):
    done = called("hw", "list", cwd=tmp_path, **{name: value})
    assert done.returncode == 2
    said = done.stderr.decode()
    assert said.startswith(f"error: {name}: expected a whole number")
    assert said.endswith(f", got '{value}'; mend or unset it\n")


def test_lists_and_empty_numbers_of_threads_are_fine(tmp_path):
    done = called("--version", cwd=tmp_path, OMP_NUM_THREADS="4,2", NUMBA_NUM_THREADS="")
    assert done.returncode == 0


RUN = ("run", "--size", "32x32", "--frames", "1", "--no-cache", "--quiet", "--out", "o")


def test_a_closed_terminal_leaves_no_temporary_folder(tmp_path):
    process = subprocess.Popen([*COMMAND, *RUN], cwd=tmp_path, stderr=subprocess.PIPE)
    while process.poll() is None and not any(".cimsim-new" in p.name for p in tmp_path.iterdir()):
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 129, err
    assert err.decode().splitlines()[-1] == "hung up; no result was written"
    assert list(tmp_path.iterdir()) == []


def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
    text = (
        "import os, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from cimsim import entry\n"
        "entry.install()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True,
                          check=False)  # fmt: skip
    assert done.stdout == b"goes on\n"
