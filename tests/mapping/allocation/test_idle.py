"""Layers that have little to do share arrays: a network fits at hardly any price in time."""

import re

import pytest
import torch
from torch import nn

from cimsim.chip.load import load_hw
from cimsim.errors import MappingError
from cimsim.frontends.torch_export import trace
from cimsim.mapping.allocation.turns import busiest_s
from cimsim.mapping.mapping import layouts, map_graph, requests_of
from cimsim.timing.simulate import simulate

SMALL = {"array.rows": 64, "array.cols": 64, "adc.count": 8}


@pytest.fixture(scope="module")
def graph():
    """Depthwise layers: each array of theirs holds a diagonal of 7 columns."""

    def layer(channels, stride):
        return [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels),
                nn.Conv2d(channels, channels, 1)]  # fmt: skip

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), *layer(32, 2), *layer(32, 2), *layer(32, 2), *layer(32, 1)
    )
    return trace(net, (torch.zeros(1, 3, 16, 16),), "depthwise")


def placed(graph, tiles, allocation):
    return map_graph(graph, load_hw("eflash40nm", {**SMALL, "tile.count": tiles}), "im2col",
                     allocation)  # fmt: skip


def busiest(mapping):
    requests = requests_of(mapping.graph, layouts(mapping.graph, mapping.chip))
    return busiest_s(requests, mapping.layers, mapping.chip)


def test_late_layers_share_and_the_interval_stays(graph):
    whole = placed(graph, 40, "in_order")
    fits = placed(graph, whole.arrays_used - 8, "packed_idle")
    assert fits.arrays_used <= whole.arrays_used - 8
    assert busiest(fits) == pytest.approx(busiest(whole))
    assert simulate(fits).interval == pytest.approx(simulate(whole).interval, rel=0.01)
    # as many as can be in one array take turns much longer
    packed = placed(graph, whole.arrays_used, "packed")
    assert busiest(packed) > 1.2 * busiest(fits)
    assert simulate(packed).interval > 1.2 * simulate(fits).interval


def test_a_network_that_fits_shares_nothing(graph):
    whole = placed(graph, 40, "in_order")
    same = placed(graph, 40, "packed_idle")
    assert [layer.slots for layer in same.layers] == [layer.slots for layer in whole.layers]


def test_the_message_tells_the_price_of_each_way_out(graph):
    whole = placed(graph, 40, "in_order")
    with pytest.raises(MappingError) as error:
        placed(graph, whole.arrays_used - 8, "in_order")
    text = str(error.value)
    assert re.search(rf"tile\.count={whole.arrays_used}: \d+ % more area", text)
    for name in ("packed_idle", "packed"):
        found = re.search(rf"--allocation {name} \((\d+) arrays, ([\d.]+) times", text)
        mapping = placed(graph, whole.arrays_used - 8, name)
        assert mapping.arrays_used == int(found[1])
        assert busiest(mapping) / busiest(whole) == pytest.approx(float(found[2]), rel=0.01)


def test_no_price_is_told_where_the_weights_themselves_do_not_fit(graph):
    with pytest.raises(MappingError, match="smaller network") as error:
        placed(graph, 1, "in_order")
    assert "--allocation packed" not in str(error.value)
    with pytest.raises(MappingError, match="even if layers share them"):
        placed(graph, 1, "packed_idle")
