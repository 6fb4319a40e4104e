"""How many integer products a second this machine can do at all, by the instructions of the engine.

A loop of nothing but multiplications and additions of registers that do not wait for each other, in
as many threads as asked for: no work on real data can be faster.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.kernels.emit import at, slots
from cimsim.kernels.products import ARITHMETIC

SUMS = 12  # at most, and as many operands: what a loop reads and writes in memory
_TIMES = 5_000_000  # some ten milliseconds: starting threads takes a thousandth of that
_TRIES = 40  # one of many is not disturbed

# kind of operands -> (bits of an operand's lane, lanes, bits of a sum's lane, lanes, instruction,
# its products, operands and sums held in registers): what `cimsim.kernels` multiplies with. As
# many sums as its latency asks for: with an addition of its own, that of the addition.
_KINDS = {
    "vnni": (32, 16, 32, 16, "avx512.vpdpbusd.512", 64, 12, 12),
    "avxvnni": (32, 8, 32, 8, "avx512.vpdpbusd.256", 32, 12, 12),
    "avx2": (16, 16, 32, 8, "avx2.pmadd.wd", 16, 9, 4),
    "avx2 bits": (8, 32, 16, 16, "avx2.pmadd.ub.sw", 32, 9, 4),
}


def _loop(kind: str) -> Any:
    """Make the loop: one register that changes, times those that do not."""
    bits, lanes, sum_bits, sum_lanes, name, _, n_operands, n_sums = _KINDS[kind]
    operand = ir.VectorType(ir.IntType(bits), lanes)
    total = ir.VectorType(ir.IntType(sum_bits), sum_lanes)
    adds = kind.endswith("vnni")  # the instruction adds its products up itself

    @intrinsic
    def loop(_: Any, memory: Any, out: Any, times: Any) -> Any:
        def build(context: Any, builder: Any, _: Any, args: Any) -> Any:
            where, sink, n = args
            given = [total, operand, operand] if adds else [operand, operand]
            multiply = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(total, given), f"llvm.x86.{name}"
            )
            sums = [slot for (slot,) in slots(builder, total, n_sums, 1)]
            changing = slots(builder, operand, 1, 1)[0][0]
            with cgutils.for_range(builder, n):
                x = builder.add(builder.load(changing), ir.Constant(operand, [1] * lanes))
                builder.store(x, changing)
                for j in range(n_operands):
                    slot = sums[j % n_sums]
                    w = builder.load(at(builder, operand, where, (64, j)), align=32)
                    held = builder.load(slot)
                    new = builder.call(multiply, [held, x, w] if adds else [x, w])
                    builder.store(new if adds else builder.add(held, new), slot)
            for j, slot in enumerate(sums):
                builder.store(builder.load(slot), at(builder, total, sink, (64, j)), align=32)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), build

    return loop


def peak(threads: int, single_bits: bool = False) -> float:
    """Return integer products a second of all threads together; 0 without such instructions.

    Parameters
    ----------
    threads : int
    single_bits : bool
        Of inputs that are 0 or 1, which AVX2 multiplies twice as fast.
    """
    kind = f"{ARITHMETIC} bits" if single_bits and ARITHMETIC == "avx2" else ARITHMETIC
    if kind not in _KINDS:
        return 0.0
    loop = _loop(kind)

    @njit(nogil=True)  # type: ignore[untyped-decorator]
    def run(memory: Any, out: Any, times: int) -> None:
        loop(memory.ctypes.data, out.ctypes.data, times)

    def work(_: int) -> None:
        raw = np.zeros(64 * (2 * SUMS + 1), np.uint8)
        first = -raw.ctypes.data % 64
        half = 64 * SUMS
        memory = raw[first : first + half]
        memory[:] = np.arange(half) % 7
        run(memory, raw[first + half : first + 2 * half], _TIMES)

    work(0)
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_TRIES):
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            best = min(best, time.perf_counter() - start)
    products, n_operands = _KINDS[kind][5:7]
    return threads * _TIMES * n_operands * products / best


if __name__ == "__main__":
    for n in (1, 2):
        print(n, [f"{peak(n, bits) / 1e9:.0f} G/s" for bits in (False, True)])
