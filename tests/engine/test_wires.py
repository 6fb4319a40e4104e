"""A small network through resistive wires, against the nodal equations of every array."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from cimsim.chip.cells import build
from cimsim.chip.load import chip_hash, load_hw
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.errors import ConfigError, SimulationError
from cimsim.mapping.mapping import map_graph
from tests.crossbar.nodal import Nodal

OHMS = {
    "wires__r_word": "2 kohm", "wires__r_bit": "3 kohm", "wires__r_driver": "20 kohm",
    "wires__r_sense": "150 kohm",
}  # fmt: skip


def network(lab):
    """Two convolutions with a ReLU; the first takes two row tiles of 32-row arrays."""
    rng = np.random.default_rng(0)
    first = lab.conv(rng.normal(0, 1, (6, 5, 3, 3)).astype(np.float32), (14, 15), name="first")
    middle = lab.relu("relu", "first", (1, 6, 12, 13))
    second = lab.conv(
        rng.normal(0, 1, (4, 6, 2, 2)).astype(np.float32), (12, 13), name="second", source="relu"
    )
    return lab.graph(first, middle, second)


def frame():
    x = np.random.default_rng(1).uniform(0, 1, (1, 5, 14, 15))
    return torch.from_numpy(x.astype(np.float32))


def step_of(hw):
    device = build(hw.device.kind, hw.device.parameters)
    return (device.g_max_s - device.g_min_s) / hw.weights.q_max


def circuits(op, arrays, hw):
    """The arrays of a layer as circuits: weight column by weight column, positive line first."""
    q = np.rint(op.weight[0].astype(float) / (np.abs(op.weight).max() / hw.weights.q_max))
    w, g_min = hw.wires, build(hw.device.kind, hw.device.parameters).g_min_s
    for array in arrays:
        part = q[np.ix_(array.row_source, array.col_target)]
        g = np.stack([np.maximum(part, 0), np.maximum(-part, 0)], axis=2) * step_of(hw) + g_min
        lines = w.r_word_ohm, w.r_bit_ohm, w.r_driver_ohm, w.r_sense_ohm
        yield array, Nodal(g.reshape(len(part), -1), *lines)


def through_the_circuit(x, op, code, arrays, hw):
    """A convolution whose matrix is, array by array, what the nodal equations say."""
    seen = np.zeros(op.weight[0].shape)
    for array, circuit in circuits(op, arrays, hw):
        a = circuit.operator()
        pairs = (a[:, 0::2] - a[:, 1::2]) / step_of(hw)
        seen[np.ix_(array.row_source, array.col_target)] += pairs
    codes = np.clip(np.rint(x.double().numpy() / code.scale), 0, 255)
    k_y, k_x = op.window.kernel
    kernel = seen.reshape(k_y, k_x, -1, op.n_cols).transpose(3, 2, 0, 1)
    y = functional.conv2d(torch.from_numpy(codes), torch.from_numpy(np.ascontiguousarray(kernel)))
    return y * code.scale * float(np.abs(op.weight).max() / hw.weights.q_max)


def test_exact_wires_equal_the_nodal_equations_from_end_to_end(lab):
    graph, x = network(lab), frame()
    hw = lab.chip(wires__model="exact", **OHMS)
    ready = lab.prepare(graph, hw, [x])
    (got,) = execute(ready, (x,), 0, 0).outputs
    y = x
    for name in ("first", "second"):
        arrays = ready.programmed.layers[name].arrays
        y = through_the_circuit(y, graph[name], ready.ops[name].code, arrays, hw)
        y = y.relu().float() if name == "first" else y
    ideal = execute(lab.prepare(graph, lab.chip(), [x]), (x,), 0, 0).outputs[0]
    scale = float(ideal.abs().max())
    # conductances in 16 bits; where that flips one input code of the second layer, a step of it
    error = (got - y).abs() / scale
    assert float(error.median()) < 3e-5
    assert float(error.max()) < 4e-3
    assert float((got - ideal).abs().max()) > 0.02 * scale
    assert len(ready.programmed.layers["first"].arrays) > 1


@pytest.mark.parametrize("model", ["ideal", "exact", "fast"])
def test_wires_of_0_ohm_give_the_very_bits(lab, model):
    graph, x = network(lab), frame()
    noisy = {"device__sigma_program": "1.75 %", "device__sigma_read": "0.79 %"}
    noisy |= {"adc__kind": "sar", "calibration__column_gain": True}
    plain = execute(lab.prepare(graph, lab.chip(**noisy), [x]), (x,), 0, 0)
    unused = OHMS if model == "ideal" else {}
    hw = lab.chip(wires__model=model, **noisy, **unused)
    wired = execute(lab.prepare(graph, hw, [x]), (x,), 0, 0)
    assert torch.equal(plain.outputs[0], wired.outputs[0])
    assert plain.statistics == wired.statistics


def test_fast_wires_err_far_less_than_the_wires_take(lab):
    graph, x = network(lab), frame()
    outputs = {
        model: execute(lab.prepare(graph, lab.chip(wires__model=model, **OHMS), [x]), (x,), 0, 0)
        for model in ("ideal", "exact", "fast")
    }
    exact = outputs["exact"].outputs[0]
    lost = (outputs["ideal"].outputs[0] - exact).std()
    assert (outputs["fast"].outputs[0] - exact).std() < 0.05 * lost


def test_column_gain_gives_back_part_of_what_the_wires_take(lab):
    graph, x = network(lab), frame()

    def error(**options):
        ready = lab.prepare(graph, lab.chip(**options), [x])
        return float((execute(ready, (x,), 0, 0).outputs[0] - ideal).std())

    ideal = execute(lab.prepare(graph, lab.chip(), [x]), (x,), 0, 0).outputs[0]
    raw = error(wires__model="exact", **OHMS)
    corrected = error(wires__model="exact", calibration__column_gain=True, **OHMS)
    assert corrected < 0.7 * raw


def test_the_energy_is_that_of_the_currents_that_the_drivers_give(lab):
    graph, x = network(lab), frame()
    hw = lab.chip(wires__model="exact", **OHMS)
    ready = lab.prepare(graph, hw, [x])
    op, arrays = graph["first"], ready.programmed.layers["first"].arrays
    codes = np.clip(np.rint(x.double().numpy() / ready.ops["first"].code.scale), 0, 255)
    windows = functional.unfold(torch.from_numpy(codes), op.window.kernel)[0].sum(dim=1).numpy()
    applied = windows.reshape(-1, *op.window.kernel).transpose(1, 2, 0).reshape(-1) / 255
    drawn = sum(
        circuit.solve(applied[array.row_source])[2].sum()
        for array, circuit in circuits(op, arrays, hw)
    )
    got = execute(ready, (x,), 0, 0).statistics.by_op["first"].conductance_s
    assert got == pytest.approx(drawn, rel=1e-9)


def test_wires_take_no_part_in_which_cells_are_drawn(lab):
    noisy = lab.chip(device__sigma_program="5 %")
    far = noisy.model_copy(update={"wires": lab.chip(wires__model="exact", **OHMS).wires})
    one, other = (
        program(map_graph(network(lab), hw), build(hw.device.kind, hw.device.parameters), 7)
        for hw in (noisy, far)
    )
    for name in ("first", "second"):
        for a, b in zip(one.layers[name].arrays, other.layers[name].arrays, strict=True):
            error = a.written.difference - np.rint(a.written.difference)
            assert np.abs(error).max() > 0
            # the same cells, seen through wires: hardly another error
            assert (
                np.corrcoef(a.written.difference.ravel(), b.written.difference.ravel())[0, 1] > 0.99
            )


def test_the_layer_is_named_where_fast_says_nothing(lab):
    hw = lab.chip(wires__model="fast", wires__r_sense="1 Gohm")
    with pytest.raises(SimulationError, match=r"layer 'first', array 0: wires\.model: fast"):
        lab.prepare(network(lab), hw, [frame()])


def test_progress_counts_the_arrays(lab):
    hw, seen = lab.chip(), []
    mapping = map_graph(network(lab), hw)
    device = build(hw.device.kind, hw.device.parameters)
    program(mapping, device, 0, progress=lambda *step: seen.append(step))
    total = mapping.arrays_used
    assert seen[-1] == ("programming", total, total)
    assert total > 2


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("wires.model", "exakt", "wires.model: expected 'ideal', 'exact' or 'fast', got 'exakt'"),
        ("wires.r_bit", "5 V", "wires.r_bit: expected a quantity in ohm such as '5.3 ohm'"),
        ("wires.r_word", "-1 ohm", "wires.r_word: expected a quantity >= 0 ohm"),
        ("wires.r_gnd", "1 ohm", "wires.r_gnd: unknown key 'r_gnd'"),
    ],
)
def test_refuses_wires_that_are_none(path, value, message):
    with pytest.raises(ConfigError) as caught:
        load_hw("eflash40nm", {path: value})
    assert message in str(caught.value)


def test_wires_without_effect_do_not_count_in_the_hash():
    plain = load_hw("eflash40nm")
    assert chip_hash(load_hw("eflash40nm", {"wires.model": "ideal"})) == chip_hash(plain)
    assert chip_hash(load_hw("eflash40nm", {"wires.r_bit": "1 ohm"})) != chip_hash(plain)


def test_training_refuses_wires():
    from cimsim.training.hardware import ChipInTheLoop

    hw = load_hw("eflash40nm", {"wires.model": "fast", "wires.r_bit": "1 ohm"})
    with pytest.raises(ConfigError, match=r"wires\.model: hardware-aware training"):
        ChipInTheLoop(torch.nn.Conv2d(1, 1, 1), hw)
