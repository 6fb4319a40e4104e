"""What one more point of a study costs: ``python -m benchmarks.studies.one_more``.

CPU seconds for a point that differs in one thing from those before it, in a process that has these
in memory and a store on disk: all work of the point, without process start. Every change is tried
several times, each with a value of its own, and the median is shown beside the range.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

# what changes -> the fields of a study, from the number of the try
CHANGES: dict[str, Any] = {
    "nothing": lambda i: {},
    "an energy": lambda i: {"set": {"adc.energy": f"{1 + i / 10} pJ"}},
    "the clock": lambda i: {"set": {"process.clock": f"{60 + i} MHz"}},
    "adc.bits": lambda i: {"set": {"adc.bits": str(6 + i)}},
    "the chip": lambda i: {"seeds": 2 + i},
    "the clip": lambda i: {"start": 1 + i},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--network", action="append", help="default: cimnet")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CIMSIM_CACHE"] = f"{folder}/store"
        for network in asked.network or ["cimnet"]:
            given = {"networks": network, "frames": asked.frames, "size": asked.size}
            _show(network, given, asked.tries)


def _show(network: str, given: dict[str, Any], tries: int) -> None:
    from cimsim.engine.workers import one_torch_thread
    from cimsim.studies.chain import Chain, Memory
    from cimsim.studies.store import Store
    from cimsim.studies.study import Study

    memory, store = Memory(), Store.usual()

    def took(changed: dict[str, Any]) -> float:
        point = Study(**(given | changed)).plan.points()[-1]
        began = time.process_time()
        assert Chain(point, memory, store).row["numbers"]
        return time.process_time() - began

    with one_torch_thread():
        print(f"{network}: the first point {took({}):.2f} CPU s, with compiling or its cache")
        for name, change in CHANGES.items():
            every = [took(change(i)) for i in range(tries)]
            low, high = min(every), max(every)
            print(f"{name:10} {statistics.median(every):6.3f}  ({low:.3f}..{high:.3f})")


if __name__ == "__main__":
    main()
