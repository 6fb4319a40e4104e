"""The arithmetic of `cimsim.kernels.normals` on 32 counters in lockstep.

Chains of dependent operations leave most of a core idle. Vectors that are wider than registers make
the compiler do each step of several chains one after the other. Every operation and its order are
those of the scalar functions, so the bits are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.kernels.emit import Build, Typing, at
from cimsim.kernels.fma import fused

WIDTH = 32  # counters, each of four words: more of them spill registers
_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_LOW, _ROUNDS = 0xFFFFFFFF, 10
_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def _make(words: bool, normals: bool) -> Callable[..., None]:
    """Make a function that draws words of counters, makes normals of earlier words, or does both.

    It takes the address of the words (uint32 [128], see `_dealt`), which those of the counters
    replace, and of the 128 normals (float32); the addresses of the two parts of the counters
    (uint64 [32] each, see `cimsim.kernels.normals.counters`); window, stage and
    key.
    """

    @intrinsic
    def function(
        _: Typing, held: Typing, out: Typing, first: Typing, second: Typing, window: Typing,
        stage: Typing, key: Typing,
    ) -> Build:  # fmt: skip
        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            held, out, *counter = args
            begin = len(builder.block.instructions)
            if normals:
                made = _normals(builder, held)
            middle = len(builder.block.instructions)
            if words:
                drawn = _words(builder, *counter)
            if normals and words:
                _interleave(builder.block, begin, middle)
            if words:
                _store(builder, held, drawn)
            if normals:
                _store(builder, out, made)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, *[types.uint64] * 3), build

    return function


draw_words, draw_both, make_normals = _make(True, False), _make(True, True), _make(False, True)


def _interleave(block: ir.Block, begin: int, middle: int) -> None:
    """Deal two runs of instructions that do not depend on each other into one."""
    held = block.instructions
    runs = held[begin:middle], held[middle:]
    both = [(i / len(run), one) for run in runs for i, one in enumerate(run, 1)]
    held[begin:] = [one for _, one in sorted(both, key=lambda pair: pair[0])]


def _store(builder: ir.IRBuilder, address: ir.Value, parts: list[ir.Value]) -> None:
    """Store registers one behind the other."""
    for i, part in enumerate(parts):
        builder.store(part, at(builder, part.type, address, (1, 4 * _DEALT * i)), align=4)


def _words(
    builder: ir.IRBuilder, first: ir.Value, second: ir.Value, window: ir.Value, stage: ir.Value,
    key: ir.Value,
) -> list[ir.Value]:  # fmt: skip
    """Emit the words of 32 counters, four registers for each 16 of them."""
    wide = ir.VectorType(_I64, WIDTH)
    spread = functools.partial(_spread, builder)
    counter = _load(builder, first, wide)
    number = builder.add(_load(builder, second, wide), spread(window))
    low = _all(wide, _LOW)
    state = [
        builder.and_(counter, low), builder.and_(number, low),
        builder.lshr(number, _all(wide, 32)), spread(builder.and_(stage, _LOW_WORD)),
    ]  # fmt: skip
    halves = builder.and_(key, _LOW_WORD), builder.lshr(key, ir.Constant(_I64, 32))
    words = _philox(builder, state, *halves)
    return [_dealt(builder, word, part) for part in range(WIDTH // _DEALT) for word in words]


def _normals(builder: ir.IRBuilder, held: ir.Value) -> list[ir.Value]:
    """Emit the normals of `_words`, counter by counter.

    Counters are taken 16 at a time, which is what a register of 512 bits holds, and are dealt to
    its lanes so that two steps within quarters of the register bring the four normals of each
    counter together.
    """
    kind, found = ir.VectorType(_I32, 2 * _DEALT), []
    for part in range(WIDTH // _DEALT):
        place = [at(builder, kind, held, (1, 4 * _DEALT * (4 * part + 2 * i))) for i in range(2)]
        left, right = (builder.load(one, align=4) for one in place)
        even, odd = (_shuffle(builder, left, right, lanes) for lanes in _EVERY)
        x, y = _box_muller(builder, even, odd)
        for half in range(2):
            left, right = (_paired(builder, x, y, half, side) for side in range(2))
            found += [_shuffle(builder, left, right, quarters) for quarters in _QUARTERS]
    return found


_DEALT = 16  # counters
# counter 4 i + q stands in lane i of quarter q
_DEAL = [4 * i + q for q in range(4) for i in range(4)]
_QUARTERS = [
    [4 * q + 2 * number + i + 16 * side for q in range(4) for side in range(2) for i in range(2)]
    for number in range(2)
]
# first and third word of the counters, second and fourth
_EVERY = [
    [16 * number + 32 * side + i for side in range(2) for i in range(16)] for number in range(2)
]


def _dealt(builder: ir.IRBuilder, word: ir.Value, part: int) -> ir.Value:
    """Emit the low halves of 16 words of 64 bits, in the order of `_DEAL`."""
    halves = builder.bitcast(word, ir.VectorType(_I32, 2 * WIDTH))
    return _shuffle(builder, halves, halves, [2 * (_DEALT * part + c) for c in _DEAL])


def _paired(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, half: int, side: int) -> ir.Value:
    """Emit (x, y, x, y) of two of the four lanes of each quarter of one side."""
    first = _DEALT * side + 2 * half
    lanes = [
        first + 4 * q + i + 2 * _DEALT * one for q in range(4) for i in (0, 1) for one in (0, 1)
    ]
    return _shuffle(builder, x, y, lanes)


def _philox(
    builder: ir.IRBuilder, state: list[ir.Value], k0: ir.Value, k1: ir.Value
) -> list[ir.Value]:
    """Emit Philox4x32-10 on words held in 64 bits; what stands above a word is of no account."""
    c0, c1, c2, c3 = state
    kind = c0.type
    low, half = _all(kind, _LOW), _all(kind, 32)
    for _ in range(_ROUNDS):
        # the instruction that multiplies takes the low words: cutting off costs nothing just here
        p0 = builder.mul(_all(kind, _M0), builder.and_(c0, low))
        p1 = builder.mul(_all(kind, _M1), builder.and_(c2, low))
        n0 = builder.xor(builder.xor(builder.lshr(p1, half), c1), _spread(builder, k0))
        n2 = builder.xor(builder.xor(builder.lshr(p0, half), c3), _spread(builder, k1))
        c0, c1, c2, c3 = n0, p1, n2, p0
        k0, k1 = _next_key(builder, k0, k1)
    return [c0, c1, c2, c3]


def _next_key(builder: ir.IRBuilder, k0: ir.Value, k1: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Emit the key of the next round."""
    both = (k0, _W0), (k1, _W1)
    first, second = (
        builder.and_(builder.add(key, ir.Constant(_I64, step)), _LOW_WORD) for key, step in both
    )
    return first, second


def _box_muller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Emit what `cimsim.kernels.normals` does under this name."""
    whole, real = a.type, ir.VectorType(_F32, a.type.count)

    def some(value: float) -> ir.Value:
        return _all(real, float(np.float32(value)))

    def unit(word: ir.Value, step: float) -> ir.Value:
        return builder.fmul(builder.fadd(builder.sitofp(word, real), some(0.5)), some(step))

    # a power of two scales exactly, so this is (a / 2 + 0.5) * 2**-31
    half = builder.sitofp(builder.lshr(a, _all(whole, 1)), real)
    twice = _minus_twice_log(builder, fused(builder, half, some(2.0**-31), some(2.0**-32)), some)
    root = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(real, [real]), f"llvm.sqrt.v{real.count}f32"
    )
    radius = builder.call(root, [twice])
    angle = builder.sub(builder.and_(b, _all(whole, 0x3FFFFFFF)), _all(whole, 0x20000000))
    t = unit(angle, 1.5707963267948966 * 2.0**-30)
    z = builder.fmul(t, t)
    s = _horner(builder, z, [some(value) for value in _SINE])
    s = fused(builder, builder.fmul(s, z), t, t)
    c = builder.fmul(_horner(builder, z, [some(value) for value in _COSINE]), z)
    c = fused(builder, c, z, fused(builder, some(-0.5), z, some(1.0)))
    is_odd = builder.icmp_unsigned("!=", builder.and_(b, _all(whole, 1 << 30)), _all(whole, 0))
    x, y = builder.select(is_odd, s, c), builder.select(is_odd, c, s)
    # quadrants 1 and 2 turn the sign of x, 2 and 3 that of y
    signs = builder.add(b, _all(whole, 1 << 30)), b
    x, y = (_with_sign(builder, *both) for both in zip((x, y), signs, strict=True))
    return builder.fmul(radius, x), builder.fmul(radius, y)


def _with_sign(builder: ir.IRBuilder, value: ir.Value, word: ir.Value) -> ir.Value:
    """Emit a float whose sign is turned where the highest bit of a word is set."""
    sign = builder.and_(word, _all(word.type, 1 << 31))
    return builder.bitcast(builder.xor(builder.bitcast(value, word.type), sign), value.type)


def _minus_twice_log(
    builder: ir.IRBuilder, u: ir.Value, some: Callable[[float], ir.Constant]
) -> ir.Value:
    """Emit -2 times what `cimsim.kernels.normals._log` gives: a factor of 2 changes no rounding."""
    real, whole = u.type, ir.VectorType(_I32, u.type.count)
    bits = builder.bitcast(u, whole)
    power = builder.sub(builder.ashr(bits, _all(whole, 23)), _all(whole, 126))
    exponent = builder.sitofp(power, real)
    fraction = builder.or_(builder.and_(bits, _all(whole, 0x007FFFFF)), _all(whole, 0x3F000000))
    mantissa = builder.bitcast(fraction, real)
    small = builder.fcmp_ordered("<", mantissa, some(0.70710678))
    exponent = builder.select(small, builder.fsub(exponent, some(1.0)), exponent)
    doubled = builder.fadd(mantissa, mantissa)
    x = builder.fsub(builder.select(small, doubled, mantissa), some(1.0))
    p = _horner(builder, x, [some(value) for value in _LOG])
    z, doubled = builder.fmul(x, x), builder.fmul(some(-2.0), x)
    y = fused(builder, builder.fmul(doubled, z), p, z)
    return fused(builder, exponent, some(-2 * 0.69314718), builder.fadd(doubled, y))


def _horner(builder: ir.IRBuilder, x: ir.Value, coefficients: list[ir.Value]) -> ir.Value:
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = fused(builder, total, x, coefficient)
    return total


_LOW_WORD = ir.Constant(_I64, _LOW)


def _all(kind: ir.Type, value: float) -> ir.Value:
    return ir.Constant(kind, [value] * kind.count)


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    kind = ir.VectorType(value.type, WIDTH)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    return _shuffle(builder, one, one, [0] * WIDTH)


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=8)


def _scratch_words(_: Typing) -> Build:
    """Return the address of memory for the words of 32 counters, as long as the caller runs."""

    def build(context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]) -> ir.Value:
        kind = ir.ArrayType(_I32, 4 * WIDTH)
        place = cgutils.alloca_once(builder, kind)  # type: ignore[no-untyped-call]
        return builder.ptrtoint(place, _I64)

    return types.intp(), build


scratch_words = cast("Callable[[], int]", intrinsic(_scratch_words))
