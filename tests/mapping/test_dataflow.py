import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.graph.ir import DigitalOp, InputOp, MatrixOp, Window
from cimsim.mapping.dataflow import Dependency, _compose, nodes
from tests.timing.nets import Net, nets


def by_name(net, *outputs):
    return {node.name: node for node in nodes(net.graph(*outputs))}


def test_activation_and_residual_ride_on_the_last_layer():
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    first_out = net.relu(first)
    second = net.conv(first_out, 4)
    net.relu(net.add(second, first_out))
    found = by_name(net)
    assert list(found) == ["x", first, second]
    assert [op.op for op in found[first].fused] == ["relu"]
    assert [op.op for op in found[second].fused] == ["add", "relu"]
    assert found[second].dependencies == (
        Dependency(first, Window((3, 3), padding=(1, 1, 1, 1))),
        Dependency(first, Window(), "post"),
    )
    assert found[first].vector_ops == 4
    assert found[second].vector_ops == 8
    # only what somebody else reads is stored
    assert [found[name].stored for name in (first, second)] == [4, 4]


def test_both_values_are_stored_when_both_are_read():
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    kept = net.relu(first)
    net.conv(kept, 4)
    net.conv(first, 4)
    assert by_name(net)[first].stored == 8


def test_a_block_waits_for_its_whole_counterpart():
    net = Net(4, 6, 6)
    fine = net.conv("x", 4, block=2)
    coarse = net.conv(fine, 4, stride=2)
    up = net.conv(coarse, 4, block=2)
    net.add(up, fine)
    found = by_name(net)
    assert found[up].block == (2, 2)
    assert found[up].grid == (6, 6)
    assert Dependency(fine, Window((2, 2), (2, 2)), "post") in found[up].dependencies
    assert found[up].stored == 16


def test_an_operand_of_a_later_node_keeps_the_operation_apart():
    # conv -> pool of it -> both joined: the addition cannot ride on the convolution
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    later = net.digital("blur", first, locality="window", cost=9.0,
                        window=Window((3, 3), padding=(1, 1, 1, 1)))  # fmt: skip
    joined = net.add(first, later)
    found = by_name(net)
    assert found[first].fused == ()
    assert [op.name for op in found[later].fused] == [joined]  # it rides on the later one
    assert Dependency(first, Window(), "post") in found[later].dependencies


def test_an_operand_behind_a_view_cannot_make_a_node_wait_for_itself():
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    halves = net.cat(net.conv(first, 2), net.conv(first, 2))
    total = net.add(first, halves)
    found = by_name(net)
    assert found[first].fused == ()
    assert found[total].kind == "vector"
    assert {dependency.producer for dependency in found[total].dependencies} == {first, "m2", "m3"}


def test_free_operations_pass_dependencies_through():
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    crop = net.digital(
        "crop",
        first,
        locality="window",
        cost=0.0,
        window=Window((3, 1), (1, 1)),
        shape=(1, 4, 6, 6),
    )
    assert net.shape(crop) == (1, 4, 4, 6)
    last = net.conv(crop, 4, stride=2)
    found = by_name(net)
    assert list(found) == ["x", first, last]
    # row y of the crop reads rows y .. y + 2: three rows of it read five
    assert found[last].dependencies == (Dependency(first, Window((5, 3), (2, 2), (1, 1, 1, 1))),)
    flat = Net(4, 6, 6)
    first = flat.conv("x", 4)
    moved = flat.digital("shuffle", first, locality="barrier", cost=0.0)
    last = flat.conv(moved, 4)
    assert by_name(flat)[last].dependencies == (Dependency(first, None),)


def test_pooling_and_global_operations_are_nodes_of_their_own():
    net = Net(4, 6, 6)
    first = net.conv("x", 4)
    pooled = net.pool(first)
    whole = net.digital("norm", pooled, locality="barrier", cost=3.0)
    found = by_name(net)
    assert (found[pooled].kind, found[pooled].grid) == ("vector", (3, 3))
    assert (found[pooled].vector_ops, found[pooled].stored) == (16, 4)
    assert found[pooled].dependencies == (Dependency(first, Window((2, 2), (2, 2))),)
    assert (found[whole].grid, found[whole].block) == ((1, 1), (3, 3))
    assert (found[whole].vector_ops, found[whole].stored) == (3 * 36, 36)
    assert found[whole].dependencies == (Dependency(pooled, None),)


@given(
    outer=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)),
    inner=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)),
    position=st.integers(0, 9),
)
def test_composed_windows_cover_what_both_read(outer, inner, position):
    (k, s, p), (kk, ss, pp) = outer, inner
    both = _compose(Window((k, k), (s, s), (p,) * 4), Window((kk, kk), (ss, ss), (pp,) * 4))
    middle = range(position * s - p, position * s - p + k)
    read = [m * ss - pp + i for m in middle for i in range(kk)]
    first = position * both.stride[0] - both.padding[0]
    assert (first, first + both.extent[0] - 1) == (min(read), max(read))


@given(graph=nets(8))
def test_nodes_are_in_order_and_complete(graph):
    found = nodes(graph)
    place = {node.name: index for index, node in enumerate(found)}
    assert [u.name for u in found if isinstance(u.op, InputOp | MatrixOp)] == [
        op.name for op in graph if isinstance(op, InputOp | MatrixOp)
    ]
    for node in found:
        assert all(
            place[dependency.producer] < place[node.name] for dependency in node.dependencies
        )
        height, width = node.op.output.grid
        assert (node.grid[0] * node.block[0], node.grid[1] * node.block[1]) == (height, width)
    # every costed operation is charged exactly once
    inside = [op.name for u in found for op in (u.op, *u.fused) if isinstance(op, DigitalOp)]
    costed = [op.name for op in graph.digital_ops if op.ops_per_element]
    assert sorted(inside) == sorted(costed)
    work = sum(node.windows * node.vector_ops for node in found)
    assert work == pytest.approx(
        math.fsum(op.ops_per_element * op.output.per_frame for op in graph.digital_ops)
    )
    # whatever leaves the network is stored somewhere
    values = {name: graph[name].output.per_frame for name in graph.outputs}
    assert sum(node.windows * node.stored for node in found) >= sum(
        size for name, size in values.items() if not name.startswith("cat")
    )
