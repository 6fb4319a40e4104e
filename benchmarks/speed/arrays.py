"""Time mapping and cycles of networks on 10^3 to 10^5 arrays, without values, in one thread.

``wide`` is one matrix over all arrays, ``deep`` many layers of a hundred arrays each, one behind
the other. Arrays have 64 x 64 cells, one a tile.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import cimsim
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, Op, TensorSpec, Window
from cimsim.timing.simulate import simulate

SIDE, LAYER = 64, 100  # cells of an array along each line; arrays of a layer


def layers(size: int, count: int) -> LayerGraph:
    """Return so many layers of size x size weights, one behind the other."""
    one, weight = TensorSpec((1, size, 1, 1)), np.broadcast_to(np.float32(0), (1, size, size))
    window = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    ops: list[Op] = [InputOp("x", one)]
    for number in range(count):
        source = ops[-1].name
        ops.append(
            MatrixOp(f"m{number}", (source,), one, one, weight, None, window, (size, 1, 1))
        )  # fmt: skip
    return LayerGraph("layers", tuple(ops), (ops[-1].name,))


def timed(graph: LayerGraph, chip: cimsim.Chip) -> tuple[int, float, float]:
    """Return arrays, and the CPU seconds of mapping and of the cycles of two frames."""
    start = time.process_time()
    mapping = cimsim.map_graph(graph, chip)
    mapped = time.process_time()
    simulate(mapping, 2)
    return len(mapping.slots_used), mapped - start, time.process_time() - mapped


def main() -> None:
    """Print seconds by arrays, and by which power of them they rise from the first to the last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hw", default="eflash40nm")
    parser.add_argument("--arrays", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--interconnect", default="bus", choices=("bus", "mesh", "ideal"))
    given = parser.parse_args()
    shapes = ("deep",) if given.interconnect == "mesh" else ("wide", "deep")
    for shape in shapes:
        rows = []
        for arrays in (given.arrays[0], *given.arrays):  # once more: kernels are loaded then
            side = math.isqrt(arrays) if shape == "wide" else math.isqrt(LAYER)
            graph = layers(side * SIDE, 1 if shape == "wide" else arrays // LAYER)
            sizes = {"array.rows": SIDE, "array.cols": SIDE, "tile.count": arrays}
            ways = {"interconnect.kind": given.interconnect, "buffer.overflow": "ignore"}
            rows.append(timed(graph, cimsim.load_hw(given.hw, sizes | ways)))
        for used, mapping, cycles in rows[1:]:
            print(f"{shape}  {used:7,} arrays: map {mapping:6.3f} s, cycles {cycles:6.3f} s")
        (few, *first), (many, *last) = rows[1], rows[-1]
        if many > few:
            powers = [
                math.log(b / a) / math.log(many / few) for a, b in zip(first, last, strict=True)
            ]
            print(f"{shape}  as the power {powers[0]:.2f} (map), {powers[1]:.2f} (cycles)")


if __name__ == "__main__":
    main()
