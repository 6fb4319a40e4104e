"""One mapping, three answers: what the mapping says, the engine did and the timeline fired."""

import pytest

import cimsim
from cimsim.devices import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.functional import window_of_frames
from cimsim.timing.simulate import simulate
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import to_float

NETWORKS = [
    ("cimnet", {"stride": 2}), ("cimnet", {"stride": 8}), ("cimnet", {"stride": 8, "stages": 2}),
    ("fastdvdnet", {}), ("fastdvdnet-block", {}), ("baseline-o1", {"stride": 8}),
    ("baseline-o2", {"stride": 4}), ("abla-net", {"stride": 8}), ("dncnn", {}), ("ffdnet", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=lambda v: str(v))
def test_counts_agree(name, options):
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(32, 32), name=name)
    chip = cimsim.load_hw("eflash40nm", {"tile.count": 100})
    mapping = cimsim.map_graph(graph, chip)
    clean = to_float(embedded_clip(frames=2, height=32, width=32))
    inputs = window_of_frames(clean, 0, network.n_frames, 15.0, len(graph.inputs))
    programmed = program(mapping, build(chip.device.kind, chip.device.parameters), 0)
    done = execute(calibrate(programmed, [inputs], 0), inputs, 0, 0).statistics.by_op
    timeline = simulate(mapping, frames=2)
    fired = timeline.by_name
    assert set(done) == set(mapping.counts)
    for op, counted in mapping.counts.items():
        for what in ("windows", "activations", "pulses", "conversions"):
            expected = getattr(counted, what)
            assert getattr(done[op], what) == expected, (op, what)
            assert getattr(fired[op], what) == 2 * expected, (op, what)
        assert done[op].dac_conversions == counted.dac_conversions
