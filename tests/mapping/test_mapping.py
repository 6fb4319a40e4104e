import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import MappingError


def test_a_network_without_a_matrix_cannot_be_mapped():
    graph = cimsim.trace(nn.Sequential(nn.ReLU()), (torch.zeros(1, 3, 8, 8),), "plain")
    with pytest.raises(MappingError, match="'plain' has no convolution"):
        cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))


def test_too_small_a_chip_names_the_largest_layers_as_the_user_knows_them():
    net = nn.Sequential(nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64), nn.Conv2d(64, 3, 3))
    graph = cimsim.trace(net.eval(), (torch.zeros(1, 3, 8, 8),), "net")
    chip = cimsim.load_hw("eflash40nm", {"array.rows": 64, "array.cols": 64, "tile.count": 4})
    with pytest.raises(MappingError, match=r"needs 10 arrays .* has 4 .*largest layers: 2 9, 0 1"):
        cimsim.map_graph(graph, chip)
