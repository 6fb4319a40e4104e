import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import ConfigError
from cimsim.kernels import avx2, products, vnni

needs_avx2 = pytest.mark.skipif(not products.PACKED, reason="no AVX2")


def multiply(x, plane, bit=-1, product=products.product):
    depth, width = -(-plane.shape[0] // 4) * 4, -(-plane.shape[1] // 16) * 16
    padded = np.zeros((products.ROWS, depth), np.uint8)
    padded[: len(x), : x.shape[1]] = x
    out = np.empty((products.ROWS, width), np.int32)
    packed = products.pack(plane)
    product(padded, packed, products.tiles(packed), len(x), bit, out)
    return out[: len(x)]


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (4, 16), (9, 35)])
def test_a_plane_comes_out_as_it_was_packed(rows, cols):
    plane = np.random.default_rng(rows).integers(-128, 128, (rows, cols), dtype=np.int8)
    found = products.unpack(products.pack(plane))
    np.testing.assert_array_equal(found[:rows, :cols], plane)
    assert not found[rows:].any()
    assert not found[:, cols:].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 150), st.integers(1, 96), st.integers(0, 2**32 - 1))
def test_product_is_the_integer_product(rows, cols, vectors, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (vectors, rows), dtype=np.uint8)
    plane = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    got = multiply(x, plane)
    np.testing.assert_array_equal(got[:, :cols], x.astype(np.int64) @ plane.astype(np.int64))
    assert not got[:, cols:].any()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 1100), st.integers(1, 150), st.integers(1, 96), st.integers(0, 7),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_single_bits_give_the_integer_product(rows, cols, vectors, bit, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (vectors, rows), dtype=np.uint8) & np.uint8(1 << bit)
    plane = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    got = multiply(x, plane, bit)
    np.testing.assert_array_equal(got[:, :cols], x.astype(np.int64) @ plane.astype(np.int64))
    assert not got[:, cols:].any()


def narrower():
    """Return the products that this processor could be given, less the one it is given."""
    found = {"avx2": avx2.product, "avxvnni": vnni.product_256}
    features = llvm.get_host_cpu_features()
    return [
        pytest.param(product, id=name)
        for name, product in found.items()
        if all(map(features.get, products.NEEDED[name]))
    ]


@needs_avx2
@pytest.mark.parametrize("product", narrower())
@pytest.mark.parametrize("bit", [-1, 0, 7])
@pytest.mark.parametrize("shape", [(1, 3, 5), (96, 1300, 64), (50, 700, 130), (7, 2600, 17)])
def test_the_narrower_instructions_give_the_same_integers(shape, bit, product):
    """Also where products of this process take the wider ones."""
    vectors, rows, cols = shape
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (vectors, rows), dtype=np.uint8)
    x &= np.uint8(255 if bit < 0 else 1 << bit)
    plane = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    got = multiply(x, plane, bit, product)[:, :cols]
    np.testing.assert_array_equal(got, x.astype(np.int64) @ plane.astype(np.int64))


HOSTS = {
    "Zen 5": ("avx512f", "avx512vnni", "avxvnni", "avx2"),
    "Alder Lake": ("avxvnni", "avx2"),
    "Zen 3": ("avx2",),
    "Neoverse N1": ("neon", "dotprod"),
    "a processor of another kind": (),
}


@pytest.mark.parametrize(
    ("host", "found"),
    list(zip(HOSTS, ("vnni", "avxvnni", "avx2", "neon", "generic"), strict=True)),
)
def test_the_widest_instructions_of_a_processor_are_taken(host, found, monkeypatch):
    features = dict.fromkeys(HOSTS[host], True) | {"avx10": False}
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    for name in ("CPU_NAME", "CPU_FEATURES"):
        monkeypatch.setattr(products.numba.config, name, None)
    assert products.arithmetic("") == found
    below = [name for name, needed in products.NEEDED.items() if all(map(features.get, needed))]
    assert below[0] == found
    assert [products.arithmetic(name) for name in below] == below
    for name in set(products.NEEDED) - set(below):
        with pytest.raises(ConfigError, match=f"has no {name}; unset it to take {found}"):
            products.arithmetic(name)
    with pytest.raises(ConfigError, match="one of vnni, avxvnni, avx2, neon, generic, got sse"):
        products.arithmetic("sse")


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_a_block_diagonal_matrix_costs_little_more_than_its_blocks(blocks):
    rng = np.random.default_rng(0)
    plane = np.zeros((blocks * 36, blocks * 30), np.int8)
    for g in range(blocks):
        block = rng.integers(-128, 128, (36, 30), dtype=np.int8)
        plane[g * 36 : g * 36 + 36, g * 30 : g * 30 + 30] = block
    x = rng.integers(0, 256, (50, len(plane)), dtype=np.uint8)
    np.testing.assert_array_equal(
        multiply(x, plane)[:, : plane.shape[1]], x.astype(np.int64) @ plane.astype(np.int64)
    )
    if products.PACKED:
        parts = products.tiles(products.pack(plane))
        assert parts[:, 1].sum() == -(-plane.shape[1] // 16)
        work = 4 * 16 * (parts[:, 1] * (parts[:, 3] - parts[:, 2])).sum()
        # a panel that lies across two blocks needs the rows of both
        assert work <= 36 * 30 * blocks + 36 * 16 * 2 * blocks


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 100), st.floats(0, 0.3), st.integers(0, 2**32 - 1))
def test_any_pattern_of_empty_cells_gives_the_integer_product(rows, cols, share, seed):
    rng = np.random.default_rng(seed)
    plane = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    plane[rng.random((rows, cols)) > share] = 0
    plane[:, rng.random(cols) > 0.5] = 0
    x = rng.integers(0, 256, (7, rows), dtype=np.uint8)
    got = multiply(x, plane)[:, :cols]
    np.testing.assert_array_equal(got, x.astype(np.int64) @ plane.astype(np.int64))


@pytest.mark.parametrize("rows", [512, 513, 1024, 9000])
@pytest.mark.parametrize("weight", [-128, 127])
def test_largest_sums_are_exact(rows, weight):
    got = multiply(np.full((3, rows), 255, np.uint8), np.full((rows, 5), weight, np.int8))
    assert (got[:, :5] == rows * 255 * weight).all()


@pytest.mark.parametrize("bit", [0, 7])
@pytest.mark.parametrize("rows", [508, 509, 1016, 9000])
@pytest.mark.parametrize("weight", [-128, 127])
def test_largest_sums_of_bits_are_exact(rows, weight, bit):
    x = np.full((3, rows), 1 << bit, np.uint8)
    got = multiply(x, np.full((rows, 5), weight, np.int8), bit)
    assert (got[:, :5] == rows * (weight << bit)).all()


def test_the_float_product_gives_the_same_integers():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (48, 1300), dtype=np.uint8)
    plane = rng.integers(-128, 128, (1300, 64), dtype=np.int8)
    out = np.empty((48, 64), np.int32)
    products._product_float(x, plane.astype(np.float32), np.empty((0, 4), np.int64), 48, -1, out)
    np.testing.assert_array_equal(out, x.astype(np.int64) @ plane.astype(np.int64))


@pytest.mark.slow
def test_another_target_processor_takes_the_float_product(tmp_path):
    """A user who compiles for an older processor must not be given its newer instructions."""
    code = (
        "import numpy as np; from cimsim.kernels import products; assert not products.PACKED;"
        "x = np.arange(48 * 8, dtype=np.int64).reshape(48, 8) % 256;"
        "w = (np.arange(8 * 3).reshape(8, 3) * 7 % 256 - 128).astype(np.int8);"
        "out = np.empty((48, 16), np.int32);"
        "p = products.pack(w); t = products.tiles(p);"
        "products.product(x.astype(np.uint8), p, t, 48, -1, out);"
        "assert (out[:, :3] == x @ w.astype(np.int64)).all()"
    )
    env = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
