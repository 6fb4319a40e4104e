from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.errors import GraphError
from cimsim.graph.ir import MatrixOp, TensorSpec, Window
from cimsim.graph.layout import from_vectors, im2col, output_shape, to_nhwc


def matrix_op(groups, c_group, size, kernel, stride, padding, dilation, block, batch=1, seed=0):
    """Return a random MatrixOp over a map; None if no window fits."""
    window = Window(kernel, stride, padding, dilation)
    if 0 in window.positions(*size):
        return None
    rng = np.random.default_rng(seed)
    cols = 2 * block[0] * block[1]
    rows = kernel[0] * kernel[1] * c_group
    spec = TensorSpec((batch, groups * c_group, *size))
    op = MatrixOp(
        "op",
        ("x",),
        spec,
        spec,
        rng.normal(size=(groups, rows, cols)).astype(np.float32),
        rng.normal(size=groups * cols).astype(np.float32),
        window,
        (2 * groups, *block),
        weights_id="op",
    )
    return replace(op, output=TensorSpec(output_shape(op)))


small = st.tuples(st.integers(1, 3), st.integers(1, 3))
OPS = st.builds(
    matrix_op,
    groups=st.integers(1, 3),
    c_group=st.integers(1, 3),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    kernel=small,
    stride=small,
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    block=small,
    batch=st.integers(1, 2),
    seed=st.integers(0, 99),
).filter(lambda op: op is not None)


def random_input(op):
    return np.random.default_rng(1).normal(size=op.input.shape).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(op=OPS)
def test_im2col_equals_torch_unfold(op):
    x = random_input(op)
    top, bottom, left, right = op.window.padding
    padded = functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    unfolded = functional.unfold(
        padded, op.window.kernel, dilation=op.window.dilation, stride=op.window.stride
    )
    # torch: [B, (channel, ky, kx), window]
    batch, k_y, k_x = x.shape[0], *op.window.kernel
    expected = unfolded.reshape(batch, op.groups, -1, k_y, k_x, op.windows)
    expected = expected.permute(0, 5, 1, 3, 4, 2).reshape(-1, op.groups, op.group_rows).numpy()
    found = im2col(op, to_nhwc(op, x))
    assert np.array_equal(found, expected)
    total = batch * op.windows
    start, stop = total // 3, total // 3 + max(total // 2, 1)
    assert np.array_equal(im2col(op, to_nhwc(op, x), start, stop), expected[start:stop])


@settings(deadline=None, max_examples=40)
@given(op=OPS)
def test_from_vectors_puts_each_column_where_its_block_says(op):
    batch, (n_wy, n_wx) = op.input.shape[0], op.window_grid
    channels, block_h, block_w = op.out_block
    vectors = np.arange(batch * n_wy * n_wx * op.n_cols, dtype=np.float32)
    vectors = vectors.reshape(batch, n_wy, n_wx, op.n_cols)
    y = from_vectors(op, vectors)
    assert y.shape == op.output.shape
    for b, c, i, j in np.ndindex(y.shape):
        column = (c * block_h + i % block_h) * block_w + j % block_w
        assert y[b, c, i, j] == vectors[b, i // block_h, j // block_w, column]
    assert channels == y.shape[1]


@settings(deadline=None, max_examples=25)
@given(op=OPS)
def test_window_products_are_the_reference(op):
    from cimsim.graph.reference import apply_matrix

    x = random_input(op)
    vectors = im2col(op, to_nhwc(op, x)).astype(np.float64)
    products = np.einsum("wgr,grc->wgc", vectors, op.weight.astype(np.float64))
    products = products.reshape(x.shape[0], *op.window_grid, op.n_cols) + op.bias
    expected = from_vectors(op, products.astype(np.float32))
    found = apply_matrix(op, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5)])
def test_linear_positions_are_windows(shape):
    weight = np.random.default_rng(0).normal(size=(1, 5, 2)).astype(np.float32)
    spec = TensorSpec(shape)
    op = MatrixOp(
        "l",
        ("x",),
        spec,
        TensorSpec((*shape[:-1], 2)),
        weight,
        None,
        Window(),
        (2, 1, 1),
        layout="last",
    )
    x = random_input(op)
    assert op.windows == int(np.prod(shape[1:-1]))
    vectors = im2col(op, to_nhwc(op, x))
    y = np.einsum("wgr,grc->wgc", vectors, weight).reshape(3, *op.window_grid, 2)
    np.testing.assert_allclose(from_vectors(op, y), x @ weight[0], rtol=1e-5, atol=1e-6)
    assert output_shape(op) == op.output.shape


def test_wrong_input_shape_names_node_and_shape():
    op = matrix_op(1, 2, (5, 5), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), (1, 1))
    with pytest.raises(GraphError, match=r"node 'op': expected an input \[B, 2, 5, 5\]"):
        to_nhwc(op, np.zeros((1, 2, 4, 5), np.float32))
