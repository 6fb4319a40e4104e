"""Parts of a network: against brute force over paths, and against an interpreter that replaces."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cimsim
from cimsim.errors import InputError
from cimsim.graph.cutting import (
    Cut,
    branches,
    changed,
    find,
    gone,
    handed_on,
    largest,
    layers,
    matrices,
    parts,
    rest_of,
    without,
)
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, Ref, TensorSpec
from cimsim.graph.verify import verify

SPEC = TensorSpec((1, 2, 2, 2))
ATEN = torch.ops.aten
BINARY = {"add": ATEN.add.Tensor, "sub": ATEN.sub.Tensor, "mul": ATEN.mul.Tensor}


def node(name, kind, sources):
    target = BINARY.get(kind, ATEN.relu.default)
    refs = tuple(Ref(source) for source in sources)
    inputs = tuple(dict.fromkeys(sources))
    return DigitalOp(name, inputs, SPEC, kind, target, refs, {}, "pointwise", 1.0)


@st.composite
def networks(draw):
    """Two inputs, a few additions, products and rectifiers, one or two outputs."""
    ops = [InputOp("x", SPEC), InputOp("y", SPEC)]
    for n in range(draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(["add", "add", "sub", "mul", "relu"]))
        known = [op.name for op in ops]
        count = 1 if kind == "relu" else 2
        ops.append(node(f"n{n}", kind, [draw(st.sampled_from(known)) for _ in range(count)]))
    names = [op.name for op in ops[2:]]
    outputs = {names[-1], draw(st.sampled_from(names))}
    return LayerGraph("net", ops, sorted(outputs))


@st.composite
def cut_networks(draw):
    """A network with one or two cuts: of a value for all, or of one operand of an addition."""
    graph = draw(networks())
    known = [Cut(op.name) for op in graph if not isinstance(op, InputOp)]
    known += [cut for part in branches(graph) for cut in part.cuts]
    return graph, draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))


def on_a_path(graph, cuts):
    """Nodes on a path from an input to an output that no cut interrupts, all paths tried."""
    found = set()
    whole = {cut.value for cut in cuts if cut.reader is None}

    def walk(path):
        name = path[-1]
        if name in whole:
            return
        if name in graph.outputs:
            found.update(path)
        for reader in graph.consumers(name):
            if Cut(name, reader) not in cuts:
                walk([*path, reader])

    for op in graph.inputs:
        walk([op.name])
    return found


def interpreted(graph, inputs, replaced):
    """Every node in turn, with other values where cuts are; float64."""
    values = {}
    for op in graph:
        if isinstance(op, InputOp):
            values[op.name] = inputs[op.name]
        else:
            read = []
            for ref in op.args:
                cut = Cut(ref.name, op.name)
                held = replaced.get(cut, values[ref.name])
                read.append(torch.zeros(SPEC.shape) if held is None else held)
            values[op.name] = op.target(*read)
        if Cut(op.name) in replaced:
            held = replaced[Cut(op.name)]
            values[op.name] = torch.zeros(SPEC.shape) if held is None else held
    return values


@settings(max_examples=200, deadline=None)
@given(cut_networks())
def test_what_goes_is_what_no_path_needs(case):
    graph, cuts = case
    assert gone(graph, cuts) == on_a_path(graph, []) - on_a_path(graph, cuts)


@settings(max_examples=200, deadline=None)
@given(cut_networks(), st.integers(0, 99), st.booleans())
def test_the_network_that_is_left_computes_what_replacing_values_does(case, seed, by_nothing):
    graph, cuts = case
    generator = torch.Generator().manual_seed(seed)

    def values():
        return torch.randint(-3, 4, SPEC.shape, generator=generator).float()

    inputs = {"x": values(), "y": values()}
    replaced = {cut: None if by_nothing else values() for cut in cuts}
    expected = interpreted(graph, inputs, replaced)
    left = without(graph, replaced)
    verify(left)
    found = left.reference(*(inputs[op.name] for op in left.inputs))
    for name, value in zip(graph.outputs, found, strict=True):
        assert torch.equal(value, expected[name])
    # and what is not on a path any more is not among its operations
    lost = gone(graph, cuts) - set(left.outputs)
    assert not lost & {op.name for op in left}

    before = interpreted(graph, inputs, {})
    rest = rest_of(left, changed(graph, cuts))
    again = rest.reference(*(before[op.name] for op in rest.inputs))
    for name, value in zip(graph.outputs, again, strict=True):
        assert torch.equal(value, expected[name])
    same = {op.name for op in graph} - changed(graph, cuts)
    assert all(torch.equal(before[name], expected[name]) for name in same)


def traced(name, **options):
    network = cimsim.load_network(name, options, "random")
    return cimsim.trace(network.module, network.example(32, 32))


@pytest.mark.parametrize(("stride", "n"), [(2, 12), (8, 12)])
def test_the_coarse_path_of_cimnet_carries_twelve_of_fourteen_matrices(stride, n):
    graph = traced("cimnet", stride=stride, coarse=1)
    carried = {p.name: len(list(matrices(graph, gone(graph, p.cuts)))) for p in branches(graph)}
    assert carried == {
        "block1.encode.5": 0, "block1.up2.act": 6, "block1.smooth_in.act": 0, "block1.up1.act": n,
    }  # fmt: skip
    assert [part.name for part in layers(graph)] == [op.name for op in graph.matrix_ops]


def test_a_layer_hands_on_what_is_behind_its_relu():
    graph = traced("cimnet", stride=8, coarse=1)
    assert handed_on(graph, "block1.smooth_in.fc") == "block1.smooth_in.act"
    assert handed_on(graph, "block1.smooth_out.fc") == "block1.smooth_out.fc"
    # an addition reads two values: it is no part of the layer
    block = traced("fastdvdnet-block")
    assert handed_on(block, "upc1.convblock.1") == "upc1.convblock.1"


def test_matrices_that_a_frame_uses_several_times_go_as_one():
    graph = traced("fastdvdnet")
    found = layers(graph)
    assert sorted({len(part.cuts) for part in found}) == [1, 3]
    assert len(found) == 32
    with_layers = [p for p in branches(graph) if any(matrices(graph, gone(graph, p.cuts)))]
    uses = {p.label: len(p.cuts) for p in with_layers}
    assert set(uses.values()) == {1, 3}
    assert len({part.label for part in parts(graph)}) == len(parts(graph))


def test_parts_are_found_by_name_by_label_and_by_module():
    graph = traced("cimnet", stride=8, coarse=1)
    assert [p.label for p in find(graph, ["block1.up1"])] == [
        "branch block1.up1.act", "layer block1.up1.fc",
    ]  # fmt: skip
    assert [p.label for p in find(graph, ["layer block1.up1.fc"])] == ["layer block1.up1.fc"]
    with pytest.raises(InputError, match=r"no layer or branch 'block1\.up3'.*block1\.up"):
        find(graph, ["block1.up3"])


def test_an_operand_that_several_additions_read_is_named_with_its_addition():
    graph = LayerGraph(
        "net",
        [InputOp("x", SPEC), node("r", "relu", ["x"]), node("a", "add", ["x", "r"]),
         node("b", "add", ["a", "r"])],
        ["b"],
    )  # fmt: skip
    assert [p.name for p in branches(graph)] == ["x", "r -> a", "a", "r -> b"]


def test_of_parts_inside_each_other_the_largest_is_told():
    graph = traced("cimnet", stride=8, coarse=1)
    lost = {part: gone(graph, part.cuts) for part in parts(graph)}
    coarse = {p: nodes for p, nodes in lost.items() if "smooth" not in p.name}
    assert [p.name for p in largest(coarse)] == ["block1.up1.act"]
    for one, two in itertools.combinations(largest(lost), 2):
        assert not lost[one] <= lost[two] or not lost[two] <= lost[one]
