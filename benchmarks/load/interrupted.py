"""Signals at random moments, and ``kill -9`` of a training."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load.support import Finding, Process, called, commands, leftovers, train, workplace

# Python ignores SIGPIPE, so a writer sees the closed pipe instead: the command goes on
EXPECTED = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGPIPE: 0}


def signals(home: Path, each: int = 4, seed: int = 0) -> Iterator[Finding]:
    """Send each signal to each command at ``each`` moments of its life.

    The code is that of the signal, or 0 where the command was through before; no traceback; and
    the same command, run again, goes through and leaves no temporary name behind.
    """
    draw = random.Random(seed)
    for name, arguments in commands().items():
        folder = workplace(home, f"signals-{name}", clips=name == "train")
        called(folder, arguments)  # kernels are compiled once
        usual = called(folder, _fresh(name, arguments)).seconds
        finding = Finding(f"signals at random moments of `{name}`")
        codes: Counter[int] = Counter()
        for number, code in EXPECTED.items():
            for _ in range(each):
                process = Process(folder, _fresh(name, arguments))
                process.ready()
                time.sleep(max(0.0, draw.uniform(0, usual) - (time.monotonic() - process.start)))
                process.send(number)
                end = process.end()
                finding.tried += 1
                codes[end.code] += 1
                fault = end.fault((code, 0))
                finding.faults += [f"{number.name}: {fault}"] if fault else []
            again = called(folder, arguments)
            fault = again.fault((0,)) or ", ".join(leftovers(folder))
            finding.faults += [f"run after {number.name}: {fault}"] if fault else []
        finding.figures = ", ".join(f"code {code}: {n}" for code, n in sorted(codes.items()))
        yield finding


def _fresh(name: str, arguments: list[str]) -> list[str]:
    # a training that is through has nothing left to interrupt
    return [*arguments, "--fresh"] if name == "train" else arguments


def kills(home: Path, times: int = 20, seed: int = 0) -> list[Finding]:
    """Kill trainings again and again; they go on, and end with the weights of a whole one."""
    draw, finding = random.Random(seed), Finding("`kill -9` of `train`, resumed each time")
    arguments, through = train(400), 0
    whole = workplace(home, "kills-whole", clips=True)
    end = called(whole, arguments)
    finding.faults += [f"not killed: {end.fault((0,))}"] if end.fault((0,)) else []
    folder = workplace(home, "kills0", clips=True)
    while finding.tried < times:
        process = Process(folder, arguments)
        time.sleep(draw.uniform(0, end.seconds))
        process.send(signal.SIGKILL)
        one = process.end()
        fault = one.fault((-signal.SIGKILL, 0))
        finding.tried += one.code == -signal.SIGKILL
        finding.faults += [fault] if fault else []
        if one.code == 0:  # through: the next one begins anew
            finding.faults += _as_whole(folder, whole)
            through += 1
            folder = workplace(home, f"kills{through}", clips=True)
    last = called(folder, arguments)
    finding.faults += [f"the last: {last.fault((0,))}"] if last.fault((0,)) else []
    finding.faults += _as_whole(folder, whole)
    finding.figures = (
        f"{through + 1} trainings of 400 steps, the weights of one that was not killed"
    )
    return [finding]


def _as_whole(folder: Path, whole: Path) -> list[str]:
    left = [f"left: {one}" for one in leftovers(folder)]
    same = _weights(folder / "t") == _weights(whole / "t") != []
    return left + ([] if same else ["other weights than those of a training that was not killed"])


def _weights(folder: Path) -> list[str]:
    return [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("*.safetensors"))
    ]
