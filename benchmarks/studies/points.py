"""A study of a thousand points with a store of its own, and what points cost without it.

``python -m benchmarks.studies.points --workers 2 --out FILE.json``: ADC bits x converters per array
x clock x five chips, one frame. Without the store: the mean of a few points spread over the study,
each with nothing in memory but compiled kernels and with nothing kept, times their number: an
estimate, and said to be one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIELDS = {"adc.bits": "6..10", "adc.count": "16,32,64,128",
          "process.clock": "55..100:5 MHz"}  # fmt: skip


def cpu_s() -> float:
    """Return the CPU seconds of this process and of those that have ended below it."""
    own, below = (resource.getrusage(who) for who in
                  (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime


def studied(given: dict[str, Any], workers: int, folder: Path) -> dict[str, Any]:
    """Run the study; return points, wall and CPU seconds."""
    from cimsim.studies.study import Study

    study = Study(**given)
    began, used = time.monotonic(), cpu_s()
    outcome = study.run(folder, workers=workers)
    wall_s = time.monotonic() - began
    for child in multiprocessing.active_children():
        child.join()  # what a process used counts when it has ended
    return {
        "points": len(outcome.rows), "errors": len(outcome.errors), "wall_s": wall_s,
        "points_per_s": len(outcome.rows) / wall_s, "cpu_s": cpu_s() - used,
    }  # fmt: skip


def without(given: dict[str, Any], n: int) -> list[float]:
    """Return the CPU seconds of some points, each worked out from the start."""
    from cimsim.engine.workers import one_torch_thread
    from cimsim.studies.chain import Chain, Memory
    from cimsim.studies.study import Study

    points = Study(**given).plan.points()
    chosen = [points[i * (len(points) - 1) // n] for i in range(n + 1)]
    took = []
    with one_torch_thread():
        for point in chosen:
            began = time.process_time()
            assert Chain(point, Memory()).row["numbers"]
            took.append(time.process_time() - began)
    return took[1:]  # the first one compiles


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(arguments)
    given = {"set": FIELDS, "networks": "cimnet", "frames": 1, "size": asked.size, "seeds": 5}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CIMSIM_CACHE"] = f"{folder}/store"
        told = studied(given, asked.workers, Path(folder) / "study")
        again = studied(given, asked.workers, Path(folder) / "again")
    sample = without(given, asked.sample)
    mean = sum(sample) / len(sample)
    told |= {
        "again": again, "load": os.getloadavg(), "sample_cpu_s": sample,
        "without_cpu_s_estimated": mean * told["points"],
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    if asked.out is not None:
        asked.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
