"""Run the scenarios that are named, or all, and print a table in Markdown."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.load.crowded import api, cold_caches, frames, large, processes, runs, threads
from benchmarks.load.interrupted import kills, signals
from benchmarks.load.starved import full_disk

SCENARIOS = {
    "signals": signals, "kills": kills, "disk": full_disk, "runs": runs, "cold": cold_caches,
    "api": api, "frames": frames, "large": large, "threads": threads, "processes": processes,
}  # fmt: skip


def main() -> int:
    """Return 1 if anything was not as it is to be."""
    parser = argparse.ArgumentParser(prog="benchmarks.load", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    names = parser.parse_args().names or [*SCENARIOS]
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SCENARIOS)}")
    wrong = 0
    print("| what | tried | not as it is to be | figures |\n|---|---|---|---|", flush=True)
    for name in names:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cimsim-load-") as home:
            for finding in SCENARIOS[name](Path(home)):
                wrong += len(finding.faults)
                print(f"| {finding.what} | {finding.tried} | {len(finding.faults)} | "
                      f"{finding.figures} |", flush=True)  # fmt: skip
                for fault in finding.faults:
                    print(f"{finding.what}: {fault}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
