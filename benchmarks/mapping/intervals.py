"""Steady interval and energy of each allocation, beside the even spread of all work.

Time and energy need no weights. Every interval is simulated.
"""

from __future__ import annotations

import argparse
import time

import cimsim
from cimsim.cli.options import parse_size
from cimsim.energy.model import energy
from cimsim.mapping.allocation import requests_of
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.replicas import least_interval
from cimsim.mapping.mapping import layouts
from cimsim.timing.analysis.replicas import layer_cost
from cimsim.timing.simulate import simulate

NETWORKS = (
    ("FastDVDnet block", "fastdvdnet-block", {}),
    *((f"CIM-NET S = {s}", "cimnet", {"stride": s, "coarse": 1}) for s in (2, 4, 8)),
)
ALLOCATIONS = ("in_order", "whole_copies", "shared", "replicated", "packed")


def main() -> None:
    """Print a row for each network and allocation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--hw", default="eflash40nm")
    given = parser.parse_args()
    chip = cimsim.load_hw(given.hw)
    print(
        "| network | allocation | arrays | interval, cycles | faster | above even spread | ", end=""
    )
    print("energy per frame, µJ | mapped in, s |\n|---|---|---|---|---|---|---|---|")
    for title, name, options in NETWORKS:
        network = cimsim.load_network(name, options, "random")
        graph = cimsim.trace(network.module, network.example(*parse_size(given.size)))
        requests = requests_of(graph, layouts(graph, chip))
        cost = layer_cost(graph, InOrder().allocate(graph, requests, chip), chip)
        work = [cost(layer, 1) for layer in range(len(requests))]
        even = least_interval(work, [r.layout.n_arrays for r in requests], chip.n_arrays)
        first = None
        for allocation in ALLOCATIONS:
            start = time.process_time()
            mapping = cimsim.map_graph(graph, chip, "im2col", allocation)
            seconds = time.process_time() - start
            timeline = simulate(mapping, 4)
            first = first or timeline.interval
            spent = energy(mapping, timeline.interval_s(chip.process.clock_hz)).total_j
            print(
                f"| {title} | `{allocation}` | {mapping.arrays_used} | {timeline.interval:,} | "
                f"{first / timeline.interval:.3g} x | {100 * (timeline.interval / even - 1):.3g} % "
                f"| {spent * 1e6:,.0f} | {seconds:.2f} |"
            )


if __name__ == "__main__":
    main()
