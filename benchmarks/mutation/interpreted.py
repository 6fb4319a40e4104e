"""Kernels without a compiler: what stands for the machine code that Python cannot run.

Kernels are changed one line at a time, and compiling each change would take most of the time.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np


def install() -> None:
    """Let the modules of cimsim, none of which may be imported yet, be plain Python."""
    import llvmlite.binding as llvm
    import numba
    from numba import extending

    os.environ["CIMSIM_ARITHMETIC"] = "vnni"
    features = dict.fromkeys(("avx512f", "avx512vnni", "avx512bw", "avx2"), True)
    llvm.get_host_cpu_features = lambda: features
    numba.config.DISABLE_JIT = True
    extending.intrinsic = _twin
    from cimsim.kernels import normals

    normals.normals = _normals


def _twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the work of an intrinsic, by its module and name."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    held = dict(zip(function.__code__.co_freevars, cells, strict=True))
    place = function.__module__.rpartition(".")[2], function.__name__
    if place == ("vnni", "tile"):
        return functools.partial(_vnni, held["n_rows"], held["n_panels"])
    if place == ("lookup", "tile"):
        return functools.partial(_look_up, held["n_planes"])
    if place == ("lookup", "transpose"):
        return functools.partial(_turn, held["joined"])
    if place == ("rows", "function"):
        return functools.partial(_take, held["count"], held["squared"], held["tallied"])
    if place == ("rows", "look"):
        return functools.partial(_look, held["count"])
    if place == ("rows", "collect"):
        return functools.partial(_collect, held["count"])
    if place == ("wide", "function"):
        return functools.partial(_draw, held["words"], held["normals"])
    return {
        ("borrow", "_borrowed"): _lent,
        ("fma", "_fma"): _fma,
        ("products", "_copy_four"): _copy_four,
        ("products", "_fetch_line"): _fetch_line,
        ("lookup", "_expand"): _expand,
        ("rows", "_copy_run"): _copy_run,
        ("wide", "_scratch_words"): lambda: 0,
    }.get(place, function)


def _array(at: int, kind: Any, *shape: int) -> Any:
    """Return the memory at an address as an array."""
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((kind * size).from_address(int(at))).reshape(shape)


def _vnni(
    n_rows: int, n_panels: int, x: int, x_step: int, w: int, w_step: int, k4: int, out: int,
    out_step: int,
) -> None:  # fmt: skip
    """Multiply as a tile of `cimsim.kernels.vnni`."""
    if k4 <= 0:
        for i in range(n_rows):
            _array(out + i * out_step, ctypes.c_int32, 16 * n_panels)[:] = 0
        return
    for j in range(n_panels):
        panel = _array(w + j * w_step, ctypes.c_int8, k4, 16, 4).astype(np.int64)
        for i in range(n_rows):
            four = _array(x + i * x_step, ctypes.c_uint8, k4, 1, 4).astype(np.int64)
            sums = (four * panel).sum(axis=(0, 2))
            _array(out + i * out_step + 64 * j, ctypes.c_int32, 16)[:] = sums


def _expand(stored: int, count: int, out: int) -> None:
    parts, lanes = _array(stored, ctypes.c_int16, count, 12), np.arange(32)
    _array(out, ctypes.c_int16, count, 32)[:] = parts[:, lanes % 8] + parts[:, 8 + lanes // 8]


def _look_up(
    n_planes: int, tables: int, index: int, step: int, groups: int, out: int, plane_step: int
) -> None:
    """Look sums up as a tile of `cimsim.kernels.lookup`."""
    whole = _array(tables, ctypes.c_int16, groups, n_planes, 32)
    for p in range(n_planes):
        sums = np.zeros(128, np.int16)
        for g in range(groups):
            sums += whole[g, p][_array(index + g * step, ctypes.c_uint16, 128) & 31]
        _array(out + p * plane_step, ctypes.c_int32, 128)[:] += sums


def _turn(joined: bool, low: int, high: int, step: int, out: int) -> None:
    for i in range(16):
        row = _array(low + i * step, ctypes.c_int32, 16).copy()
        if joined:
            row += 256 * _array(high + i * step, ctypes.c_int32, 16)
        _array(out, ctypes.c_int32, 16, 16)[:, i] = row


def _fma(a: Any, b: Any, c: Any) -> Any:
    return type(a)(np.longdouble(a) * np.longdouble(b) + np.longdouble(c))


def _lent(held: Any) -> Any:
    """Return what is borrowed: Python counts references anyway."""
    return held


def _copy_four(source: int, sink: int) -> None:
    ctypes.memmove(int(sink), int(source), 4)


def _fetch_line(_: int) -> None:
    """Nothing."""


def _copy_run(source: int, sink: int, size: int) -> None:
    ctypes.memmove(int(sink), int(source), int(size))


def _seen_bits(x: int, size: int) -> int:
    return int(np.bitwise_or.reduce(_array(x, ctypes.c_uint8, size)))


def _look(count: int, x: int, x_step: int, size: int) -> np.uint64:
    """Say which bits are set in some rows as `cimsim.kernels.rows` does."""
    seen = (_seen_bits(int(x) + i * int(x_step), size) << (8 * i) for i in range(count))
    return np.uint64(sum(seen))


def _collect(
    count: int, source: int, bases: int, sink: int, step: int, parts: int, number: int
) -> np.uint64:
    """Collect vectors as `cimsim.kernels.rows` does."""
    places, seen = _array(parts, ctypes.c_uint64, number, 2).tolist(), 0
    for i, base in enumerate(_array(bases, ctypes.c_int64, count).tolist()):
        for here, there in places:
            place = int(source) + base + here
            ctypes.memmove(int(sink) + i * int(step) + there, place, 64)
            seen |= _seen_bits(place, 64) << (8 * i)
    return np.uint64(seen)


def _take(
    count: int, squared: bool, tallied: bool, x: int, x_step: int, squares: int, step: int,
    sums: int, size: int, exponents: int,
) -> None:  # fmt: skip
    """Square rows of bytes, or add them up, as `cimsim.kernels.rows` does."""
    for i in range(count):
        row = _array(int(x) + i * int(x_step), ctypes.c_uint8, size).astype(np.int64)
        shift = int(exponents) >> (8 * i) & 255
        if squared:
            found = (row * row + (1 << shift >> 1)) >> shift
            _array(int(squares) + i * int(step), ctypes.c_uint8, size)[:] = found
        if tallied:
            _array(sums, ctypes.c_uint16, size)[:] += row.astype(np.uint16)


_drawn: list[tuple[Any, ...]] = [()]


def _draw(
    words: bool, normals: bool, _: int, out: int, first: int, second: int, window: Any, stage: Any,
    key: Any,
) -> None:  # fmt: skip
    """Draw as `cimsim.kernels.wide` does: normals of the counters that were given last."""
    from cimsim.kernels import wide

    if normals:
        place = _array(out, ctypes.c_float, 4 * wide.WIDTH)
        _normals(place, None, *_drawn[0])
    if words:
        numbers = [_array(at, ctypes.c_uint64, wide.WIDTH).copy() for at in (first, second)]
        _drawn[0] = tuple(numbers), window, stage, key


def _normals(out: Any, _: Any, numbers: Any, window: Any, stage: Any, key: Any) -> None:
    """Draw as `cimsim.kernels.normals.normals`, all numbers at once; that file is compiled."""
    from cimsim.kernels import normals

    counter, block = numbers
    number, low, half = np.uint64(window) + block, np.uint64(0xFFFFFFFF), np.uint64(32)
    keys = np.uint64(key) & low, np.uint64(key) >> half
    found = normals._philox(
        counter, number & low, number >> half, np.full_like(counter, stage), *keys
    )
    words = np.stack(found, axis=-1).astype(np.uint32).reshape(-1, 2)
    u = ((words[:, 0] >> 1).astype(np.float64) + 0.5) * 2.0**-31
    angle = 2 * np.pi * words[:, 1] / 2.0**32
    radius = np.sqrt(-2 * np.log(u))
    out[: 2 * len(u)] = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(-1)
