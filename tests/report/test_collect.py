import pytest
import torch
from torch import nn

import cimsim
from cimsim.report import collect
from cimsim.timing.simulate import simulate


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_the_bottleneck_of_a_chain_is_busy_all_the_time_however_long_the_pipeline_fills(frames):
    """Filling and draining are no part of the steady interval that the share is of."""
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(8)))
    graph = cimsim.trace(net, (torch.zeros(1, 3, 8, 8),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    timeline = simulate(mapping, frames)
    found = collect.timing(mapping, timeline)
    # eight equal layers: each reads an array all the time once frames stream
    assert timeline.bottleneck.share < 0.95
    assert found.bottleneck_busy == pytest.approx(1, abs=0.05)
    assert found.bottleneck_busy <= 1
    assert found.bottleneck.endswith("DRIVE")
