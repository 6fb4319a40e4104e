import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.errors import GraphError
from cimsim.frontends.matrices import conv2d_op, conv_transpose2d_ops, linear_op
from cimsim.graph.ir import InputOp, LayerGraph, TensorSpec
from cimsim.graph.reference import run
from cimsim.graph.verify import verify

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
shared = {
    "groups": st.integers(1, 3),
    "c_in": st.integers(1, 3),
    "c_out": st.integers(1, 3),
    "size": st.tuples(st.integers(1, 7), st.integers(1, 7)),
    "kernel": st.tuples(st.integers(1, 5), st.integers(1, 5)),
    "dilation": pair,
    "padding": st.tuples(st.integers(0, 4), st.integers(0, 4)),
    "biased": st.booleans(),
}


def draw(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def evaluate(op, crop, x):
    ops = [InputOp("x", op.input), op] + ([] if crop is None else [crop])
    graph = LayerGraph("one", ops, [ops[-1].name])
    verify(graph)
    return graph, run(graph, x)[0]


def close(found, expected):
    assert found.shape == expected.shape
    scale = max(float(expected.abs().max()), 1.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


@settings(deadline=None, max_examples=60)
@given(**shared, stride=pair)
def test_convolution(groups, c_in, c_out, size, kernel, dilation, padding, biased, stride):
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(n + 2 * p >= e for n, p, e in zip(size, padding, extent, strict=True)))
    x = draw((2, groups * c_in, *size))
    weight = draw((groups * c_out, c_in, *kernel))
    bias = draw((groups * c_out,)) if biased else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    op = conv2d_op("c", "x", TensorSpec((1, *x.shape[1:])), weight, bias, **options)
    _, found = evaluate(op, None, x)
    close(found, functional.conv2d(x, weight, bias, **options))


@settings(deadline=None, max_examples=120)
@given(**shared, stride=st.tuples(st.integers(1, 4), st.integers(1, 4)), data=st.data())
def test_transposed_convolution(
    groups, c_in, c_out, size, kernel, dilation, padding, biased, stride, data
):
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    out = [
        (n - 1) * s - 2 * p + (k - 1) * d + 1 + e
        for n, s, p, k, d, e in zip(size, stride, padding, kernel, dilation, extra, strict=True)
    ]
    assume(min(out) > 0)
    x = draw((1, groups * c_in, *size))
    weight = draw((groups * c_in, c_out, *kernel))
    bias = draw((groups * c_out,)) if biased else None
    options = {
        "stride": stride,
        "padding": padding,
        "output_padding": extra,
        "groups": groups,
        "dilation": dilation,
    }
    op, crop = conv_transpose2d_ops("t", "x", TensorSpec(tuple(x.shape)), weight, bias, **options)
    graph, found = evaluate(op, crop, x)
    close(found, functional.conv_transpose2d(x, weight, bias, **options))
    assert op.out_block == (groups * c_out, *stride)
    assert (crop is None) == (graph["t"].output.grid == tuple(out))


def test_transposed_convolution_of_the_usual_kind_needs_as_few_windows_as_pixels():
    # kernel 2, stride 2: every input pixel writes its own 2 x 2 block
    spec = TensorSpec((1, 3, 5, 7))
    op, crop = conv_transpose2d_ops("t", "x", spec, draw((3, 4, 2, 2)), stride=2)
    assert crop is None
    assert op.windows == 35
    assert op.n_weights == 3 * 4 * 4
    assert op.window.extent == (1, 1)


def test_transposed_convolution_counts_structural_zeros_as_cells():
    # kernel 3, stride 2: two taps per axis, 16 places of which 9 are filled
    op, crop = conv_transpose2d_ops(
        "t", "x", TensorSpec((1, 1, 4, 4)), torch.ones(1, 1, 3, 3), stride=2, padding=1
    )
    assert op.weight.shape == (1, 4, 4)
    assert np.count_nonzero(op.weight) == 9
    assert crop is not None
    assert crop.output.grid == (7, 7)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (1, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding(kernel, dilation):
    x, weight = draw((1, 2, 9, 8)), draw((3, 2, *kernel))
    options = {"padding": "same", "dilation": dilation}
    op = conv2d_op("c", "x", TensorSpec(tuple(x.shape)), weight, **options)
    _, found = evaluate(op, None, x)
    close(found, functional.conv2d(x, weight, **options))
    assert op.output.grid == (9, 8)


@settings(deadline=None, max_examples=25)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 3), st.integers(1, 6)),
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6)),
    ),
    cols=st.integers(1, 6),
    biased=st.booleans(),
)
def test_linear(shape, cols, biased):
    x, weight = draw(shape), draw((cols, shape[-1]))
    bias = draw((cols,)) if biased else None
    op = linear_op("l", "x", TensorSpec((1, *shape[1:])), weight.t(), bias)
    _, found = evaluate(op, None, x)
    close(found, functional.linear(x, weight, bias))


def test_the_matrix_is_a_copy():
    weight = torch.eye(4)
    op = linear_op("l", "x", TensorSpec((1, 4)), weight)
    weight.zero_()
    assert np.array_equal(op.weight[0], np.eye(4))


def test_one_number_that_stands_everywhere_takes_no_memory_and_is_a_copy():
    """Where only the shapes of a network are known; 10^15 numbers have no room."""
    number = torch.full((1, 1), 3.0)
    large = linear_op("l", "x", TensorSpec((1, 10**7)), number.expand(10**7, 10**8))
    assert large.weight.shape == (1, 10**7, 10**8)
    op = linear_op("l", "x", TensorSpec((1, 4)), number.expand(4, 5))
    number.zero_()
    assert np.array_equal(op.weight, np.full((1, 4, 5), 3.0))
    assert large.weight[0, -1, -1] == 3


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8)])
def test_convolution_without_batch_axis_is_refused(shape):
    with pytest.raises(GraphError, match=r"c: a convolution needs an input \[B, C, H, W\]"):
        conv2d_op("c", "x", TensorSpec(shape), torch.zeros(1, 3, 3, 3))
    with pytest.raises(GraphError, match="needs an input"):
        conv_transpose2d_ops("c", "x", TensorSpec(shape), torch.zeros(3, 1, 3, 3))


def test_linear_on_a_map_is_refused():
    with pytest.raises(GraphError, match="l: a linear layer needs"):
        linear_op("l", "x", TensorSpec((1, 3, 4, 5)), torch.zeros(5, 2))
