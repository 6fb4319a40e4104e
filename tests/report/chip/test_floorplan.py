"""A floor plan is read by people: what stands above an array stays there."""

from itertools import combinations

import pytest
import torch
from torch import nn

import cimsim
from cimsim.report.chip.floorplan import floorplan


@pytest.mark.parametrize(
    ("rows", "cols", "tiles"), [(300, 8, 400), (48, 24, 600), (1024, 1024, 76)]
)
def test_texts_above_arrays_do_not_meet(rows, cols, tiles):
    net = nn.Sequential(nn.Linear(1000, 500), nn.ReLU(), nn.Linear(500, 20))
    graph = cimsim.trace(net, (torch.rand(1, 1000),))
    changes = {"array.rows": rows, "array.cols": cols, "tile.count": tiles, "adc.count": 1}
    figure = floorplan(cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", changes)))
    drawn = figure.canvas.get_renderer()
    texts = [one for one in figure.axes[0].texts if one.get_va() == "bottom" and one.get_text()]
    assert {"0", "tile 0"} & {one.get_text() for one in texts}
    boxes = [one.get_window_extent(drawn) for one in texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes[:400], 2))
