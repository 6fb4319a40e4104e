"""How good the front of a search is beside that of random search: hypervolume, several seeds.

``python -m benchmarks.studies.search --out FILE.json`` searches ten fields of a chip for little
energy and latency on little area; ``--quality`` a smaller space for PSNR and energy with frames.
The hypervolume is that between the front and a corner, in logarithms of the objectives (PSNR as
it is), the same corner and unit for all samplers and seeds: that of the union of all fronts is 1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.stats import mean_interval
from cimsim.studies import engine
from cimsim.studies.optimise import SAMPLERS, Found, Search
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


def costs(found: Found) -> NDArray[np.float64]:
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


def compared(task: dict[str, Any], trials: int, seeds: int, workers: int) -> dict[str, Any]:
    """Search with every sampler and seed; return hypervolumes and what became of the trials."""
    study = Study(**task["given"])
    made: dict[str, list[tuple[NDArray[np.float64], str, float]]] = {}
    for sampler in SAMPLERS:
        for seed in range(seeds):
            began = time.process_time()
            search = Search(study, task["objectives"], task["constraints"], trials=trials,
                            sampler=sampler, seed=seed)  # fmt: skip
            found = search.run(crew=engine.crew(workers))
            took = time.process_time() - began
            made.setdefault(sampler, []).append((costs(found), found.told, took))
            print(f"{sampler} seed {seed}: {found.told}; {took:.1f} CPU s here", flush=True)
    union = np.concatenate([one for runs in made.values() for one, _, _ in runs])
    corner = union.max(axis=0)
    whole = hypervolume(union, corner)
    samplers = {}
    for name, runs in made.items():
        values = [hypervolume(one, corner) / whole for one, _, _ in runs]
        samplers[name] = {
            "hypervolume": values, "mean": float(np.mean(values)),
            "interval": mean_interval(values) if len(values) > 1 else None,
            "told": [told for _, told, _ in runs], "cpu_s": [took for _, _, took in runs],
        }  # fmt: skip
    return {**task, "points": search.space.size, "trials": trials, "samplers": samplers}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    task = QUALITY if given.quality else CHEAP
    told = compared(task, given.trials, given.seeds, given.workers)
    if given.out is not None:
        given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{told['points']:,} points, {told['trials']} trials; hypervolume, union of all = 1")
    for name, one in told["samplers"].items():
        ends = "" if one["interval"] is None else "({:.3f} .. {:.3f})".format(*one["interval"])
        each = ", ".join(f"{value:.3f}" for value in one["hypervolume"])
        print(f"{name:8} {one['mean']:.3f} {ends}   {each}")


if __name__ == "__main__":
    main()
