"""Bytes that travel cost what the cycle engine moves."""

from dataclasses import replace

import pytest

from cimsim.energy.idle import working
from cimsim.energy.model import energy, programming
from cimsim.energy.transport import transport
from cimsim.mapping.mapping import Slot, map_graph
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip, moved

PRICES = {
    "interconnect__energy": "1 pJ/B", "global_buffer__read_energy": "10 pJ/B",
    "global_buffer__write_energy": "20 pJ/B",
}  # fmt: skip


def two_layers(size=6):
    net = Net(4, size, size)
    net.conv(net.conv("x", 4, 1), 4, 1)
    return net.graph()


def test_a_byte_costs_as_often_as_it_takes_a_link():
    """One value of 4 bytes for each of 36 windows goes from tile 0 to tile ``step``."""
    hardware = chip(interconnect__kind="mesh", tile__count=16, **PRICES)
    mapping = map_graph(two_layers(), hardware)
    for step, hops in ((1, 1), (5, 2), (15, 6)):
        found = transport(moved(mapping, step, [0, 0]))
        assert found["m1"]["interconnect"] == pytest.approx(36 * 4 * hops * 1e-12)
        assert not found["m2"]  # nobody reads it
    bus = transport(map_graph(two_layers(), chip(**PRICES)))
    assert bus["m1"]["interconnect"] == bus["m2"]["interconnect"] == pytest.approx(144e-12)
    ideal = transport(map_graph(two_layers(), chip(interconnect__kind="ideal", **PRICES)))
    assert not any(ideal.values())


def test_links_between_chips_have_their_own_price():
    system = {"chips": 2, "energy": "100 pJ/B"}
    hardware = chip(system=system, tile__count=4, **PRICES)
    mapping = moved(map_graph(two_layers(), hardware), 1, [0, 1])
    # a bus on either side of the link
    found = transport(mapping)["m1"]["interconnect"]
    assert found == pytest.approx(144 * (1 + 100 + 1) * 1e-12)


@pytest.mark.parametrize("kind", ["mesh", "bus"])
def test_a_layer_on_two_chips_pays_for_its_input_and_its_sums_on_every_way(kind):
    """36 windows; 192 bytes in, 8 sums of 4 bytes from each of two arrays of chip 1."""
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 192, 1), 8, 1)
    hardware = chip(
        interconnect__kind=kind, tile__count=4, array__cols=192,
        system={"chips": 2, "energy": "100 pJ/B"}, **PRICES,
    )  # fmt: skip
    mapping = map_graph(net.graph(), hardware)
    places = (Slot(0, 0),), (Slot(1, 0), Slot(5, 0), Slot(6, 0))
    layers = [replace(m, slots=(s,)) for m, s in zip(mapping.layers, places, strict=True)]
    found = transport(replace(mapping, layers=tuple(layers)))
    # mesh: gateway 0 to 1, and over the link to 4 and 5; sums 6 to 5 (two links), 5, 4, 0, 1
    ways = {"mesh": (2, 4), "bus": (2, 3)}[kind]
    assert found["m1"]["interconnect"] == pytest.approx(36 * 192 * (ways[0] + 100) * 1e-12)
    stored = 36 * 8 if kind == "bus" else 0  # of what the network gives out, on its own bus
    sums = 36 * 32 * (ways[1] + 100) * 1e-12
    assert found["m2"]["interconnect"] == pytest.approx(sums + stored * 1e-12)


def test_frames_that_stream_pay_at_the_port():
    hardware = chip(frames="global_buffer", interconnect__kind="ideal", **PRICES)
    row = energy(map_graph(two_layers(), hardware), 1e-3).by_layer["(chip)"]
    resident = chip(interconnect__kind="ideal", **PRICES)
    same = energy(map_graph(two_layers(), resident), 1e-3).by_layer["(chip)"]
    assert row["global_buffer"] == pytest.approx(144 * (10 + 20) * 1e-12)
    assert row["global_buffer"] == pytest.approx(same["global_buffer"])
    dram = {"bytes_per_cycle": 4, "energy": "200 pJ/B"}
    far = chip(frames="dram", dram=dram, **PRICES)
    report = energy(map_graph(two_layers(), far), 1e-3)
    assert report.by_component["dram"] == pytest.approx(2 * 144 * 200e-12)
    assert report.by_component["global_buffer"] == 0


def test_spilled_pixels_are_written_and_read_at_the_port():
    net = Net(4, 8, 8)
    early = deep = net.conv("x", 4)
    for _ in range(4):
        deep = net.conv(deep, 4)
    net.add(deep, early)
    hardware = chip(buffer__size="100 B", buffer__overflow="global_buffer", **PRICES)
    mapping = map_graph(net.graph(), hardware)
    timeline = simulate(mapping)
    assert (early, deep) in timeline.spilled
    found = transport(mapping, timeline.spilled)
    # 64 pixels of 4 bytes: written once; the addition reads each of them once
    assert found[early]["global_buffer"] == pytest.approx(256 * 20e-12)
    skip = transport(mapping, [(early, deep)])[deep]["global_buffer"]
    assert skip == pytest.approx(256 * 10e-12)
    spent = energy(mapping, 1e-3, spilled=timeline.spilled).by_component
    assert spent["global_buffer"] > energy(mapping, 1e-3).by_component["global_buffer"]


def test_writing_the_chip_in_each_frame_is_charged():
    hardware = chip(tile__count=1, programming__reload="allow")
    mapping = map_graph(two_layers(), hardware)
    assert mapping.loads == 2
    spent = energy(mapping, 1e-3).by_component["programming"]
    assert spent == programming(mapping)["energy_j"] > 0
    assert energy(map_graph(two_layers(), chip()), 1e-3).by_component["programming"] == 0


def test_spilled_pixels_take_no_room_on_tiles():
    hardware = chip(buffer__size="100 B", buffer__overflow="global_buffer", **PRICES)
    mapping = map_graph(two_layers(), hardware)
    rows = [energy(mapping, 1e-3, spilled=spilled).by_layer for spilled in ([], [("m1", "m2")])]
    saved = rows[0]["m1"]["buffer"] - rows[1]["m1"]["buffer"]
    assert saved == pytest.approx(144 * hardware.buffer.write_energy_j_b)


@pytest.mark.parametrize("idle", ["clock_gated", "power_gated"])
def test_tiles_are_on_while_they_are_written(idle):
    """Nearly all of the frame is writing: gating must save next to nothing of the written tile."""
    tile = {
        "tile__count": 1, "tile__idle": idle, "tile__static_power": "1 mW",
        "tile__clock_power": "1 mW", "programming__reload": "allow", "static_power": "0 W",
    }  # fmt: skip
    mapping = map_graph(two_layers(), chip(**tile))
    timeline = simulate(mapping)
    period = timeline.interval_s(mapping.chip.process.clock_hz)
    times = working(mapping, timeline)
    assert sum(times[f"load {load}"] for load in (0, 1)) > 0.99 * period
    gated = energy(mapping, period, working_s=times).by_component["static"]
    assert gated == pytest.approx(energy(mapping, period).by_component["static"], rel=0.01)
