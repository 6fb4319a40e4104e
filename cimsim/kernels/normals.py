"""Counter-based normal numbers: the same bits whatever is drawn before, beside or after.

Random numbers are Philox4x32-10 (Salmon et al., SC 2011) turned into normals by Box-Muller with own
float32 polynomials, so that the bits depend on nothing but the counter: neither on threads, nor on
the order of blocks, nor on a math library.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cimsim.jit import jit, jit_inline
from cimsim.kernels.arrays import Floats, UInt64
from cimsim.kernels.fma import fma
from cimsim.kernels.wide import WIDTH, draw_both, draw_words, make_normals, scratch_words

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ROUNDS = 10
Word: TypeAlias = np.uint64
Words: TypeAlias = tuple[Word, Word, Word, Word]
Numbers: TypeAlias = tuple[UInt64, UInt64]  # from `counters`


class Stream(NamedTuple):
    """What the normals of a call are counted from.

    Attributes
    ----------
    window : uint64
        Number of the first vector over all frames.
    stage : uint64
        Number of the array's first pulse.
    key : uint64
    """

    window: np.uint64
    stage: np.uint64
    key: np.uint64


@jit_inline
def _philox(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word) -> Words:
    """Return four 32-bit words (held in uint64) of one counter and key (held in uint64)."""
    for _ in range(_ROUNDS):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@jit
def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return Philox4x32-10 of one counter.

    Parameters
    ----------
    counter : uint32 [4]
    key : uint32 [2]

    Returns
    -------
    uint32 [4]
    """
    words = _philox(
        np.uint64(counter[0]), np.uint64(counter[1]), np.uint64(counter[2]), np.uint64(counter[3]),
        np.uint64(key[0]), np.uint64(key[1]),
    )  # fmt: skip
    out = np.empty(4, np.uint32)
    for i in range(4):
        out[i] = np.uint32(words[i])
    return out


@jit_inline
def _log(u: np.float32) -> np.float32:
    """Natural logarithm of a float32 in (0, 1], relative error below 2e-7 (Cephes logf)."""
    bits = np.float32(u).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(126))
    mantissa = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    small = mantissa < np.float32(0.70710678)
    exponent = exponent - np.float32(1.0) if small else exponent
    x = mantissa + mantissa - np.float32(1.0) if small else mantissa - np.float32(1.0)
    p = np.float32(7.0376836292e-2)
    p = fma(p, x, np.float32(-1.1514610310e-1))
    p = fma(p, x, np.float32(1.1676998740e-1))
    p = fma(p, x, np.float32(-1.2420140846e-1))
    p = fma(p, x, np.float32(1.4249322787e-1))
    p = fma(p, x, np.float32(-1.6668057665e-1))
    p = fma(p, x, np.float32(2.0000714765e-1))
    p = fma(p, x, np.float32(-2.4999993993e-1))
    p = fma(p, x, np.float32(3.3333331174e-1))
    z = x * x
    y = fma(x * z, p, np.float32(-0.5) * z)
    return fma(exponent, np.float32(0.69314718), x + y)


@jit_inline
def _box_muller(a: np.uint32, b: np.uint32) -> tuple[np.float32, np.float32]:
    """Return two independent normals (float32) of two uniform 32-bit words."""
    # 31 bits and a half step: u in (0, 1], tails up to 6.66 sigma
    u = (np.float32(np.int32(a >> np.uint32(1))) + np.float32(0.5)) * np.float32(2.0**-31)
    radius = np.sqrt(np.float32(-2.0) * _log(u))
    # the two top bits pick the quadrant, the others an angle within +- pi/4
    part = np.int32(b & np.uint32(0x3FFFFFFF)) - np.int32(0x20000000)
    t = (np.float32(np.int32(part)) + np.float32(0.5)) * np.float32(1.5707963267948966 * 2.0**-30)
    z = t * t
    s = fma(np.float32(-1.9515295891e-4), z, np.float32(8.3321608736e-3))
    s = fma(fma(s, z, np.float32(-1.6666654611e-1)) * z, t, t)
    c = fma(np.float32(2.443315711809948e-5), z, np.float32(-1.388731625493765e-3))
    c = fma(c, z, np.float32(4.166664568298827e-2)) * z
    c = fma(c, z, fma(np.float32(-0.5), z, np.float32(1.0)))
    quadrant = np.int32(b >> np.uint32(30))
    odd = (quadrant & np.int32(1)) == np.int32(1)
    x = s if odd else c
    y = c if odd else s
    x = -x if (quadrant == np.int32(1)) or (quadrant == np.int32(2)) else x
    y = -y if quadrant >= np.int32(2) else y
    return radius * x, radius * y


@jit
def counters(first: UInt64, second: UInt64) -> None:
    """Fill in what numbers the counters of some windows: ``[B * n]`` each.

    Parameters
    ----------
    first : uint64 [B, n]
        Counter within the window.
    second : uint64 [B, n]
        Window within the block.
    """
    for b in range(np.uint64(first.shape[0])):  # unsigned: no test for negative indices
        for q in range(np.uint64(first.shape[1])):
            first[b, q] = q
            second[b, q] = b


@jit
def normals(
    out: Floats, words: NDArray[np.uint32], numbers: Numbers, window: Word, stage: Word, key: Word
) -> None:
    """Fill ``out`` with the standard normals of consecutive windows.

    Parameters
    ----------
    out : float32 [4 * n * B]
        Column ``j`` of a window takes word ``j % 4`` of the counter ``j // 4``; there are ``4 n``.
    words : uint32 [4 * n * B]
        Scratch.
    numbers : (uint64 [n * B], uint64 [n * B])
        From `counters`.
    window : uint64
        Number of the first window over all frames.
    stage : uint64
        Which array and pulse, below 2**32.
    key : uint64
    """
    counter, block = numbers
    k0, k1 = key & _LOW, key >> _32
    # flat loops over plain indices are what LLVM turns into vector code, however narrow the array
    for e in range(out.shape[0] // 4):
        number = window + block[e]
        w0, w1, w2, w3 = _philox(counter[e], number & _LOW, number >> _32, stage, k0, k1)
        words[4 * e] = np.uint32(w0)
        words[4 * e + 1] = np.uint32(w1)
        words[4 * e + 2] = np.uint32(w2)
        words[4 * e + 3] = np.uint32(w3)
    for i in range(out.shape[0] // 2):
        out[2 * i], out[2 * i + 1] = _box_muller(words[2 * i], words[2 * i + 1])


@jit
def many_normals(out: Floats, numbers: Numbers, window: Word, stage: Word, key: Word) -> None:
    """Do what `normals` does, faster; ``out`` has 256 numbers at least."""
    counter, block = numbers
    first, second, to = counter.ctypes.data, block.ctypes.data, out.ctypes.data
    last, held = out.shape[0] // 4 - WIDTH, scratch_words()
    draw_words(held, to, first, second, window, stage, key)
    e = 0
    for step in range(WIDTH, last + WIDTH, WIDTH):
        after = min(step, last)  # the last ones once more: the same numbers
        draw_both(held, to + 16 * e, first + 8 * after, second + 8 * after, window, stage, key)
        e = after
    make_normals(held, to + 16 * e, first, second, window, stage, key)
