import pytest

from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.bounds import bounds, services_per_frame
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from tests.timing.nets import Duplicates, Net, chip, replicated


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("replicas", [1, 2, 7])
def test_loads_are_those_of_the_activations_one_by_one(windows, replicas):
    net = Net(4, 5, 9)
    net.conv("x", 4)
    mapping = map_graph(net.graph(), chip(buffer__bytes_per_cycle=1), Duplicates(windows))
    (job,) = make_plan(replicated(mapping, [replicas])).jobs
    expected, rows = [[0, 0] for _ in range(replicas)], [None] * replicas
    for g in range(-(-45 // windows)):
        row, replica = g * windows // 9, g % replicas
        expected[replica][row == rows[replica]] += 1
        rows[replica] = row
    found = [list(services_per_frame(job, replica)) for replica in range(replicas)]
    assert found == expected


def test_bounds_are_reached():
    net = Net(4, 6, 6)
    net.conv("x", 4)
    mapping = map_graph(net.graph(), chip(interconnect__kind="ideal"))
    serial = make_plan(mapping).jobs[0].services[0].serial
    assert bounds(mapping, 2).lower == 2 * 36 * 10
    assert simulate(mapping, 2).cycles == 2 * 36 * 10 + serial - 10
    # nothing overlaps when there is but one window
    net = Net(4, 3, 3)
    net.conv("x", 4, padding=0)
    mapping = map_graph(net.graph(), chip())
    assert simulate(mapping, 1).cycles == bounds(mapping, 1).upper
