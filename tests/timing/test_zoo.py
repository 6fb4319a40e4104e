import pytest
import torch

from cimsim.chip.load import load_hw
from cimsim.frontends.torch_export import trace
from cimsim.mapping.mapping import map_graph
from cimsim.timing.analysis.bounds import bounds
from cimsim.timing.simulate import simulate
from cimsim.zoo.registry import MODELS, build
from tests.thorough import some

RESIDENT = {"frames": "resident"}  # no nodes for frames that come and go
NETWORKS = [
    ("cimnet", {"stride": 8}), ("cimnet", {"stride": 2}), ("cimnet", {"stride": 4, "stages": 2}),
    ("fastdvdnet-block", {}), ("baseline-o1", {"stride": 4}), ("baseline-o2", {"stride": 8}),
    ("abla-net", {"stride": 4}), ("dncnn", {}), ("ffdnet", {}), ("foldnet", {"stride": 8}),
    ("fastdvdnet", {}),
]  # fmt: skip
HALVES = {
    "adc.count": 32, "buffer.bytes_per_cycle": 4, "vector.lanes": 8,
    "interconnect.bytes_per_cycle": 32,
}  # fmt: skip


def exported(name, options, height, width):
    model = build(name, **options).eval()
    frames = torch.zeros(1, 3 * model.n_frames, height, width)
    return trace(model, (frames, torch.zeros(1, 1, height, width)))


def test_the_list_has_every_network():
    assert {name for name, _ in NETWORKS} == set(MODELS)


@pytest.mark.parametrize(("name", "options"), some(NETWORKS, *NETWORKS[::3]))
def test_every_network_fires_what_its_mapping_counts(name, options):
    graph = exported(name, options, 32, 48)
    mapping = map_graph(graph, load_hw("eflash40nm", {"tile.count": 400}))
    timeline = simulate(mapping, 2)
    sequential = simulate(mapping, 1, "sequential")
    for node, count in mapping.counts.items():
        fired = timeline.by_name[node]
        assert (fired.windows, fired.activations, fired.pulses, fired.conversions) == (
            2 * count.windows, 2 * count.activations, 2 * count.pulses, 2 * count.conversions,
        )  # fmt: skip
    assert timeline.windows == 2 * mapping.total.windows
    assert timeline.cycles_first_frame <= sequential.cycles
    assert timeline.interval <= timeline.cycles_first_frame
    limits = bounds(mapping, 2)
    assert limits.lower <= timeline.cycles <= limits.upper
    for path, value in HALVES.items():
        less = map_graph(graph, load_hw("eflash40nm", {"tile.count": 400, path: value}))
        assert simulate(less, 2).cycles >= timeline.cycles, path


def test_additions_and_activations_ride_on_the_layers_of_the_block():
    mapping = map_graph(exported("fastdvdnet-block", {}, 16, 16), load_hw("eflash40nm", RESIDENT))
    assert all(node.kind == "matrix" for node in simulate(mapping, 1).nodes)
