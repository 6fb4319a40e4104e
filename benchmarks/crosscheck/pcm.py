"""A layer on phase-change cells over time, beside the published formulas written down once more.

python -m benchmarks.crosscheck.pcm                 # prints the table
python -m benchmarks.crosscheck.pcm --write         # and writes it into docs/crosscheck.md

The formulas are those of IBM's AIHWKit (src/aihwkit/inference/noise/pcm.py: S. R. Nandakumar et
al., ICECS 2019), here in microsiemens and numpy alone; nothing of cimsim's cells is called. As
published, noise is drawn once for each cell and stays while the layer is read.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.crosscheck.__main__ import PAGE
from benchmarks.paper import document

Floats = NDArray[np.float64]
ROWS, COLS, WINDOWS = 576, 96, 576
TIMES: Mapping[str, float] = {
    "1 s": 1.0, "1 min": 60.0, "1 h": 3600.0, "1 d": 86400.0, "30 d": 30 * 86400.0,
    "1 y": 365.25 * 86400.0,
}  # fmt: skip
COMPENSATIONS = ("none", "global")
STATES_US = (1.0, 5.0, 25.0)
G_MAX_US, T0_S, READ_S = 25.0, 20.0, 250e-9
CHIP: Mapping[str, object] = {
    "device": {"kind": "pcm"}, "array.rows": 1024, "array.cols": 512, "weights.scale": "layer",
    "weights.rounding": "nearest", "inputs.percentile": 100, "adc.kind": "ideal",
    "calibration.column_gain": False, "calibration.column_offset": False,
}  # fmt: skip


def layer(seed: int = 0) -> tuple[Floats, Floats]:
    """Return normal weights [COLS, ROWS] and inputs [ROWS, WINDOWS] of which a tenth is not 0.

    So few rows driven at a time that noise which stays and noise that does not would err unlike.
    """
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (COLS, ROWS)).astype(np.float32).astype(np.float64)
    inputs = rng.uniform(0, 1, (ROWS, WINDOWS)) * (rng.random((ROWS, WINDOWS)) < 0.1)
    return weights, inputs.astype(np.float32).astype(np.float64)


def read_noise_us(held_us: Floats, programmed_us: Floats, time_s: float) -> Floats:
    """Return the published standard deviation of a reading, microsiemens.

    Parameters
    ----------
    held_us, programmed_us : float64, same shape
        What a cell holds now, and what it held when it was new.
    time_s : float
        Since the first reading, 20 s after programming.
    """
    q = np.minimum(0.0088 / np.maximum(programmed_us / G_MAX_US, 1e-12) ** 0.65, 0.2)
    grown = math.sqrt(math.log((time_s + T0_S + READ_S) / (2 * READ_S)))
    noise: Floats = held_us * q * grown
    return noise


def published(
    weights: Floats, inputs: Floats, time_s: float, compensate: bool, rng: np.random.Generator
) -> Floats:
    """Return the outputs of a layer on differential pairs of cells by the published formulas.

    Parameters
    ----------
    weights : float64 [cols, rows]
    inputs : float64 [rows, windows]
    time_s : float
    compensate : bool
        One factor for the whole layer, that of the mean reading when it was new over now.
    rng : numpy.random.Generator
    """
    largest = np.abs(weights).max()
    target = G_MAX_US * np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)]) / largest
    rel = target / G_MAX_US
    written = target + (0.26348 + 1.9650 * rel - 1.1731 * rel**2) * rng.standard_normal(rel.shape)
    written = np.maximum(written, 0)
    log = np.log(np.maximum(written / G_MAX_US, 1e-12))
    mean = np.clip(-0.0155 * log + 0.0244, 0.049, 0.1)
    sigma = np.clip(-0.0125 * log - 0.0059, 0.008, 0.045)
    nu = np.abs(mean + sigma * rng.standard_normal(rel.shape))

    def read(time_s: float) -> Floats:
        held = written * ((time_s + T0_S) / T0_S) ** -nu
        noise = read_noise_us(held, written, time_s) * rng.standard_normal(held.shape)
        cells = np.maximum(held + noise, 0)
        pairs: Floats = cells[0] - cells[1]
        return pairs

    new, old = read(0.0), read(time_s)
    factor = np.abs(new).mean() / np.abs(old).mean() if compensate else 1.0
    found: Floats = factor * (old @ inputs) * largest / G_MAX_US
    return found


def engine(weights: Floats, inputs: Floats, time_s: float, compensation: str, seed: int) -> Floats:
    """Return the outputs of the same layer in cimsim: mapped, written, aged, executed."""
    import torch

    import cimsim
    from cimsim.chip.cells import device_of
    from cimsim.engine.execute import execute
    from cimsim.engine.prepare import prepare
    from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window

    n, spec = inputs.shape[1], TensorSpec
    op = MatrixOp(
        "fc", ("x",), spec((1, n, ROWS)), spec((1, n, COLS)), weights.T[None].astype(np.float32),
        None, Window(), (COLS, 1, 1), "last", "linear",
    )  # fmt: skip
    graph = LayerGraph("layer", [InputOp("x", spec((1, n, ROWS))), op], ["fc"])
    when = {"conditions.time": f"{time_s!r} s", "conditions.compensation": compensation}
    chip = cimsim.load_hw("eflash40nm", dict(CHIP) | when)
    x = torch.from_numpy(inputs.T.astype(np.float32))[None]
    ready = prepare(cimsim.map_graph(graph, chip), device_of(chip), [(x,)], seed)
    outputs = np.asarray(execute(ready, (x,), 0, seed).outputs[0])
    return outputs.reshape(n, COLS).T.astype(np.float64)


def size(error: Floats) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(error**2)))


def layer_rows(seeds: int) -> list[str]:
    """Return a table: error of a layer over its exact outputs, here and by the formulas."""
    weights, inputs = layer()
    exact = weights @ inputs
    lines = [
        "| time | compensation | cimsim | published formulas | ratio |", "|---|---|---|---|---|"
    ]  # fmt: skip
    for compensation in COMPENSATIONS:
        for name, time_s in TIMES.items():
            ours = [
                size(engine(weights, inputs, time_s, compensation, seed) - exact) / exact.std()
                for seed in range(seeds)
            ]
            scaled = compensation == "global"
            rngs = [np.random.default_rng(seed) for seed in range(100, 100 + 2 * seeds)]
            theirs = [
                size(published(weights, inputs, time_s, scaled, rng) - exact) / exact.std()
                for rng in rngs
            ]
            means = float(np.mean(ours)), float(np.mean(theirs))
            told = " | ".join(
                f"{mean:.4f} ± {np.std(found, ddof=1) / math.sqrt(len(found)):.4f}"
                for mean, found in zip(means, (ours, theirs), strict=True)
            )
            lines.append(f"| {name} | {compensation} | {told} | {means[0] / means[1]:.3f} |")
    return lines


def reading_rows() -> list[str]:
    """Return a table: read noise of an aged cell in cimsim over the published one."""
    from cimsim.chip.cells import build

    device, rng = build("pcm", {}), np.random.default_rng(0)
    lines = ["| state | " + " | ".join(TIMES) + " |", "|---" * (1 + len(TIMES)) + "|"]
    for state in STATES_US:
        written = np.full(4096, state)
        cells = []
        for time_s in TIMES.values():
            held = device.age(written * 1e-6, time_s, 298.15, rng) * 1e6
            ours = device.read_sigma(held * 1e-6, time_s, written * 1e-6) * 1e6
            cells.append(f"{np.mean(ours / read_noise_us(held, written, time_s)):.4f}")
        lines.append(f"| {state:g} µS | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print both tables, and write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="chips of cimsim for each row")
    parser.add_argument("--write", action="store_true", help="rewrite docs/crosscheck.md")
    given = parser.parse_args()
    parts = {"pcm": "\n".join(layer_rows(given.seeds)), "pcm reading": "\n".join(reading_rows())}
    print("\n\n".join(parts.values()))
    if given.write:
        document.rewrite(PAGE, parts)


if __name__ == "__main__":
    main()
