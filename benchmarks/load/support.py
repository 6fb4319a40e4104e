"""Small networks, clips and commands, and processes whose end is looked at."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        return x - self.b(torch.relu(self.a(x)))


class Wide(nn.Module):  # its second layer fills arrays
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 64, 3, padding=1)
        self.c = nn.Conv2d(64, 3, 1)

    def forward(self, x):
        return x - self.c(torch.relu(self.b(torch.relu(self.a(x)))))
"""
TIMED = ["--model", "own:Net", "--hw", "example_minimal"]
NETWORK = [*TIMED, "--weights", "random"]
SIZE = ["--size", "24x24"]
RUN = ["run", *NETWORK, *SIZE, "--frames", "2", "--threads", "1", "--quiet"]
LONGEST_S = 600


@dataclass
class Finding:
    """One line of the table.

    Attributes
    ----------
    what : str
    tried : int
    faults : list of str
        One sentence for each trial that was not as it is to be.
    figures : str
    """

    what: str
    tried: int = 0
    faults: list[str] = field(default_factory=list)
    figures: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes
    ----------
    code : int
        Exit code; negative: killed by that signal.
    err : str
        Standard error.
    peak_mb : float
        Largest resident memory.
    seconds : float
    """

    code: int
    err: str
    peak_mb: float
    seconds: float

    def fault(self, expected: tuple[int, ...]) -> str:
        """Return what is wrong: another code, a traceback, or more than one message."""
        if "Traceback" in self.err:
            return f"traceback: {self.err.strip().splitlines()[-1][:120]}"
        if self.code not in expected:
            return f"code {self.code}: {self.err.strip()[-160:]}"
        return ""


class Process:
    """A ``cimsim`` command in a folder, with caches and temporary files of its own beside it.

    Parameters
    ----------
    folder : Path
        Where it works; ``own.py`` and ``clips`` may lie there.
    arguments : list of str
    prepare : callable, optional
        Runs in the new process before the command.
    environment : str
        More variables.
    """

    def __init__(
        self, folder: Path, arguments: list[str], prepare: Callable[[], None] | None = None,
        **environment: str,
    ) -> None:  # fmt: skip
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed below
        temporary = folder.parent / f"{folder.name}-tmp"
        temporary.mkdir(exist_ok=True)
        more = {
            "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg",
            "TMPDIR": str(temporary), "CIMSIM_CACHE": str(folder.parent / "cache"),
        }  # fmt: skip
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cimsim", *arguments], cwd=folder, preexec_fn=prepare,
            env=os.environ | more | environment, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until the process handles signals: before that Python itself answers."""
        handled = 1 << (signal.SIGTERM - 1)
        while True:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            if status["State"].startswith("Z") or int(status["SigCgt"], 16) & handled:
                return
            time.sleep(0.002)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that is through does not mind."""
        os.kill(self.process.pid, number)  # Popen's own would take its end away from `end`

    def end(self) -> Outcome:
        """Wait for the end; what hangs is killed."""
        killer = time.monotonic() + LONGEST_S
        while True:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > killer:
                self.send(signal.SIGKILL)
            time.sleep(0.01)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self._log.seek(0)
        err = self._log.read()
        self._log.close()
        taken = time.monotonic() - self.start
        return Outcome(self.process.returncode, err, used.ru_maxrss / 1024, taken)


def called(folder: Path, arguments: list[str], **environment: str) -> Outcome:
    """Run a command to its end."""
    return Process(folder, arguments, **environment).end()


def workplace(home: Path, name: str, *, clips: bool = False) -> Path:
    """Make a folder with the network, and clips to train on."""
    folder = home / name
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(OWN)
    if clips:
        _write_clips(folder / "clips")
    return folder


def commands() -> dict[str, list[str]]:
    """Return one command of each kind that writes, into names that stay the same."""
    return {
        "run": [*RUN, "--out", "o"],
        "map": ["map", *NETWORK, *SIZE, "--save", "m.yaml", "--out", "m"],
        "time": ["time", *TIMED, *SIZE, "--trace", "t.json.gz", "--picture", "t.png", "--quiet"],
        "program": ["program", *NETWORK, *SIZE, "--out", "c.safetensors", "--quiet"],
        "train": train(60),
    }


def train(steps: int) -> list[str]:
    """Return a training of some seconds."""
    return [
        "train", "--model", "baseline-o1", "--stride", "8", "--data", "clips", "--out", "t",
        "--steps", str(steps), "--batch", "2", "--crop", "32", "--validation-scenes", "2",
        "--validation-crop", "32", "--checkpoint-steps", "20",
    ]  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    """Return temporary names in a folder and in the temporary folder beside it."""
    found = [
        str(place.relative_to(folder)) for place in folder.rglob("*")
        if ".cimsim-" in place.name or place.name.endswith(".tmp") or "partial" in place.name
    ]  # fmt: skip
    beside = folder.parent / f"{folder.name}-tmp"
    # torch keeps a cache of its own there, however it ends
    others = [place for place in beside.iterdir() if not place.name.startswith("torchinductor_")]
    return found + [f"TMPDIR/{place.name}" for place in others]


def _write_clips(folder: Path) -> None:
    """Image folders of moving random blocks, and their manifest."""
    from PIL import Image

    rng, rows = np.random.default_rng(0), []
    for index in range(5):
        clip = folder / f"clip{index}"
        clip.mkdir(parents=True)
        blocks = np.kron(rng.integers(0, 256, (6, 6, 3)), np.ones((8, 8, 1)))
        for frame in range(4):
            moved = np.roll(blocks, frame, axis=1).astype(np.uint8)
            Image.fromarray(moved).save(clip / f"{frame}.png")
        rows.append((clip.name, f"scene{index}"))
    with (folder / "manifest.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file", "scene"), *rows])
