"""How good the front of a search is beside that of random search: hypervolume, several seeds.

``python -m benchmarks.studies.search --out FOLDER`` searches ten fields of a chip for little energy
and latency on little area; ``--quality`` a smaller space for PSNR and energy with frames. Searches
that have a file in the folder are not repeated.
The hypervolume is that between the front and a corner, in logarithms of the objectives (PSNR as
it is), the same corner and unit for all samplers and seeds: that of the union of all fronts is 1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.stats import mean_interval
from cimsim.studies import engine
from cimsim.studies.optimise import SAMPLERS, Search, SearchResult
from cimsim.studies.study import Study

FIELDS = {
    "adc.bits": "4..12", "adc.count": "8,16,32,64,128,256", "process.clock": "50..300:25 MHz",
    "tile.count": "40..152:4", "buffer.bytes_per_cycle": "4,8,16,32,64",
    "interconnect.bytes_per_cycle": "16,32,64,128",
    "global_buffer.bytes_per_cycle": "16,32,64,128", "vector.lanes": "4,8,16,32,64",
    "adder.lanes": "16,32,64,128", "tile.idle": "on,clock_gated,power_gated",
}  # fmt: skip
CHEAP = {
    "given": {"set": FIELDS, "networks": "cimnet", "frames": 0, "size": "128x128"},
    "objectives": ("min energy", "min latency"), "constraints": ("area<=130e-6",),
}  # fmt: skip
QUALITY = {
    "given": {
        "set": {
            "adc.bits": "4..10", "dac.bits": "1,2,4,8", "adc.count": "16,32,64,128",
            "process.clock": "50..150:50 MHz",
        },
        "networks": "cimnet", "frames": 1, "size": "128x128",
    },
    "objectives": ("max psnr", "min energy"), "constraints": ("fps>=300",),
}  # fmt: skip


def costs(found: SearchResult) -> NDArray[np.float64]:
    """Return the feasible trials' objectives, smaller is better: logarithms, decibels as such."""
    kept = np.array([trial.costs for trial in found.trials if trial.feasible])
    kept = kept.reshape(len(kept), 2)
    return np.where(kept > 0, np.log10(np.where(kept > 0, kept, 1.0)), kept)


def hypervolume(points: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    """Return the area that two-dimensional points beat up to a corner.

    Parameters
    ----------
    points : float64 [n, 2]
        Smaller is better.
    corner : float64 [2]
    """
    area, best = 0.0, float(corner[1])
    for x, y in sorted(map(tuple, points[(points < corner).all(axis=1)])):
        if y < best:
            area += (corner[0] - x) * (best - y)
            best = y
    return float(area)


def searched(task: dict[str, Any], sampler: str, seed: int, asked: Any) -> dict[str, Any]:
    """Search once; return the objectives of the trials that keep all constraints, and counts."""
    began = time.process_time()
    search = Search(Study(**task["given"]), task["objectives"], task["constraints"],
                    trials=asked.trials, sampler=sampler, seed=seed)  # fmt: skip
    found = search.run(crew=engine.crew(asked.workers))
    return {
        "points": search.space.size, "trials": len(found.trials), "told": found.summary,
        "costs": costs(found).tolist(), "cpu_s_here": time.process_time() - began,
    }  # fmt: skip


def compared(runs: dict[str, dict[int, dict[str, Any]]]) -> dict[str, list[float]]:
    """Return the hypervolume of every search by sampler; that of the union of all is 1."""
    fronts = {
        name: [np.array(one["costs"]).reshape(-1, 2) for _, one in sorted(by_seed.items())]
        for name, by_seed in runs.items()
    }
    union = np.concatenate([one for held in fronts.values() for one in held])
    corner = union.max(axis=0)
    whole = hypervolume(union, corner)
    return {n: [hypervolume(one, corner) / whole for one in held] for n, held in fronts.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Search with every sampler and seed that has no file yet, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    parser.add_argument("--out", type=Path, required=True, help="folder of one file per search")
    asked = parser.parse_args(arguments)
    task = QUALITY if asked.quality else CHEAP
    asked.out.mkdir(parents=True, exist_ok=True)
    for seed, sampler in product(range(asked.seeds), asked.samplers):
        file = asked.out / f"{sampler}-{seed}.json"
        if not file.exists():
            made = searched(task, sampler, seed, asked)
            file.write_text(json.dumps(made) + "\n", encoding="utf-8")
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted(asked.out.glob("*-*.json")):
        sampler, _, number = file.stem.partition("-")
        runs.setdefault(sampler, {})[int(number)] = json.loads(file.read_text(encoding="utf-8"))
    print("hypervolume, union of all = 1; mean and its 5 .. 95 %, each seed")
    for name, values in compared(runs).items():
        ends = "({:.3f} .. {:.3f})".format(*mean_interval(values)) if len(values) > 1 else ""
        each = ", ".join(f"{value:.3f}" for value in values)
        print(f"{name:8} {np.mean(values):.3f} {ends}   {each}")
        print(*(f"         {one['told']}" for one in runs[name].values()), sep="\n")


if __name__ == "__main__":
    main()
