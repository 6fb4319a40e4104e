"""Two studies at once on one small store, for a minute: every row is compared with a fresh one.

``python -m benchmarks.studies.hammer --seconds 60``: two processes work out the same points in
other orders, again and again, in a store whose limit a few of them pass, so that entries are
written, read and removed under each other's hands. A third one cuts files short meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GIVEN = {"networks": "cimnet", "frames": 0, "size": "64x64",
         "set": {"adc.count": "8..64:8", "process.clock": "50..100:25 MHz"}}  # fmt: skip


def work(number: int, seconds: float) -> dict[str, Any]:
    """Work out points from a shared store until the time is over; return counts."""
    from cimsim.studies.chain import Chain, Memory
    from cimsim.studies.store import Store
    from cimsim.studies.study import Study

    points = Study(**GIVEN).plan.points()
    memory = Memory()
    fresh = [Chain(point, memory).row for point in points]
    store = Store.usual()
    assert store is not None
    order, rounds, wrong, found = random.Random(number), 0, 0, 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        once = Memory()  # so that all but graph and mapping comes from the store
        for stage in ("export", "map"):
            once._held[stage] = memory._held[stage]
        for i in order.sample(range(len(points)), len(points)):
            wrong += Chain(points[i], once, store).row != fresh[i]
            rounds += 1
        found += once.reused.get("energise", 0)
    store.flush()
    return {"points": rounds, "found": found, "wrong": wrong}


def spoil(folder: Path, seconds: float) -> int:
    """Cut files of a store short now and then; return how many."""
    chance, cut = random.Random(0), 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        files = list(folder.glob("studies/??/*.json"))
        if files:
            with contextlib.suppress(OSError):
                os.truncate(chance.choice(files), 40)
                cut += 1
        time.sleep(0.2)
    return cut


def main(arguments: Sequence[str] | None = None) -> None:
    """Hammer, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--number", type=int)
    asked = parser.parse_args(arguments)
    if asked.number is not None:
        print(json.dumps(work(asked.number, asked.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CIMSIM_CACHE": folder, "CIMSIM_CACHE_LIMIT": "80kB"}
        command = [sys.executable, "-m", "benchmarks.studies.hammer", "--seconds",
                   str(asked.seconds), "--number"]  # fmt: skip
        both = [
            subprocess.Popen([*command, str(n)], env=environment, stdout=subprocess.PIPE)
            for n in range(2)
        ]
        cut = 0
        while any(one.poll() is None for one in both):
            cut += spoil(Path(folder), 1.0)
        told = [json.loads(one.stdout.read()) for one in both if one.stdout]
    print(json.dumps({"studies": told, "files cut short": cut}, indent=1))


if __name__ == "__main__":
    main()
