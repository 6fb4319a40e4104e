"""Time analog layers and a network against plain torch float32 of the same work, in the same run.

python -m benchmarks.speed.engine --threads 2

W1, W2: 4096 vectors through 1152 x 128 weights on 1024-row arrays; 2 % programming error, 1 % read
noise and 8-bit converters are on; from input bytes to summed codes, and with encoding and scaling
of floats. W1 drives 8 bits in one pulse; W2 drives 8 pulses of one bit on
two slices of 4 bits and is compared with the *unsliced* product, too. W3: a network, one frame,
against the torch module in float32, channels last. *Products* are those of integers that the chip's
arrays ask for: cells times activations times pulses, for each plane of bytes that holds the
conductances and the read noise; *of peak* is their share of what the machine's instructions for
them can do at all (`benchmarks/speed/peak.py`). Beside them the same layer in 8-bit integers by
torch. Memory: the largest resident size of a process that runs one frame of that network at another
size.
"""

from __future__ import annotations

import argparse
import functools
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import cimsim
from benchmarks.speed.peak import peak
from cimsim.cli.options import parse_size
from cimsim.engine.blocks import Sums, fire
from cimsim.engine.calibrate import calibrate
from cimsim.engine.calibrated import CalibratedMapping
from cimsim.engine.execute import execute
from cimsim.engine.maps import encode_input
from cimsim.engine.program import program
from cimsim.engine.workers import workers
from cimsim.kernels.arrays import empty
from cimsim.kernels.products import ARITHMETIC

ROWS, COLS, VECTORS = 1152, 128, 4096
ALL_ON = {"device.sigma_program": "2 %", "device.sigma_read": "1 %", "adc.bits": 8}


class Line(NamedTuple):
    """A workload, median seconds of torch and chip, MACs, integer products, kind of inputs."""

    name: str
    torch_s: float
    chip_s: float
    macs: float
    products: float
    single_bits: bool = False


LAYERS = {
    "W1": {"dac.bits": 8},
    "W2": {"dac.bits": 1, "weights.cell_bits": 4},
}


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def prepared(graph: Any, inputs: Any, overrides: dict[str, Any]) -> Any:
    """Map, program and calibrate a graph on eflash40nm with changes."""
    from cimsim.chip.cells import build

    chip = cimsim.load_hw("eflash40nm", overrides=overrides)
    device = build(chip.device.kind, chip.device.parameters)
    return calibrate(program(cimsim.map_graph(graph, chip), device, 0), [inputs], 0)


def time_layer(name: str, runs: int, threads: int) -> list[Line]:
    """Return the lines of one analog layer: from bytes to sums, and from floats to floats."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(ROWS, COLS, bias=False)
    torch.nn.init.normal_(layer.weight, std=0.05)
    x = torch.rand(VECTORS, ROWS)
    # a frame of windows, so that one call of the engine takes them all
    frame = x.reshape(1, VECTORS, ROWS)
    graph = cimsim.trace(layer, (frame,), name=name)
    ready = prepared(graph, (frame,), ALL_ON | LAYERS[name])
    weight = layer.weight.detach().T.contiguous()
    plain = median_seconds(lambda: torch.mm(x, weight), runs)
    whole = median_seconds(lambda: execute(ready, (frame,), 0, 0, threads), runs)
    macs = float(ROWS * COLS * VECTORS)
    (op,) = graph.matrix_ops
    firing = ready.ready[op.name].firing
    codes = encode_input(op, frame.numpy(), ready.ops[op.name].code).flat
    sums = Sums(empty((VECTORS, COLS), np.float32))
    with workers(threads) as (pool, n):
        fired = median_seconds(lambda: fire(firing, codes, 0, 1, sums, pool, n), runs)
    products, bits = executed(ready), name == "W2"
    return [
        Line(name, plain, fired, macs, products, bits),
        Line(f"{name}, floats in and out", plain, whole, macs, products, bits),
    ]


def executed(ready: CalibratedMapping) -> float:
    """Return the products of integers that one frame asks of a chip's arrays."""
    total = 0.0
    for name, op in ready.ready.items():
        arrays = ready.programmed.layer_of(name).arrays
        per_activation = 0
        for written in (array.written for array in arrays):
            signal, noise = written.signal, written.noise
            if signal is None:
                raise SystemExit(f"layer '{name}' has no planes of integers")
            planes = [signal.low, signal.high] + ([] if noise is None else [noise.low])
            count = sum(plane.size > 0 for plane in planes)
            per_activation += count * written.n_rows * written.n_physical_cols
        activations = op.op.windows / op.firing.layer.windows
        total += per_activation * activations * len(op.firing.pulses)
    return total


def by_torch(runs: int) -> dict[str, float]:
    """Return seconds of W1's product in 8-bit integers by torch's own ways, by their names."""
    torch.manual_seed(0)
    x = torch.randint(-127, 128, (VECTORS, ROWS), dtype=torch.int8)
    weight = torch.randint(-127, 128, (ROWS, COLS), dtype=torch.int8)
    took = {"torch._int_mm": median_seconds(lambda: torch._int_mm(x, weight), runs)}
    layer = torch.nn.Sequential(torch.nn.Linear(ROWS, COLS, bias=False))
    frames = torch.rand(VECTORS, ROWS)
    warnings.filterwarnings("ignore", category=UserWarning)  # what torch intends to remove
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for engine in torch.backends.quantized.supported_engines:
        if engine in ("onednn", "fbgemm"):
            torch.backends.quantized.engine = engine
            quantised = torch.ao.quantization.quantize_dynamic(layer, dtype=torch.qint8)
            took[f"quantised linear, {engine}"] = median_seconds(
                functools.partial(quantised, frames), runs
            )
    return took


def time_network(model: str, size: str, runs: int, threads: int) -> Line:
    """Return the line of one frame of a network."""
    network, graph, inputs = one_frame(model, size)
    ready = prepared(graph, inputs, ALL_ON)
    module = network.module.to(memory_format=torch.channels_last)
    last = [part.contiguous(memory_format=torch.channels_last) for part in inputs]
    with torch.inference_mode():
        plain = median_seconds(lambda: module(*last), runs)
    chip = median_seconds(lambda: execute(ready, inputs, 0, 0, threads), runs)
    macs = float(ready.programmed.mapping.total.macs)
    return Line(f"W3 {model} {size}", plain, chip, macs, executed(ready))


def one_frame(model: str, size: str) -> tuple[Any, Any, Any]:
    """Return a network with random weights, its graph and the inputs of one frame."""
    height, width = parse_size(size)
    network = cimsim.load_network(model, {}, "random")
    graph = cimsim.trace(network.module, network.example(height, width))
    torch.manual_seed(0)
    return network, graph, tuple(torch.rand(op.output.shape) for op in graph.inputs)


def peak_memory(model: str, size: str) -> float:
    """Return the largest resident size so far, after one frame, in bytes."""
    _, graph, inputs = one_frame(model, size)
    execute(prepared(graph, inputs, ALL_ON), inputs, 0, 0)
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    """Print seconds, ratios, GMAC/s and memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="fastdvdnet-block")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--memory-size", default="960x540", help="frame of the memory measurement")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_memory:
        print(peak_memory(given.model, given.memory_size))
        return
    torch.set_num_threads(given.threads)
    lines = [line for name in LAYERS for line in time_layer(name, given.runs, given.threads)]
    lines.append(time_network(given.model, given.size, given.runs, given.threads))
    show(lines, given.threads, given.runs)
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.engine",
        "--only-memory",
        "--model",
        given.model,
    ]
    done = subprocess.run(
        [*command, "--memory-size", given.memory_size], check=True, capture_output=True, text=True
    )
    gigabytes = float(np.float64(done.stdout.split()[-1])) / 1e9
    print(f"peak memory of one frame {given.memory_size}: {gigabytes:.2f} GB")


def show(lines: list[Line], threads: int, runs: int) -> None:
    """Print one line for each workload."""
    table = Table(title=f"all noise on, {threads} thread(s), medians", title_justify="left")
    columns = ("workload", "torch / ms", "chip / ms", "ratio", "products, G/s", "of peak")
    for column in columns:
        table.add_column(column, justify="left" if column == "workload" else "right")
    peaks = {bits: peak(threads, bits) for bits in (False, True)}
    for line in lines:
        rate, most = line.products / line.chip_s, peaks[line.single_bits]
        values = (1e3 * line.torch_s, 1e3 * line.chip_s, line.chip_s / line.torch_s)
        share = f"{rate / most:.0%}" if most else "-"
        table.add_row(line.name, *(f"{value:.2f}" for value in values), f"{rate / 1e9:.0f}", share)
    console = Console()
    console.print(table)
    told = f"{peaks[False] / 1e9:.0f} G/s of bytes, {peaks[True] / 1e9:.0f} of single bits"
    console.print(f"peak of the instructions for integers ({ARITHMETIC}): {told}")
    for name, seconds in by_torch(runs).items():
        rate = ROWS * COLS * VECTORS / seconds / 1e9
        console.print(f"W1's product by {name}: {1e3 * seconds:.2f} ms, {rate:.0f} GMAC/s")


if __name__ == "__main__":
    main()
