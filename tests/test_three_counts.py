"""One mapping, three answers: what the mapping says, the engine did and the timeline fired."""

import pytest

import cimsim
from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.session.frames import window_of_frames
from cimsim.timing.simulate import simulate
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import to_float
from tests.thorough import some

NETWORKS = [
    ("cimnet", {"stride": 2}), ("cimnet", {"stride": 8}), ("cimnet", {"stride": 8, "stages": 2}),
    ("fastdvdnet", {}), ("fastdvdnet-block", {}), ("baseline-o1", {"stride": 8}),
    ("baseline-o2", {"stride": 4}), ("abla-net", {"stride": 8}), ("dncnn", {}), ("ffdnet", {}),
    ("foldnet", {"stride": 8}),
]  # fmt: skip


CHOICES = [
    {"inputs.signed": "phases"}, {"inputs.signed": "rows"},
    {"weights.encoding": "offset", "weights.cell_bits": 4},
    {"weights.encoding": "twos_complement", "weights.cell_bits": 2, "inputs.signed": "phases"},
]  # fmt: skip
CASES = [(*network, {}) for network in NETWORKS]
CASES += [("fastdvdnet-block", {}, choice) for choice in CHOICES]


@pytest.mark.parametrize(
    ("name", "options", "choice"),
    some(CASES, *[case for case in CASES if case[0] != "fastdvdnet"][:-3]),
    ids=str,
)
def test_counts_agree(name, options, choice):
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(32, 32), name=name)
    chip = cimsim.load_hw("eflash40nm", {"tile.count": 100} | choice)
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


def test_signed_inputs_cost_what_they_say_and_only_where_inputs_can_be_negative():
    network = cimsim.load_network("fastdvdnet-block", {}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32), name="block")
    signed = [op.name for op in graph.matrix_ops if op.signed]
    assert 0 < len(signed) < len(graph.matrix_ops)

    def counts(choice):
        chip = cimsim.load_hw("eflash40nm", {"tile.count": 100, "inputs.signed": choice})
        mapping = cimsim.map_graph(graph, chip)
        return mapping.counts, simulate(mapping).interval

    (offset, interval), (phases, longer), (rows, _) = map(counts, ("offset", "phases", "rows"))
    assert longer > 1.9 * interval  # the first layer is the bottleneck, and it is signed
    for name in offset:
        factor = 2 if name in signed else 1
        for what in ("pulses", "conversions", "dac_conversions"):
            assert getattr(phases[name], what) == factor * getattr(offset[name], what)
        assert rows[name].dac_conversions == factor * offset[name].dac_conversions
        assert rows[name].pulses == rows[name].activations
