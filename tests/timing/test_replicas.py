import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import cimsim
from cimsim.errors import MappingError
from cimsim.mapping.allocation import requests_of
from cimsim.mapping.allocation.in_order import InOrder
from cimsim.mapping.allocation.replicas import least_interval
from cimsim.mapping.mapping import layouts, map_graph
from cimsim.timing.analysis import bounds
from cimsim.timing.analysis.replicas import Replicated, Shared, WholeCopies, layer_cost
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from tests.thorough import some
from tests.timing.nets import Net, chip, chips, nets
from tests.timing.test_oracle import compare


@settings(max_examples=60, deadline=None)
@given(
    graph=nets(),
    hardware=chips(
        tile__count=40, array__rows=64, tile__arrays=1, system__chips=1, buffer__overflow="ignore"
    ),
)
def test_costs_are_those_of_the_bounds(graph, hardware):
    """The busiest stage of the plan is the largest cost, for any number of replicas."""
    assume(hardware.interconnect.kind != "mesh")  # there each replica has ways of its own
    requests = requests_of(graph, layouts(graph, hardware))
    single = InOrder().allocate(graph, requests, hardware)
    cost = layer_cost(graph, single, hardware)
    for replicas in (1, 2, 3):
        copies = [replicas] * len(requests)
        mapping = map_graph(graph, hardware, "im2col", InOrder(replicas=copies))
        plan = make_plan(mapping)
        matrices = [job for job in plan.jobs if job.node.kind == "matrix"]
        stages = bounds._stages(tuple(matrices))
        assert max(cost(i, replicas) for i in range(len(requests))) == max(stages.values())


def chain(*sizes):
    net, value = Net(4, 8, 8), "x"
    for channels, stride in sizes:
        value = net.conv(value, channels, stride=stride)
    return net.graph()


def test_spare_arrays_go_to_the_layer_that_sets_the_interval():
    graph = chain((4, 1), (4, 2), (4, 1))  # 64, 16 and 16 windows
    hardware = chip(tile__count=9, interconnect__kind="ideal", buffer__bytes_per_cycle=512)
    mapping = map_graph(graph, hardware, "im2col", WholeCopies())
    # 6, 1, 1 would leave the later layers at 16 windows each
    assert [len(layer.slots) for layer in mapping.layers] == [5, 2, 2]
    alone = simulate(map_graph(graph, hardware), 4).interval
    assert simulate(mapping, 4).interval == pytest.approx(alone * 13 / 64, rel=0.02)


def test_replicas_that_a_shared_bus_makes_useless_are_given_back():
    graph = chain((4, 1), (4, 1))
    narrow = chip(tile__count=60, interconnect__bytes_per_cycle=1)
    wide = chip(tile__count=60, interconnect__kind="ideal")
    few, many = (map_graph(graph, hw, "im2col", WholeCopies()) for hw in (narrow, wide))
    assert few.arrays_used < many.arrays_used
    plan = make_plan(few)
    bus = 2 * 64 * 4  # both layers store 4 bytes for each of 64 windows
    assert bounds.least_interval(plan) == bus


def test_simulation_keeps_what_the_closed_form_promises():
    graph = chain((8, 1), (8, 1), (8, 2))
    hardware = chip(tile__count=200, interconnect__kind="ideal", buffer__bytes_per_cycle=64)
    mapping = map_graph(graph, hardware, "im2col", WholeCopies())
    requests = requests_of(graph, layouts(graph, hardware))
    cost = layer_cost(graph, InOrder().allocate(graph, requests, hardware), hardware)
    job = [cost(i, 1) for i in range(len(requests))]
    even = least_interval(job, [r.layout.n_arrays for r in requests], mapping.arrays_used)
    interval = simulate(mapping, 6).interval
    assert even <= interval
    assert interval <= 1.1 * bounds.least_interval(make_plan(mapping))


# the last: four copies of the busiest layers, which wait for each other a little
NETWORKS = [
    ("fastdvdnet-block", {}, 3.9), *[("cimnet", {"stride": s}, 3.9) for s in (2, 4)],
    ("cimnet", {"stride": 8, "coarse": 1}, 3.87),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "least"), some(NETWORKS, NETWORKS[-1]), ids=str)
def test_copies_come_within_a_tenth_of_the_even_spread(name, options, least):
    """The paper's networks on the default chip, as simulated, not only in closed form."""
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(192, 192))
    hardware = cimsim.load_hw("eflash40nm", {"frames": "resident"})
    requests = requests_of(graph, layouts(graph, hardware))
    cost = layer_cost(graph, InOrder().allocate(graph, requests, hardware), hardware)
    job = [cost(i, 1) for i in range(len(requests))]
    even = least_interval(job, [r.layout.n_arrays for r in requests], hardware.n_arrays)
    found = {}
    for how in (InOrder(), Replicated(), WholeCopies(), Shared()):
        found[how.name] = simulate(map_graph(graph, hardware, "im2col", how), 4).interval
    assert even <= found["replicated"] <= 1.1 * even
    assert found["replicated"] == min(found["shared"], found["whole_copies"])
    assert found["whole_copies"] < found["in_order"] / least


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    graph=nets(),
    hardware=chips(tile__count=60, array__rows=64, buffer__overflow="ignore"),
    frames=st.integers(1, 3),
)
def test_shared_copies_follow_the_rules(graph, hardware, frames):
    mapping = map_graph(graph, hardware, "im2col", Shared())
    timeline = simulate(mapping, frames)
    compare(mapping, frames, "pipelined")
    assert timeline.cycles >= bounds.bounds(mapping, frames).lower


def three_sizes():
    net = Net(3, 8, 8)
    net.conv(net.conv(net.conv("x", 16), 64), 64)
    return net.graph()


@pytest.mark.parametrize("tiles", [6, 7, 8, 10])
@pytest.mark.parametrize("how", [WholeCopies(), Shared(), Replicated()], ids=lambda how: how.name)
def test_a_copy_never_lies_on_two_chips(how, tiles):
    hardware = chip(
        tile__count=tiles, tile__arrays=1, array__rows=256, array__cols=32, system__chips=2,
        buffer__overflow="ignore",
    )  # fmt: skip
    mapping = map_graph(three_sizes(), hardware, "im2col", how)
    for layer in mapping.layers:
        for slots in layer.slots:
            assert len({slot.tile // tiles for slot in slots}) == 1
    assert simulate(mapping, 2).interval <= simulate(map_graph(three_sizes(), hardware), 2).interval


def test_copies_find_room_where_only_one_of_the_two_ways_does():
    graph = chain((4, 1), (4, 1), (4, 1), (4, 1))
    small = chip(tile__count=2, tile__arrays=1, array__rows=128, buffer__overflow="ignore")
    shared = map_graph(graph, small, "im2col", Shared())
    assert map_graph(graph, small, "im2col", Replicated()).layers == shared.layers
    with pytest.raises(MappingError, match="needs 4 arrays"):
        map_graph(graph, small, "im2col", WholeCopies())
    nothing = chip(tile__count=1, tile__arrays=1, array__rows=36, array__cols=8)
    with pytest.raises(MappingError, match="needs 4 arrays"):
        map_graph(graph, nothing, "im2col", Replicated())
