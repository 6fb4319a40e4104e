"""Every mapping runs the same network: bit for bit without noise, and whole networks of the zoo."""

import json

import pytest
import torch

import cimsim
from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from cimsim.engine.program import program
from cimsim.engine.rounding import round_to_inputs
from cimsim.engine.samples import collect
from cimsim.session.frames import window_of_frames
from cimsim.timing.analysis.bounds import bounds
from cimsim.timing.simulate import simulate
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import to_float
from tests.fidelity.test_exact_network import EXACT_CELL, NETS, integer, interpret, make
from tests.thorough import some

NAMES = ["smd", "sdk", "vwsdk", "omm", "multipoint", "vwsdk:3x2", "omm:2"]
ROOMY = {
    "array.rows": 160, "array.cols": 60, "adc.count": 3, "tile.count": 900, "adc.bits": 32,
    "weights.scale": "layer", "inputs.percentile": 100, "adc.range": "full",
}  # fmt: skip
SETTINGS = {
    "8 bit": {},
    "small arrays": {"array.rows": 20, "array.cols": 12},
    "bit serial rows": {"dac.bits": 2, "weights.cell_bits": 3, "inputs.signed": "rows"},
    "offset cells, phases": {
        "weights.encoding": "offset", "weights.cell_bits": 4, "inputs.signed": "phases",
    },
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("name", NETS)
def test_every_mapping_equals_the_integer_network_bit_for_bit(name, how, settings):
    _, graph, frames = make(name)
    chip = cimsim.load_hw("eflash40nm", {**ROOMY, **EXACT_CELL, **SETTINGS[settings]})
    mapping = cimsim.map_graph(graph, chip, how)
    device = build(chip.device.kind, chip.device.parameters)
    calibrated = calibrate(program(mapping, device, 3), [(f,) for f in frames[:2]], 3)
    for frame, x in enumerate((frames[0], 1.5 * frames[2])):
        done = execute(calibrated, (x,), frame, 3)
        want = interpret(graph, (x,), integer(chip, calibrated.ops))
        for a, b in zip(done.outputs, want, strict=True):
            assert torch.equal(a, b), (a - b).abs().max()
        for op, counted in mapping.counts.items():
            for what in ("windows", "activations", "pulses", "conversions", "dac_conversions"):
                assert getattr(done.statistics.by_op[op], what) == getattr(counted, what)


@pytest.mark.parametrize("how", NAMES)
def test_the_networks_take_several_windows_and_some_leave_the_map(how):
    """The comparison above says something: there are shared inputs and edges in it."""
    chip = cimsim.load_hw("eflash40nm", {**ROOMY, **EXACT_CELL})
    several, edges = 0, 0
    for name in NETS:
        graph = make(name)[1]
        for layer in cimsim.map_graph(graph, chip, how).layers:
            wpa = layer.layout.windows_per_activation
            several += wpa > 1
            edges += any(
                layer.layout.activations(graph[op].window_grid) * wpa > graph[op].windows
                for op in layer.ops
            )
    assert several >= 5
    assert edges >= 2


# the zoo at a small size: cells without errors, weights rounded by inputs as the chip asks for
ZOO = [
    ("cimnet", {"stride": 2}), ("cimnet", {"stride": 8}), ("fastdvdnet-block", {}), ("dncnn", {}),
    ("baseline-o1", {"stride": 8}), ("baseline-o2", {"stride": 4}), ("abla-net", {"stride": 8}),
    ("ffdnet", {}), ("fastdvdnet", {}), ("cimnet", {"stride": 8, "stages": 2, "coarse": 1}),
]  # fmt: skip
EXACT = {
    **EXACT_CELL, "adc.kind": "ideal", "tile.count": 9000, "adc.noise_lsb": 0,
    "calibration.column_gain": False, "calibration.column_offset": False,
}  # fmt: skip


def one_frame(name, options, size=32):
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(size, size), name=name)
    clean = to_float(embedded_clip(frames=2, height=size, width=size))
    return graph, window_of_frames(clean, 0, network.n_frames, 15.0, len(graph.inputs))


def frame_of(graph, inputs, how, overrides):
    chip = cimsim.load_hw("eflash40nm", EXACT | overrides)
    mapping = cimsim.map_graph(graph, chip, how)
    layouts = {name: layer.layout for name, layer in mapping.layer_of.items()}
    samples = collect(graph, chip, [inputs], layouts)
    integers = round_to_inputs(mapping, samples) if chip.weights.rounding == "inputs" else None
    device = build(chip.device.kind, chip.device.parameters)
    ready = prepare(mapping, device, [inputs], 0, integers=integers, samples=samples)
    return mapping, execute(ready, inputs, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize(("name", "options"), ZOO, ids=str)
def test_zoo_networks_give_the_frame_of_im2col(name, options, how):
    graph, inputs = one_frame(name, options)
    _, expected = frame_of(graph, inputs, "im2col", {})
    mapping, done = frame_of(graph, inputs, how, {})
    for a, b in zip(done.outputs, expected.outputs, strict=True):
        assert torch.equal(a, b)
    check_times(mapping, done)


def check_times(mapping, done):
    timeline = simulate(mapping, frames=2)
    assert bounds(mapping, 2).lower <= timeline.cycles <= bounds(mapping, 2).upper
    for op, counted in mapping.counts.items():
        for what in ("windows", "activations", "pulses", "conversions"):
            expected = getattr(counted, what)
            assert getattr(done.statistics.by_op[op], what) == expected, (op, what)
            assert getattr(timeline.by_name[op], what) == 2 * expected, (op, what)
        assert done.statistics.by_op[op].dac_conversions == counted.dac_conversions


@pytest.mark.parametrize("how", some(["smd", "vwsdk"], "smd"))
def test_a_zoo_network_gives_the_frame_of_im2col(how):
    graph, inputs = one_frame("fastdvdnet-block", {}, 16)
    _, expected = frame_of(graph, inputs, "im2col", {})
    mapping, done = frame_of(graph, inputs, how, {})
    assert all(map(torch.equal, done.outputs, expected.outputs))
    check_times(mapping, done)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["vwsdk", "smd"])
def test_a_run_from_the_command_line_and_a_programmed_chip_give_one_result(how, tmp_path):
    from typer.testing import CliRunner

    from cimsim.cli.main import app

    def invoke(*args):
        found = CliRunner().invoke(app, args)
        assert found.exit_code == 0, found.output
        return found.output

    options = ["--model", "fastdvdnet-block", "--width", "8", "--weights", "random"]
    options += ["--size", "48x32", "--mapping", how, "-q"]
    held = str(tmp_path / "chip.safetensors")
    invoke("program", *options, "--out", held)
    text = invoke("run", *options, "--frames", "1", "--out", str(tmp_path / "a"))
    assert "on the chip" in text
    invoke("run", *options, "--frames", "1", "--programmed", held, "--out", str(tmp_path / "b"))
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in "ab")
    assert first["quality"] == second["quality"]
    assert first["hash"] == second["hash"]
    assert first["inputs"]["mapping"]["strategy"] == how
