"""Chips that are filled several times for each frame."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.area import area
from cimsim.chip.rescale import with_arrays
from cimsim.errors import MappingError
from cimsim.mapping.files import from_data, to_data
from cimsim.mapping.mapping import Mapping, map_graph
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip
from tests.timing.test_oracle import compare

WRITTEN = {
    "programming__reload": "allow", "programming__t_erase": "100 ns",
    "programming__t_pulse": "2 ns", "programming__pulses_per_cell": 3,
    "programming__parallel_cells": 8,
}  # fmt: skip


def chain(layers=4, channels=4):
    net, name = Net(channels, 6, 6), "x"
    for _ in range(layers):
        name = net.conv(name, channels)
    return net.graph()


def test_a_chip_that_may_be_rewritten_takes_a_network_in_loads():
    mapping = map_graph(chain(5), chip(tile__count=2, **WRITTEN))
    assert mapping.allocation == "loads"
    assert [layer.load for layer in mapping.layers] == [0, 0, 1, 1, 2]
    assert (mapping.loads, mapping.arrays_used, mapping.arrays_written) == (3, 2, 5)
    assert mapping.utilisation == map_graph(chain(5), chip(tile__count=5)).utilisation
    again = from_data(to_data(mapping), mapping.graph, mapping.chip)
    assert again.layers == mapping.layers


def test_each_load_costs_its_writing_and_loads_do_not_overlap():
    hardware = chip(tile__count=2, interconnect__kind="ideal", **WRITTEN)
    mapping = map_graph(chain(4), hardware)
    # an array: 36 x 4 weights of two cells, 8 at once, 3 pulses of 2 ns; 100 ns to erase it
    writing = 2 * 100 + 2 * (36 * 4 * 2 // 8) * 3 * 2
    timeline = simulate(mapping, 2, trace=True)
    names = [node.name for node in timeline.nodes]
    assert names == ["load 0", "m1", "m2", "load 1", "m3", "m4"]
    assert timeline.nodes[0].busy[4] == timeline.nodes[3].busy[4] == 2 * writing
    trace = timeline.trace
    for frame in (0, 1):
        rows = {name: (trace.node == u) & (trace.frame == frame) for u, name in enumerate(names)}
        first, second = rows["load 0"], rows["load 1"]
        assert trace.enter[rows["m1"], 0].min() == trace.stored[first].item()
        assert trace.enter[second, 0].item() == trace.stored[rows["m2"]].max()
        assert trace.enter[rows["m3"], 0].min() == trace.stored[second].item()
    half = simulate(map_graph(chain(2), chip(tile__count=2, interconnect__kind="ideal")), 1)
    assert timeline.cycles_first_frame == 2 * (writing + half.cycles)
    assert timeline.interval == timeline.cycles_first_frame


def test_flash_refuses_and_says_what_it_would_take():
    slow = chip(tile__count=2)
    with pytest.raises(MappingError, match=r"needs 4 arrays.* Ways out: a larger chip"):
        map_graph(chain(), slow)
    with pytest.raises(MappingError, match=r"written 2 times for each frame, in .* --allow-reprog"):
        map_graph(chain(), slow, "im2col", "loads")
    with pytest.raises(
        MappingError, match="'m1' alone needs 3 arrays"
    ):  # one layer alone is too much
        map_graph(chain(1, 20), chip(tile__count=2, **WRITTEN), "im2col", "loads")


def test_a_layer_without_room_is_told_what_its_ways_out_cost():
    network, few = chain(1, 20), {"tile__count": 2, **WRITTEN}
    with pytest.raises(MappingError) as error:
        map_graph(network, chip(**few), "im2col", "loads")
    text = str(error.value)
    assert re.search(r"--set tile\.count=3: \d+ % more area", text)
    assert "--set system.chips=2: 2 times the area" in text
    found = re.search(
        r"rows=(\d+) --set array.cols=(\d+), of which it needs (\d+): (\d+) % more area", text
    )
    rows, cols, arrays, more = map(int, found.groups())
    larger = with_arrays(chip(**few), rows, cols)  # numbers that follow the size with it
    mapping = map_graph(network, larger, "im2col", "loads")
    assert arrays == max(layer.layout.n_arrays for layer in mapping.layers) <= 2
    gained = sum(area(larger).values()) / sum(area(chip(**few)).values()) - 1
    assert gained == pytest.approx(more / 100, abs=0.005)


def test_larger_arrays_hold_each_load_and_not_all_layers_at_once():
    network, few = chain(4, 20), {"tile__count": 2, **WRITTEN}
    with pytest.raises(MappingError) as error:
        map_graph(network, chip(**few), "im2col", "loads")
    found = re.search(r"rows=(\d+) --set array.cols=(\d+),", str(error.value))
    rows, cols = map(int, found.groups())
    mapping = map_graph(network, chip(array__rows=rows, array__cols=cols, **few), "im2col", "loads")
    assert mapping.loads > 1


def test_writing_must_have_a_duration():
    unknown = WRITTEN | {"programming__t_pulse": "0 s", "programming__t_erase": "0 s"}
    with pytest.raises(MappingError, match=r"programming\.t_pulse: .* how long writing takes"):
        map_graph(chain(), chip(tile__count=2, **unknown))


def test_weights_that_are_needed_again_after_the_next_load_are_refused():
    net = Net(4, 6, 6)
    first = net.conv("x", 4, weights_id="same")
    net.conv(net.conv(first, 4), 4, weights_id="same")
    with pytest.raises(MappingError, match="'same' is used again by 'm3' after the chip was writt"):
        map_graph(net.graph(), chip(tile__count=1, **WRITTEN))


def test_layers_out_of_turn_are_refused():
    mapping = map_graph(chain(2), chip(**WRITTEN))
    late = (replace(mapping.layers[0], load=1), mapping.layers[1])
    with pytest.raises(MappingError, match="'m2' is in load 0, but comes after layers of load 1"):
        Mapping(mapping.graph, mapping.chip, "mine", late)


@settings(max_examples=25)
@given(
    layers=st.integers(2, 5), tiles=st.integers(1, 3), frames=st.integers(1, 3),
    schedule=st.sampled_from(["pipelined", "sequential"]),
    where=st.sampled_from(["resident", "global_buffer"]),
)  # fmt: skip
def test_every_cycle_is_that_of_the_simpy_model(layers, tiles, frames, schedule, where):
    mapping = map_graph(chain(layers), chip(tile__count=tiles, frames=where, **WRITTEN))
    compare(mapping, frames, schedule)
    kinds = [job.node.kind for job in make_plan(mapping).jobs]
    assert kinds.count("program") == (mapping.loads if mapping.loads > 1 else 0)
