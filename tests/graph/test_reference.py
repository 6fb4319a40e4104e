import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.engine.execute import _apply
from cimsim.errors import GraphError, InputError, SimulationError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp, Ref, TensorSpec, Window
from cimsim.graph.reference import apply_digital, apply_matrix, run, torch_weights

SPEC = TensorSpec((1, 3, 6, 6))


def conv_op(name, source, conv, spec=SPEC):
    weight = conv.weight.detach().numpy().transpose(2, 3, 1, 0)
    k_y, k_x, c_in, c_out = weight.shape
    pad = conv.padding[0]
    window = Window((k_y, k_x), conv.stride, (pad, pad, pad, pad))
    height, width = window.positions(*spec.grid)
    return MatrixOp(
        name,
        (source,),
        spec,
        TensorSpec((spec.shape[0], c_out, height, width)),
        np.ascontiguousarray(weight.reshape(1, k_y * k_x * c_in, c_out)),
        None if conv.bias is None else conv.bias.detach().numpy(),
        window,
        (c_out, 1, 1),
        weights_id=name,
        source="net.py:1",
    )


def digital(name, target, *inputs, spec=SPEC, args=None, **kwargs):
    args = tuple(Ref(i) for i in inputs) if args is None else args
    return DigitalOp(name, inputs, spec, name, target, args, kwargs, locality="pointwise")


@pytest.fixture
def small():
    torch.manual_seed(0)
    convs = [nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1, bias=False)]
    ops = [
        InputOp("x", SPEC),
        conv_op("c1", "x", convs[0]),
        digital("relu", torch.relu, "c1"),
        conv_op("c2", "relu", convs[1]),
        digital("mix", torch.add, "c2", "x", alpha=0.5),
    ]
    graph = LayerGraph("small", ops, ["mix", "relu"])

    def module(x):
        hidden = torch.relu(convs[0](x))
        return convs[1](hidden) + 0.5 * x, hidden

    return graph, module


def test_equals_the_module_and_any_number_of_frames(small):
    graph, module = small
    for batch in (1, 3):
        x = torch.randn(batch, *SPEC.shape[1:])
        with torch.no_grad():
            expected = module(x)
        found = run(graph, x)
        assert graph.reference(x)[0].equal(found[0])
        for y, z in zip(found, expected, strict=True):
            torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)
            assert not y.requires_grad


def test_capture_sees_the_input_of_every_matrix_in_order(small):
    graph, _ = small
    seen = []
    x = torch.randn(2, *SPEC.shape[1:])
    _, hidden = run(graph, x, capture=lambda op, value: seen.append((op.name, value.clone())))
    assert [name for name, _ in seen] == ["c1", "c2"] * 2
    assert seen[0][1].equal(x[:1])
    assert seen[2][1].equal(x[1:])
    assert seen[3][1].equal(hidden[1:])


def test_values_are_freed_after_their_last_use():
    born = []

    def track(x):
        y = x + 1
        born.append(weakref.ref(y))
        return y

    def check(x):
        gc.collect()
        alive = [ref() is not None for ref in born]
        assert alive == [False, True]
        return x * 2

    ops = [
        InputOp("x", SPEC),
        digital("a", track, "x"),
        digital("b", track, "a"),
        digital("c", check, "b"),
        digital("d", torch.neg, "c"),
    ]
    (y,) = run(LayerGraph("chain", ops, ["d"]), torch.zeros(SPEC.shape))
    assert y.eq(-4).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), r"got 0 inputs, expected 1 \(x\)"),
        ((torch.zeros(1, 3, 6, 7),), r"input 'x' has shape \[1, 3, 6, 7\], expected \[k \* 1, 3, "),
        ((torch.zeros(3, 6, 6),), "input 'x' has shape"),
        ((torch.zeros(0, 3, 6, 6),), "input 'x' has shape"),
        ((torch.zeros(1, 3, 6, 6, dtype=torch.float64),), "float64, expected float32"),
    ],
)
def test_wrong_inputs_are_named(small, inputs, message):
    with pytest.raises(InputError, match=message):
        run(small[0], *inputs)


def test_inputs_must_hold_equally_many_frames():
    ops = [InputOp("x", SPEC), InputOp("y", SPEC), digital("add", torch.add, "x", "y")]
    graph = LayerGraph("two", ops, ["add"])
    with pytest.raises(InputError, match=r"'x': 2, 'y': 1"):
        run(graph, torch.zeros(2, 3, 6, 6), torch.zeros(1, 3, 6, 6))


def test_failing_node_is_named_with_operator_and_source():
    def broken(x):
        raise RuntimeError("no such luck")

    op = DigitalOp(
        "head.act", ("x",), SPEC, "act", broken, (Ref("x"),), source="head (nets/head.py:7)"
    )
    graph = LayerGraph("net", [InputOp("x", SPEC), op], ["head.act"])
    pattern = r"net: node 'head.act' \(act\) \[head \(nets/head.py:7\)\]: no such luck"
    with pytest.raises(GraphError, match=pattern):
        run(graph, torch.zeros(SPEC.shape))


def test_wrong_result_shape_is_an_error():
    graph = LayerGraph("net", [InputOp("x", SPEC), digital("sum", torch.sum, "x")], ["sum"])
    with pytest.raises(GraphError, match=r"computed shape \[\], expected \[1, 3, 6, 6\]"):
        run(graph, torch.zeros(SPEC.shape))


def test_digital_op_fills_nested_references():
    op = digital("cat", torch.cat, "a", "b", args=([Ref("a"), Ref("b")],), dim=1)
    a, b = torch.randn(1, 2, 2), torch.randn(1, 3, 2)
    assert apply_digital(op, {"a": a, "b": b}).equal(torch.cat([a, b], 1))


def test_weights_come_back_as_torch_has_them():
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 5, (2, 3))
    op = conv_op("c", "x", conv)
    weight, bias = torch_weights(op)
    assert weight.equal(conv.weight)
    assert bias.equal(conv.bias)
    x = torch.randn(SPEC.shape)
    with torch.no_grad():
        torch.testing.assert_close(apply_matrix(op, x), conv(x))
        # the caller's arrays are never written or shared
        bias.zero_()
    assert op.bias.any()


@pytest.mark.parametrize(
    ("index", "kind"), [(50, nn.Embedding), (-2, nn.Embedding), (77, nn.EmbeddingBag)]
)
def test_an_index_that_a_table_has_no_row_for_is_named(index, kind):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = kind(50, 12), nn.Linear(12, 4)

        def forward(self, x):
            return self.layer(self.table(x))

    graph = cimsim.trace(Words().eval(), (torch.zeros(1, 6, dtype=torch.int64),))
    asked = torch.tensor([[3, 1, index, 4, 49, 0]])
    told = rf"index {index} is none of its table's 50 rows, 0 \.\. 49; .*--input-shape 1x6:int50"
    with pytest.raises(GraphError, match=told):
        graph.reference(asked)
    (op,) = (op for op in graph.digital_ops if op.op.startswith("embedding"))
    if kind is nn.Embedding:  # a chip that is asked without the reference
        with pytest.raises(SimulationError, match=told):
            _apply(op, {op.inputs[0]: asked})
