"""Memory that begins at a line of the caches, and sums in a fixed order."""

import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cimsim
from cimsim.errors import ConfigError
from cimsim.kernels import floats, products
from cimsim.kernels.arrays import LINE, empty
from cimsim.kernels.products import lines


@pytest.mark.parametrize("shape", [(1,), (7, 3), (96, 1024), (3, 0), (5, 4, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.dtype(np.int32)])
def test_arrays_begin_at_a_line(shape, dtype):
    for _ in range(5):
        made = empty(shape, dtype)
        assert made.shape == shape
        assert made.dtype == dtype
        assert made.ctypes.data % LINE == 0 or made.size == 0
        assert made.flags.c_contiguous
        assert made.flags.writeable
        made[:] = 1  # all of it is there


@pytest.mark.parametrize("size", [0, 1, 64, 98304])
def test_memory_of_kernels_begins_at_a_line(size):
    made = lines(size)
    assert made.shape == (size,)
    assert made.ctypes.data % LINE == 0 or size == 0
    made[:] = 255


def test_sums_are_weighed_row_by_row():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**40, 300)
    table = np.array([[0, 200, 0], [0, 200, 200], [200, 300, 400], [300, 300, 500]], np.int64)
    weights, found = rng.random(500) ** 9, np.full(4, np.nan)
    floats.weigh(numbers, table, weights, found)
    for (start, end, first), one in zip(table.tolist(), found.tolist(), strict=True):
        expected = 0.0
        for number, weight in zip(numbers[start:end], weights[first:], strict=False):
            expected += float(number) * float(weight)
        assert one == expected


def compiled():
    """Yield the functions of the package that are compiled, with the name of their file."""
    for path in sorted(Path(cimsim.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                ast.unparse(one).startswith(("jit", "njit")) for one in node.decorator_list
            ):
                yield path.name, node


def freed(function):
    """Return the arrays that a kernel makes, and of which it keeps nothing but the address.

    Compiled code frees an array after its last use, and an address is none.
    """
    names = [one for one in ast.walk(function) if isinstance(one, ast.Name)]
    made, found = set(), set()  # what comes out of an argument is held by who called
    if any("inline" in ast.unparse(one) for one in function.decorator_list):
        made = {one.arg for one in function.args.args}  # there is no call that could hold them
    for place in ast.walk(function):
        if isinstance(place, ast.Assign) and any(
            isinstance(one, ast.Call) for one in ast.walk(place.value)
        ):
            for target in place.targets:
                made |= {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
    for place in ast.walk(function):
        if ast.unparse(place).endswith(".ctypes.data") and isinstance(place, ast.Attribute):
            array = place.value.value
            later = [one for one in names if one.lineno > place.end_lineno]
            used = any(one.id == getattr(array, "id", None) for one in later)
            if isinstance(array, ast.Name) and array.id in made and not used:
                found.add(array.id)
    return found


def test_arrays_that_a_kernel_makes_live_as_long_as_their_addresses_are_used():
    functions = list(compiled())
    assert len(functions) > 150
    assert {(file, one.name): freed(one) for file, one in functions if freed(one)} == {}


def test_an_array_of_which_only_the_address_is_kept_is_found():
    text = "def kernel(x, out):\n    a = x.copy()\n    at, to = a.ctypes.data, out.ctypes.data\n"
    (found,) = ast.parse(text + "    loop(at, to)\n").body
    assert freed(found) == {"a"}
    (found,) = ast.parse("@jit_inline\n" + text + "    loop(at, to)\n").body
    assert freed(found) == {"a", "out"}
    (found,) = ast.parse(text + "    loop(at, to)\n    return a\n").body
    assert freed(found) == set()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is spoilt by glibc")
@pytest.mark.parametrize("arithmetic", products.NEEDED)
def test_products_read_no_memory_that_was_freed(arithmetic):
    """What is freed is overwritten at once, and what is new is not 0."""
    try:
        products.arithmetic(arithmetic)
    except ConfigError:
        pytest.skip(f"no {arithmetic}")
    env = os.environ | {"MALLOC_PERTURB_": "165", "CIMSIM_ARITHMETIC": arithmetic}
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTS], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True"] * 6


PRODUCTS = """
import numpy as np
from cimsim.kernels.products import pack, product, tiles
rng = np.random.default_rng(0)
for rows, columns, n in ((300, 40, 96), (27, 6, 11), (2000, 16, 60)):
    weights = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
    packed = pack(weights)
    for bit in (-1, 3):
        x = np.zeros((96, -(-rows // 64) * 64), np.uint8)
        whole = rng.integers(0, 256, (n, rows))
        x[:n, :rows] = whole if bit < 0 else (whole & 1) << bit
        out = np.full((96, -(-columns // 16) * 16), 7, np.int32)
        product(x, packed, tiles(packed), n, bit, out)
        wanted = x[:n, :rows].astype(np.int64) @ weights
        print(np.array_equal(out[:n, :columns], wanted))
"""
