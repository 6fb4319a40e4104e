"""Time one frame on the chip against plain torch float32 of the same graph, in the same run."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import cimsim
from cimsim.cli.options import parse_size
from cimsim.devices import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.functional import window_of_frames
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import to_float


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print seconds, the ratio and GMAC/s."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fastdvdnet-block")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--hw", default="eflash40nm")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    height, width = parse_size(given.size)
    network = cimsim.load_network(given.model, {}, "random")
    graph = cimsim.trace(network.module, network.example(height, width))
    chip = cimsim.load_hw(given.hw)
    mapping = cimsim.map_graph(graph, chip)
    clip = to_float(embedded_clip(frames=1, height=height, width=width))
    inputs = window_of_frames(clip, 0, network.n_frames, 15.0, len(graph.inputs))
    device = build(chip.device.kind, chip.device.parameters)
    ready = calibrate(program(mapping, device, 0), [inputs], 0)
    torch_s = median_seconds(lambda: graph.reference(*inputs), given.runs)
    chip_s = median_seconds(lambda: execute(ready, inputs, 0, 0, given.threads), given.runs)
    macs = mapping.total.macs
    print(f"{network.title}, {given.size}, {given.threads} thread(s), all noise on")
    print(f"torch float32  {torch_s:7.3f} s  {macs / torch_s / 1e9:6.1f} GMAC/s")
    print(f"on the chip    {chip_s:7.3f} s  {macs / chip_s / 1e9:6.1f} GMAC/s")
    print(f"ratio          {chip_s / torch_s:7.2f}")


if __name__ == "__main__":
    main()
