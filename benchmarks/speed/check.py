"""Compare the speed of the engine with what was measured before, on any machine.

python -m benchmarks.speed.check

What is compared are shares of what the machine's instructions for integers can do at all, measured
in the same run: they differ little between machines with the same instructions, and other programs
that take the processor's clock down take it from both. W1 .. W3 are those of
`benchmarks/speed/engine.py`. A share that lies below the kept one by more than the margin is an
error; ``--keep`` writes what was measured to ``baseline.yaml``, under the name of the instructions.
Give it a core that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.speed.engine import LAYERS, time_layer, time_network
from benchmarks.speed.peak import peak
from cimsim.kernels.products import ARITHMETIC

BASELINE = Path(__file__).with_name("baseline.yaml")
NETWORK, SIZE = "fastdvdnet-block", "256x256"


def measured(runs: int, threads: int) -> dict[str, float]:
    """Return the share of the peak that each workload reaches."""
    found: dict[str, float] = {}
    for name in (*LAYERS, "W3"):
        line = (
            time_layer(name, runs, threads)[0]
            if name in LAYERS
            else time_network(NETWORK, SIZE, runs, threads)
        )
        most = peak(threads, line.single_bits)
        if not most:
            raise SystemExit(f"{ARITHMETIC}: no instructions for integers whose peak is known")
        found[name] = line.products / line.chip_s / most
    return found


def main() -> None:
    """Print the shares, and fail for one that has become smaller."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="of a workload, the median counts")
    parser.add_argument("--rounds", type=int, default=3, help="of all of them, the best one counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--margin", type=float, default=0.15, help="of a share, which it may lose")
    parser.add_argument("--keep", action="store_true", help="as what later runs are held to")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rounds = [measured(given.runs, given.threads) for _ in range(given.rounds)]
    best = {name: max(one[name] for one in rounds) for name in rounds[0]}
    kept = yaml.safe_load(BASELINE.read_text()) if BASELINE.exists() else {}
    if given.keep:
        kept[ARITHMETIC] = {name: round(share, 3) for name, share in best.items()}
        BASELINE.write_text("# shares of the peak, by `make speed-check`\n" + yaml.safe_dump(kept))
    before = kept.get(ARITHMETIC, {})
    table = Table(title=f"share of the peak ({ARITHMETIC}, {given.threads} thread(s))")
    for column in ("workload", "now", "median of the rounds", "before"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for name, share in best.items():
        middle = statistics.median(one[name] for one in rounds)
        old = f"{before[name]:.1%}" if name in before else "-"
        table.add_row(name, f"{share:.1%}", f"{middle:.1%}", old)
    Console().print(table)
    slower = [name for name in before if best[name] < (1 - given.margin) * before[name]]
    if slower:
        sys.exit(f"slower than before by more than {given.margin:.0%}: {', '.join(slower)}")
    if not before:
        sys.exit(f"nothing was kept for {ARITHMETIC}: --keep")


if __name__ == "__main__":
    main()
