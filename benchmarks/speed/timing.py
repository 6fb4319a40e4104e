"""Measure how many windows per second the event simulator handles, in one thread."""

from __future__ import annotations

import argparse
import time

import cimsim
from cimsim.cli.options import parse_size
from cimsim.timing.simulate import simulate


def main() -> None:
    """Print windows, seconds and windows per second of both schedules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fastdvdnet-block")
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--hw", default="eflash40nm")
    parser.add_argument("--frames", type=int, default=1)
    given = parser.parse_args()
    network = cimsim.load_network(given.model, {}, "random")
    graph = cimsim.trace(network.module, network.example(*parse_size(given.size)))
    mapping = cimsim.map_graph(graph, cimsim.load_hw(given.hw))
    windows = given.frames * sum(node.windows for node in mapping.nodes if node.kind != "input")
    simulate(mapping, 1)
    for schedule in ("pipelined", "sequential"):
        start = time.perf_counter()
        timeline = simulate(mapping, given.frames, schedule)
        seconds = time.perf_counter() - start
        print(
            f"{schedule:10}  {windows:,} windows in {seconds:.2f} s: {windows / seconds / 1e6:.2f} "
            f"million per second ({timeline.cycles:,} cycles)"
        )


if __name__ == "__main__":
    main()
