import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cimsim.errors import GraphError
from cimsim.graph.ir import (
    DigitalOp,
    InputOp,
    LayerGraph,
    MatrixOp,
    Ref,
    TensorSpec,
    Window,
    rewire,
)

SPEC = TensorSpec((1, 2, 6, 6))


def digital(name, *inputs, args=None):
    args = tuple(Ref(i) for i in inputs) if args is None else args
    return DigitalOp(name, inputs, SPEC, "add", torch.add, args, locality="pointwise")


@settings(deadline=None, max_examples=50)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_window_positions_are_those_of_a_convolution(size, kernel, stride, dilation, padding):
    window = Window(kernel, stride, padding, dilation)
    top, bottom, left, right = padding
    x = functional.pad(torch.zeros(1, 1, *size), (left, right, top, bottom))
    fits = all(n >= e for n, e in zip(x.shape[2:], window.extent, strict=True))
    if not fits:
        assert 0 in window.positions(*size)
        return
    y = functional.conv2d(x, torch.zeros(1, 1, *kernel), stride=stride, dilation=dilation)
    assert window.positions(*size) == tuple(y.shape[2:])


@pytest.mark.parametrize(
    ("shape", "grid", "per_frame"),
    [((2, 3, 4, 5), (4, 5), 60), ((2, 7), (1, 1), 7), ((2, 6, 7), (1, 6), 42)],
)
def test_grid_and_size_of_a_frame(shape, grid, per_frame):
    assert TensorSpec(shape).grid == grid
    assert TensorSpec(shape).per_frame == per_frame


def test_matrix_op_counts_its_matrix_and_windows():
    weight = np.zeros((2, 9 * 3, 8), np.float32)
    window = Window((3, 3), (2, 2), (1, 1, 1, 1))
    op = MatrixOp(
        "c",
        ("x",),
        TensorSpec((1, 6, 10, 7)),
        TensorSpec((1, 4, 10, 8)),
        weight,
        None,
        window,
        (4, 2, 2),
    )
    assert (op.groups, op.group_rows, op.group_cols) == (2, 27, 8)
    assert (op.n_rows, op.n_cols, op.n_weights) == (54, 16, 432)
    assert op.window_grid == (5, 4)
    assert op.windows == 20


def test_graph_keeps_order_and_knows_readers():
    ops = [InputOp("x", SPEC), digital("a", "x"), digital("b", "a", "x"), digital("c", "a")]
    graph = LayerGraph("net", ops, ["b", "c"])
    assert [op.name for op in graph] == ["x", "a", "b", "c"]
    assert len(graph) == 4
    assert graph.consumers("a") == ("b", "c")
    assert [op.name for op in graph.inputs] == ["x"]
    assert [op.name for op in graph.uncosted] == ["a", "b", "c"]
    smaller = graph.with_ops(ops[:2], ["a"])
    assert [op.name for op in smaller] == ["x", "a"]
    assert smaller.outputs == ("a",)


@pytest.mark.parametrize(
    ("ops", "outputs", "message"),
    [
        ([InputOp("x", SPEC), InputOp("x", SPEC)], ["x"], "two nodes are called 'x'"),
        ([digital("a", "x"), InputOp("x", SPEC)], ["a"], "reads 'x', which comes later"),
        ([InputOp("x", SPEC)], ["y"], "output 'y' is no node; known: x"),
    ],
)
def test_graph_refuses_what_it_cannot_hold(ops, outputs, message):
    with pytest.raises(GraphError, match=message):
        LayerGraph("net", ops, outputs)


def test_unknown_node_lists_the_known_ones():
    graph = LayerGraph("net", [InputOp("frames", SPEC)], ["frames"])
    with pytest.raises(GraphError, match="did you mean frames"):
        graph["frame"]


def test_rewire_follows_references_at_any_depth():
    op = DigitalOp(
        "cat", ("a", "b"), SPEC, "cat", torch.cat, ([Ref("a"), (Ref("b"), 3)],), {"k": Ref("a")}
    )
    moved = rewire(op, {"a": "z"})
    assert moved.inputs == ("z", "b")
    assert moved.args[0][0].name == "z"
    assert moved.args[0][1][0].name == "b"
    assert moved.args[0][1][1] == 3
    assert moved.kwargs["k"].name == "z"
    assert rewire(op, {"q": "z"}) is op
