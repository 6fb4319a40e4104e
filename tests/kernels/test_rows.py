"""Rows of bytes in registers: the same as numpy's, wherever they lie and however long they are."""

import numpy as np
import pytest
from numba import njit

from cimsim.kernels import rows


@njit
def copied(source, start, sink, to, size):
    rows.copy_run(
        np.uint64(source.ctypes.data) + np.uint64(start),
        np.uint64(sink.ctypes.data) + np.uint64(to), np.uint64(size),
    )  # fmt: skip


@pytest.mark.parametrize("size", [*range(1, 70), 95, 96, 127, 128, 129, 191, 192, 193, 1000])
def test_runs_are_copied_and_nothing_beside_them(size):
    rng = np.random.default_rng(size)
    source = rng.integers(1, 256, size + 20).astype(np.uint8)
    for start, to in ((0, 0), (7, 13), (20, 1)):
        sink = np.zeros(size + 40, np.uint8)
        copied(source, start, sink, to, size)
        expected = np.zeros_like(sink)
        expected[to : to + size] = source[start : start + size]
        np.testing.assert_array_equal(sink, expected)


def looking(look):
    @njit
    def call(x, size):
        return look(np.uint64(x.ctypes.data), np.uint64(x.shape[1]), np.uint64(size))

    return call


@pytest.mark.parametrize(("look", "count"), [(rows.seen_four, 4), (rows.seen_one, 1)])
def test_bits_that_are_set_anywhere_are_seen(look, count):
    call = looking(look)
    x = np.zeros((5, 200), np.uint8)
    x[:, 192:], x[count:] = 8, 32  # behind rows of 192 bytes, and behind the rows
    assert call(x, 192) == 0
    for place, value in ((0, 1), (63, 128), (64, 7), (191, 255)):
        for row in range(count):
            x[:count, :192] = 0
            x[row, place] = value
            assert call(x, 192) == value << (8 * row)
            x[0, 5] |= 64
            assert call(x, 192) == value << (8 * row) | 64


def collecting(collect):
    @njit
    def call(codes, bases, out, parts):
        return collect(
            np.uint64(codes.ctypes.data), np.uint64(bases.ctypes.data),
            np.uint64(out.ctypes.data), np.uint64(out.shape[1]), np.uint64(parts.ctypes.data),
            np.uint64(parts.shape[0]),
        )  # fmt: skip

    return call


@pytest.mark.parametrize(("collect", "count"), [(rows.collect_four, 4), (rows.collect_one, 1)])
def test_vectors_are_collected_and_looked_at(collect, count):
    rng = np.random.default_rng(0)
    codes = (1 << rng.integers(0, 8, 900)).astype(np.uint8)
    codes[:700] &= 15
    bases = np.array([3, 400, 77, 600], np.int64)
    parts = np.array([[0, 0], [20, 20], [130, 84]], np.uint64)
    out = np.zeros((5, 160), np.uint8)
    seen = collecting(collect)(codes, bases, out, parts)
    for i in range(count):
        vector = np.concatenate([codes[bases[i] :][:84], codes[bases[i] + 130 :][:64]])
        np.testing.assert_array_equal(out[i, :148], vector)
        assert seen >> (8 * i) & 255 == np.bitwise_or.reduce(vector)
    assert seen >> (8 * count) == 0
    assert not out[:, 148:].any()
    assert not out[count:].any()


def taking(take):
    @njit
    def call(x, squares, sums, packed):
        size = np.uint64(squares.shape[1])
        take(
            np.uint64(x.ctypes.data), np.uint64(x.shape[1]), np.uint64(squares.ctypes.data), size,
            np.uint64(sums.ctypes.data), size, np.uint64(packed),
        )  # fmt: skip

    return call


@pytest.mark.parametrize(
    ("name", "count", "squared", "tallied"),
    [
        ("square_four", 4, True, False), ("square_one", 1, True, False),
        ("tally_four", 4, False, True), ("tally_one", 1, False, True),
        ("both_four", 4, True, True), ("both_one", 1, True, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("apart", [128, 200])
def test_rows_are_squared_and_added_up(name, count, squared, tallied, apart):
    rng = np.random.default_rng(apart)
    x = rng.integers(0, 256, (6, apart)).astype(np.uint8)
    largest = np.array([255, 127, 15, 63])[:count]
    x[:count] = x[:count] % (largest[:, None] + 1)
    x[:count, 3], exponents = largest, [8, 6, 0, 4][:count]
    squares, sums = np.full((6, 128), 9, np.uint8), rng.integers(0, 9, 128).astype(np.uint16)
    before, packed = sums.copy(), sum(e << (8 * i) for i, e in enumerate(exponents))
    taking(getattr(rows, name))(x, squares, sums, packed)
    read = x[:count, :128].astype(int)
    shift = np.array(exponents)[:, None]
    expected = (read**2 + (1 << shift >> 1)) >> shift if squared else np.full(read.shape, 9)
    assert expected.max() < 256
    np.testing.assert_array_equal(squares[:count], expected)
    np.testing.assert_array_equal(squares[count:], 9)
    np.testing.assert_array_equal(sums, before + read.sum(axis=0) if tallied else before)
