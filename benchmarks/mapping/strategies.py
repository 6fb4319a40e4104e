"""What each mapping costs in dB, cycles, energy and arrays, on one chip.

python -m benchmarks.mapping.strategies
python -m benchmarks.mapping.strategies --hw isaac32nm --size 64x64
"""

from __future__ import annotations

import argparse
import statistics

import cimsim
from cimsim.cli.options import parse_size
from cimsim.mapping.strategies import STRATEGIES
from cimsim.units import format_si
from cimsim.video.embedded import embedded_clip

NETWORKS = (
    ("FastDVDnet block", "fastdvdnet-block", {}),
    ("CIM-NET, S = 8, two layers", "cimnet", {"stride": 8}),
)  # fmt: skip


def main() -> None:
    """Print a row for each network and mapping."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--hw", default="eflash40nm")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    chip = cimsim.load_hw(given.hw, {"tile.count": 400})
    height, width = parse_size(given.size)
    clip = embedded_clip(frames=2, height=height, width=width)
    print(
        "| network | mapping | arrays | array activations | ADC conversions | cycles per frame "
        "| energy | float → chip, mean of seeds ± their spread |\n|---|---|---|---|---|---|---|---|"
    )
    for title, name, options in NETWORKS:
        network = cimsim.load_network(name, options, hw=given.hw)
        graph = cimsim.trace(network.module, network.example(height, width))
        for strategy in STRATEGIES:
            mapping = cimsim.map_graph(graph, chip, strategy)
            runs = [cimsim.simulate(mapping, clip, seed=seed) for seed in range(given.seeds)]
            scores = [run.quality.psnr_db for run in runs if run.quality]
            first, total = runs[0], mapping.total
            reference = first.quality.mean("float_psnr") if first.quality else 0.0
            print(
                f"| {title} | `{strategy}` | {mapping.arrays_used} | {total.activations:,} "
                f"| {total.conversions:,} | {first.timing.cycles_per_frame:,} "
                f"| {format_si(first.energy.total_j, 'J')} | {reference:.2f} → "
                f"{statistics.mean(scores):.2f} ± {statistics.pstdev(scores):.2f} dB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
