"""Frames that no tile holds are read where they are, not copied to where they were already."""

from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net, chip


def test_a_frame_that_no_tile_holds_passes_the_port_as_often_as_windows_ask_for_it():
    net = Net(4, 6, 6)
    net.conv("x", 4, 3)
    hardware = {
        "frames": "dram", "dram": {"bytes_per_cycle": 4}, "interconnect__kind": "ideal",
        "buffer__overflow": "spill",
    }  # fmt: skip
    roomy = simulate(map_graph(net.graph(), chip(buffer__size="1 KiB", **hardware)), 1)
    tight = simulate(map_graph(net.graph(), chip(buffer__size="40 B", **hardware)), 1)
    assert not roomy.spilled
    assert tight.spilled == {("x", "m1"): "dram"}
    ports = [{r.name: r.busy for r in t.resources}["dram 0"] for t in (roomy, tight)]
    # 36 pixels of 4 bytes come in and 36 go out, 4 bytes a cycle
    assert ports[0] == 72
    # rows of 6 windows: the first reads 9 pixels, the others one new column of 3; padding counts
    assert ports[1] == 6 * (9 + 5 * 3) + 36
