"""The arithmetic of `cimsim.kernels.normals` on 32 counters in lockstep.

Chains of dependent operations leave most of a core idle. Vectors that are wider than registers make
the compiler do each step of several chains one after the other. Every operation and its order are
those of the scalar functions, so the bits are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cimsim.kernels.emit import Build, Typing
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


def _make() -> Callable[..., None]:
    """Make the function that draws the 128 normals of 32 counters.

    It takes the addresses of the results (float32 [128]) and of the two parts of the counters
    (uint64 [32] each, see `cimsim.kernels.normals.counters`), then window, stage and the two halves
    of the key.
    """

    @intrinsic
    def function(
        _: Typing, out: Typing, first: Typing, second: Typing, window: Typing, stage: Typing,
        k0: Typing, k1: Typing,
    ) -> Build:  # fmt: skip
        def build(
            context: Typing, builder: ir.IRBuilder, _: Typing, args: list[ir.Value]
        ) -> ir.Value:
            _emit(builder, args)
            return context.get_dummy_value()

        addresses = [types.intp] * 3
        return types.void(*addresses, *[types.uint64] * 4), build

    return function


draw = _make()


def _emit(builder: ir.IRBuilder, args: list[ir.Value]) -> None:
    out, first, second, window, stage, k0, k1 = args
    wide = ir.VectorType(_I64, WIDTH)
    spread = functools.partial(_spread, builder)
    counter = _load(builder, first, wide)
    number = builder.add(_load(builder, second, wide), spread(window))
    low = _all(wide, _LOW)
    state = [
        builder.and_(counter, low), builder.and_(number, low),
        builder.lshr(number, _all(wide, 32)), spread(builder.and_(stage, _LOW_WORD)),
    ]  # fmt: skip
    words = _philox(builder, state, k0, k1)
    narrow = [builder.trunc(word, ir.VectorType(_I32, WIDTH)) for word in words]
    # words 0 and 2 of a counter make radii, 1 and 3 angles
    a, b = (_shuffle(builder, narrow[i], narrow[i + 2], list(range(2 * WIDTH))) for i in range(2))
    x, y = _box_muller(builder, a, b)
    lanes = [lane for e in range(WIDTH) for lane in (e, 2 * WIDTH + e, WIDTH + e, 3 * WIDTH + e)]
    whole = _shuffle(builder, x, y, lanes)
    builder.store(whole, builder.inttoptr(out, whole.type.as_pointer()), align=4)


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
        k0 = builder.and_(builder.add(k0, ir.Constant(_I64, _W0)), _LOW_WORD)
        k1 = builder.and_(builder.add(k1, ir.Constant(_I64, _W1)), _LOW_WORD)
    return [c0, c1, c2, c3]


def _box_muller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Emit what `cimsim.kernels.normals` does under this name."""
    whole, real = a.type, ir.VectorType(_F32, a.type.count)

    def some(value: float) -> ir.Value:
        return _all(real, float(np.float32(value)))

    def unit(word: ir.Value, step: float) -> ir.Value:
        return builder.fmul(builder.fadd(builder.sitofp(word, real), some(0.5)), some(step))

    u = unit(builder.lshr(a, _all(whole, 1)), 2.0**-31)
    log = _log(builder, u, some)
    root = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(real, [real]), f"llvm.sqrt.v{real.count}f32"
    )
    radius = builder.call(root, [builder.fmul(some(-2.0), log)])
    angle = builder.sub(builder.and_(b, _all(whole, 0x3FFFFFFF)), _all(whole, 0x20000000))
    t = unit(angle, 1.5707963267948966 * 2.0**-30)
    z = builder.fmul(t, t)
    s = _horner(builder, z, [some(value) for value in _SINE])
    s = fused(builder, builder.fmul(s, z), t, t)
    c = builder.fmul(_horner(builder, z, [some(value) for value in _COSINE]), z)
    c = fused(builder, c, z, fused(builder, some(-0.5), z, some(1.0)))
    quadrant = builder.lshr(b, _all(whole, 30))
    is_odd = builder.icmp_unsigned("!=", builder.and_(quadrant, _all(whole, 1)), _all(whole, 0))
    x, y = builder.select(is_odd, s, c), builder.select(is_odd, c, s)
    inner = builder.and_(builder.add(quadrant, _all(whole, 1)), _all(whole, 2))
    x = builder.select(builder.icmp_unsigned("!=", inner, _all(whole, 0)), builder.fneg(x), x)
    last = builder.icmp_unsigned(">=", quadrant, _all(whole, 2))
    y = builder.select(last, builder.fneg(y), y)
    return builder.fmul(radius, x), builder.fmul(radius, y)


def _log(builder: ir.IRBuilder, u: ir.Value, some: Callable[[float], ir.Constant]) -> ir.Value:
    """Emit what `cimsim.kernels.normals` does under this name."""
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
    z = builder.fmul(x, x)
    y = fused(builder, builder.fmul(x, z), p, builder.fmul(some(-0.5), z))
    return fused(builder, exponent, some(0.69314718), builder.fadd(x, y))


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
