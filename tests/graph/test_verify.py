import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from cimsim.errors import GraphError
from cimsim.graph import verify as verify_module
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window
from cimsim.graph.verify import (
    DIGITAL_RULES,
    INPUT_RULES,
    MATRIX_RULES,
    references,
    verify,
    verify_numbers,
)

MAP = TensorSpec((1, 4, 6, 6))
POOLED = TensorSpec((1, 4, 3, 3))
FLAT = TensorSpec((1, 36))


def base_ops():
    """Return one op of each kind by name: input, convolution, relu, pooling, reshape, linear."""
    conv = MatrixOp(
        "conv",
        ("x",),
        MAP,
        MAP,
        np.ones((2, 18, 2), np.float32),
        np.ones(4, np.float32),
        Window((3, 3), padding=(1, 1, 1, 1)),
        (4, 1, 1),
        weights_id="conv",
        source="conv (net.py:3)",
    )
    relu = DigitalOp(
        "relu", ("conv",), MAP, "relu", torch.relu, (Ref("conv"),), {}, "pointwise", 1.0
    )
    pool = DigitalOp(
        "pool",
        ("relu",),
        POOLED,
        "max_pool2d",
        torch.nn.functional.max_pool2d,
        (Ref("relu"), 2),
        {},
        "window",
        4.0,
        Window((2, 2), (2, 2)),
    )
    flat = DigitalOp(
        "flat", ("pool",), FLAT, "flatten", torch.flatten, (Ref("pool"), 1), {}, "barrier", 0.0
    )
    linear = MatrixOp(
        "linear",
        ("flat",),
        FLAT,
        TensorSpec((1, 5)),
        np.ones((1, 36, 5), np.float32),
        None,
        Window(),
        (5, 1, 1),
        layout="last",
        weights_id="linear",
    )
    ops = (InputOp("x", MAP), conv, relu, pool, flat, linear)
    return {op.name: op for op in ops}


def graph_with(name=None, **changes):
    ops = base_ops()
    if name is not None:
        ops[name] = replace(ops[name], **changes)
    return LayerGraph("net", ops.values(), ["linear"])


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


HALF = TensorSpec(MAP.shape, "float16")

# rule, node, what is broken in it, what the message says is expected
BROKEN = [
    ("_shape_is_positive", "x", {"output": TensorSpec((1, 4, 0, 6))}, "positive integers"),
    ("_one_input", "conv", {"inputs": ("x", "x")}, "expected exactly one input"),
    ("_one_input", "conv", {"input": POOLED}, "expected that of 'x'"),
    ("_is_float32", "conv", {"output": HALF}, "output is float16, expected float32"),
    ("_is_float32", "conv", {"weight": ones(2, 18, 2, dtype=np.float64)}, "weight is float64"),
    ("_is_float32", "conv", {"bias": ones(4, dtype=np.int32)}, "bias is int32"),
    ("_layout", "linear", {"layout": "nchw"}, "input of rank 2, expected [B, C, H, W]"),
    ("_layout", "conv", {"layout": "last"}, "rank 4, expected [B, F] or [B, positions, F]"),
    ("_layout", "conv", {"layout": "nhwc"}, "layout 'nhwc', expected 'nchw' or 'last'"),
    ("_window", "conv", {"window": Window((3, 3), (0, 1))}, "stride, dilation >= 1"),
    ("_window", "conv", {"window": Window((3, 3), padding=(-1, 1, 1, 1))}, "padding >= 0"),
    ("_window", "linear", {"window": Window((1, 2))}, "expected a 1 x 1 window"),
    ("_rows", "conv", {"weight": ones(2, 17, 2)}, "17 matrix rows, expected kernel"),
    ("_rows", "conv", {"weight": ones(3, 12, 2)}, "expected a divisor of the 4 input channels"),
    ("_rows", "conv", {"weight": ones(18, 4)}, "expected [groups, rows, cols]"),
    ("_columns", "conv", {"out_block": (2, 1, 1)}, "expected a product of 4 matrix columns"),
    ("_columns", "conv", {"out_block": (-4, -1, 1)}, "expected a product of 4"),
    ("_columns", "linear", {"out_block": (1, 5, 1)}, "expected (features, 1, 1)"),
    ("_bias", "conv", {"bias": ones(5)}, "bias of shape (5,), expected (4,)"),
    ("_output", "conv", {"output": POOLED}, "expected [1, 4, 6, 6] from window and block"),
    ("_output", "conv", {"out_block": (1, 2, 2)}, "expected [1, 1, 12, 12]"),
    ("_has_weights_id", "linear", {"weights_id": ""}, "weights_id is empty"),
    ("_refs_equal_inputs", "relu", {"args": (Ref("x"),)}, "expected the inputs ['conv']"),
    ("_refs_equal_inputs", "relu", {"args": (1.0,)}, "arguments refer to []"),
    ("_is_callable", "relu", {"target": "relu"}, "expected something callable"),
    ("_cost", "relu", {"ops_per_element": -1.0}, "expected None or a number >= 0"),
    ("_locality", "relu", {"locality": "local"}, "expected pointwise, view, window or barrier"),
    ("_locality", "relu", {"window": Window()}, "expected one exactly for 'window'"),
    ("_locality", "pool", {"window": None}, "expected one exactly for 'window'"),
    ("_locality", "flat", {"locality": "view"}, "reads 'pool' of grid (3, 3), expected (1, 1)"),
    ("_locality", "pool", {"window": Window((2, 2), (3, 3))}, "expected at least the output grid"),
]


def test_the_base_graph_is_legal_and_runs():
    graph = graph_with()
    verify(graph)
    assert graph.reference(torch.ones(2, 4, 6, 6))[0].shape == (2, 5)


@pytest.mark.parametrize(("rule", "name", "changes", "expected"), BROKEN)
def test_each_rule_names_node_and_expectation(rule, name, changes, expected):
    graph = graph_with(name, **changes)
    problem = getattr(verify_module, rule)(graph, graph[name])
    assert expected in problem
    with pytest.raises(GraphError, match=re.escape(f"net: node '{name}'")):
        verify(graph)


def test_every_rule_has_a_broken_graph():
    rules = {rule.__name__ for rule in (*INPUT_RULES, *MATRIX_RULES, *DIGITAL_RULES)}
    assert rules - {"_input_reads_nothing"} == {rule for rule, *_ in BROKEN}


def test_message_holds_the_source():
    with pytest.raises(GraphError, match=r"node 'conv' \[conv \(net.py:3\)\]: bias"):
        verify(graph_with("conv", bias=ones(5)))


def test_an_input_reads_nothing():
    graph = graph_with()
    graph.nx.add_node("y", op=InputOp("y", MAP, ("x",)))
    graph.nx.add_edge("x", "y")
    with pytest.raises(GraphError, match=r"an input reads \['x'\], expected no inputs"):
        verify(graph)


def test_missing_input():
    graph = graph_with()
    graph.nx.remove_node("x")
    with pytest.raises(GraphError, match=r"node 'conv'.*reads 'x', expected an existing node"):
        verify(graph)


def test_cycle():
    graph = graph_with()
    graph.nx.add_edge("relu", "conv")
    with pytest.raises(GraphError, match=r"cycle \(.*conv.*\), expected none"):
        verify(graph)


def test_stray_edge():
    graph = graph_with()
    graph.nx.add_edge("x", "pool")
    with pytest.raises(GraphError, match=r"node 'pool': edges from \['relu', 'x'\]"):
        verify(graph)


def test_outputs_must_exist():
    graph = graph_with()
    graph.outputs = ("head",)
    with pytest.raises(GraphError, match="output 'head' is no node"):
        verify(graph)
    graph.outputs = ()
    with pytest.raises(GraphError, match="no outputs"):
        verify(graph)


def test_foreign_and_misnamed_nodes():
    graph = graph_with()
    graph.nx.add_node("odd", op="a string")
    with pytest.raises(GraphError, match="node 'odd' holds str"):
        verify(graph)
    graph = graph_with()
    graph.nx.add_node("odd", op=InputOp("even", MAP))
    with pytest.raises(GraphError, match="node 'odd' calls itself 'even'"):
        verify(graph)


def test_shared_weights_must_be_equal():
    ops = base_ops()
    second = replace(ops["conv"], name="conv#2", inputs=("conv",), weight=ops["conv"].weight * 2)
    with pytest.raises(GraphError, match=r"'conv#2'.*shared with 'conv' but the numbers differ"):
        verify(LayerGraph("net", [*ops.values(), second], ["linear"]))
    verify(LayerGraph("net", [*ops.values(), replace(second, weights_id="other")], ["linear"]))


def test_references_are_found_in_order():
    assert list(references([Ref("a"), {"k": (Ref("b"), 1)}, Ref("a")])) == ["a", "b", "a"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_numbers_that_are_not_finite_are_refused(value, what):
    verify_numbers(graph_with())
    held = getattr(base_ops()["conv"], what).copy()
    held.flat[-1] = value
    said = rf"net: node 'conv' \[conv \(net\.py:3\)\]: {what} holds NaN or infinity"
    with pytest.raises(GraphError, match=said):
        verify_numbers(graph_with("conv", **{what: held}))
