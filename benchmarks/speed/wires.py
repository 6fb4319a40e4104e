"""Time the operator of an array with resistive wires and compare it with sparse nodal analysis."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimsim.crossbar.wires import Resistances, crossbar_operator, fast_operator
from tests.crossbar.nodal import Nodal

WIRES = Resistances(word=1.0, bit=1.0, driver=50.0, sense=50.0)


def cells(size: int, seed: int) -> NDArray[np.float64]:
    """Return cells of 0.1 .. 10 uS, spread evenly over the decades."""
    rng = np.random.default_rng(seed)
    conductances: NDArray[np.float64] = 1e-6 * 10 ** rng.uniform(-1, 1, (size, size))
    return conductances


def seconds(work: Callable[[], object], runs: int) -> float:
    """Least wall time of some runs: other jobs only ever add to it."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def nodal_error(
    g: NDArray[np.float64], operators: list[NDArray[np.float64]], vectors: int
) -> tuple[float, list[float]]:
    """Return the seconds of a sparse solve and the largest relative error of each operator."""
    start = time.perf_counter()
    system = Nodal(g, WIRES.word, WIRES.bit, WIRES.driver, WIRES.sense)
    worst = [0.0] * len(operators)
    drives = np.random.default_rng(0).uniform(0, 1, (vectors, len(g)))
    for v in drives:
        _, currents, _ = system.solve(v)
        worst = [
            max(before, float(np.abs(v @ a / currents - 1).max()))
            for before, a in zip(worst, operators, strict=True)
        ]
    return time.perf_counter() - start, worst


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--oracle", type=int, default=256, help="largest size that is compared")
    parser.add_argument("--runs", type=int, default=3, help="of arrays up to 512 x 512")
    given = parser.parse_args()
    crossbar_operator(cells(8, 0), WIRES)  # compiles
    print(f"{'array':>12} {'exact':>9} {'fast':>9}   largest relative error of a current against")
    print(f"{'':>12} {'':>9} {'':>9}   sparse LU (3 random vectors): exact, fast")
    for size in given.sizes:
        g = cells(size, size)
        runs = given.runs if size <= 512 else 1
        exact_s = seconds(lambda g=g: crossbar_operator(g, WIRES), runs)
        fast_s = seconds(lambda g=g: fast_operator(g, WIRES), runs)
        line = f"{size:>5} x {size:<4} {exact_s:>7.3f} s {1e3 * fast_s:>6.2f} ms"
        if size <= given.oracle:
            operators = [crossbar_operator(g, WIRES), fast_operator(g, WIRES)]
            lu_s, (exact, fast) = nodal_error(g, operators, 3)
            line += f"   {exact:.1e}, {fast:.1e}  ({lu_s:.1f} s)"
        print(line, flush=True)


if __name__ == "__main__":
    main()
