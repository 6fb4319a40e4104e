"""Time the operator of an array with resistive wires and compare it with nodal analysis.

Up to ``--oracle`` lines with a sparse factorisation of all nodes; for every size with conjugate
gradients (`benchmarks.speed.iterated`), which take little more memory than the cells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.iterated import Iterated
from cimsim.crossbar.wires import Resistances, crossbar_operator, fast_operator
from tests.crossbar.nodal import Nodal

VECTORS = 3  # that currents are compared for
WIRES = Resistances(word=1.0, bit=1.0, driver=50.0, sense=50.0)


def cells(size: int, seed: int) -> NDArray[np.float64]:
    """Return cells of 0.1 .. 10 uS, spread evenly over the decades."""
    rng = np.random.default_rng(seed)
    conductances: NDArray[np.float64] = 1e-6 * 10 ** rng.uniform(-1, 1, (size, size))
    return conductances


def timed(
    operator: Callable[..., NDArray[np.float64]], g: NDArray[np.float64], runs: int
) -> tuple[float, NDArray[np.float64]]:
    """Return the least wall time of some runs, as other jobs only ever add to it, and a result."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = operator(g, WIRES)
        times.append(time.perf_counter() - start)
    return min(times), result


def drives(rows: int) -> NDArray[np.float64]:
    """Return voltages that arrays are driven with."""
    volts: NDArray[np.float64] = np.random.default_rng(0).uniform(0, 1, (VECTORS, rows))
    return volts


def errors(
    solved: list[NDArray[np.float64]], volts: NDArray[np.float64],
    operators: list[NDArray[np.float64]],
) -> str:  # fmt: skip
    """Return the largest relative error of a current of each operator, as text."""
    found = [
        max(float(np.abs(v @ a / right - 1).max()) for v, right in zip(volts, solved, strict=True))
        for a in operators
    ]
    return ", ".join(f"{error:.1e}" for error in found)


def factorised(g: NDArray[np.float64], volts: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the currents of a sparse LU of all nodes."""
    system = Nodal(g, WIRES.word, WIRES.bit, WIRES.driver, WIRES.sense)
    return [system.solve(v)[1] for v in volts]


def iterated(g: NDArray[np.float64], volts: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the currents of conjugate gradients."""
    system = Iterated(g, WIRES.word, WIRES.bit, WIRES.driver, WIRES.sense)
    return [system.currents(v)[0] for v in volts]


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--oracle", type=int, default=256, help="largest size that is factorised")
    parser.add_argument("--runs", type=int, default=3, help="of arrays up to 512 x 512")
    given = parser.parse_args()
    crossbar_operator(cells(8, 0), WIRES)  # compiles
    print(f"{'array':>12} {'exact':>9} {'fast':>9}   largest relative error of a current for "
          f"{VECTORS} random vectors: exact, fast")  # fmt: skip
    for size in given.sizes:
        g = cells(size, size)
        runs = given.runs if size <= 512 else 1
        exact_s, exact = timed(crossbar_operator, g, runs)
        fast_s, fast = timed(fast_operator, g, runs)
        print(
            f"{size:>5} x {size:<4} {exact_s:>7.3f} s {1e3 * fast_s:>6.2f} ms", end="", flush=True
        )
        volts, operators = drives(size), [exact, fast]
        ways = {"iterated": iterated}
        if size <= given.oracle:
            ways["sparse LU"] = factorised
        for name, solve in ways.items():
            start = time.perf_counter()
            said = errors(solve(g, volts), volts, operators)
            print(f"   {name} {said} ({time.perf_counter() - start:.1f} s)", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
