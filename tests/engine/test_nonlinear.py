"""Non-linear cells from end to end: against the dense formula, and against nodal equations."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cimsim.chip.cells import build, device_of
from cimsim.chip.load import load_hw
from cimsim.crossbar import nonlinear
from cimsim.engine import calibrate as calibration
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.engine.saved import pack, unpack
from cimsim.errors import ConfigError, SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.session.collect import _cells
from tests.crossbar.nonlinear_nodal import NonlinearNodal, h
from tests.thorough import some

ENCODINGS = ("differential", "offset", "twos_complement")
K, G_MIN, G_MAX = 5.0, 5e-8, 2e-5
OHMS = {
    "wires__model": "exact", "wires__r_word": "40 ohm", "wires__r_bit": "60 ohm",
    "wires__r_driver": "300 ohm", "wires__r_sense": "200 ohm",
}  # fmt: skip
fixture_ok = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)


def chip(lab, nonlinearity=K, kind="ideal", **more):
    cell = {"kind": kind, "g_max": "20 uS", "g_min": "50 nS", "nonlinearity": nonlinearity}
    if kind == "rram":
        cell |= {"program_scale": 0, "read_scale": 0}
    return lab.chip(device=cell | more.pop("cell", {}), **more)


def layer(lab, rows=9, cols=4, positions=12, seed=0, bits=8):
    """Whole weights and inputs whose steps are exactly 1."""
    weight = lab.whole_numbers((cols, rows), -127, 127, seed)
    x = torch.from_numpy(lab.whole_numbers((1, positions, rows), 0, 2**bits - 1, seed + 1))
    return weight, lab.graph(lab.linear(weight, positions)), x


def pulses(x, hw):
    """Values of each pulse, least significant first, what a unit counts, and full scale."""
    whole, bits = x[0].numpy().astype(np.int64), hw.dac.bits
    for shift in range(0, hw.inputs.bits, bits):
        yield whole >> shift & (2**bits - 1), 2.0**shift, 2**bits - 1


def dense(x, weight, hw, k=K):
    """Ideal wires: every cell of a row sees the row's voltage."""
    return sum(
        factor * top * h(value / top, k) @ weight.T.astype(float)
        for value, factor, top in pulses(x, hw)
    )


def lines(weight, hw):
    """Cells of all lines [rows, lines], and (slice factor, plus, minus) of each column's slices.

    As docs/model.md has it: weight column by weight column, slice by slice, the positive line
    before the negative one; reference columns come last.
    """
    q, bits, c = weight.T.astype(int), hw.weights.bits, hw.weights.slice_bits
    columns, reads, n_slices = [], {}, hw.weights.slices
    references = np.zeros(n_slices)
    for j in range(q.shape[1]):
        for s in range(n_slices):
            digit, factor = 2**c - 1, 2.0 ** (c * s)
            if hw.weights.encoding == "differential":
                parts = [np.maximum(q[:, j], 0) >> c * s & digit,
                         np.maximum(-q[:, j], 0) >> c * s & digit]  # fmt: skip
            elif hw.weights.encoding == "offset":
                parts = [q[:, j] + 2 ** (bits - 1) >> c * s & digit]
                references[s] = 2 ** (bits - 1) >> c * s & digit
            elif s < n_slices - 1:
                low = c * s, min(c, bits - 1 - c * s)
                parts = [(q[:, j] & 2 ** (bits - 1) - 1) >> low[0] & 2 ** low[1] - 1]
            else:
                parts, factor = [(q[:, j] < 0) * 2 ** (c - 1)], -(2.0 ** (bits - c))
            reads[j, s] = factor, len(columns), len(columns) + 1
            columns += parts
    if hw.weights.encoding != "differential":
        for (j, s), (factor, plus, _) in reads.items():
            reads[j, s] = factor, plus, len(columns) + s
        columns += [np.full(len(q), level) for level in references]
    step = (G_MAX - G_MIN) / (2**c - 1)
    return G_MIN + step * np.stack(columns, axis=1), reads, step


def through_the_circuit(x, weight, hw, k=K):
    w = hw.wires
    g, reads, step = lines(weight, hw)
    circuit = NonlinearNodal(g, k, w.r_word_ohm, w.r_bit_ohm, w.r_driver_ohm, w.r_sense_ohm)
    total = np.zeros((x.shape[1], weight.shape[0]))
    for value, unit, top in pulses(x, hw):
        for b, drive in enumerate(value / top):
            current = circuit.solve(drive)
            for (j, _), (factor, plus, minus) in reads.items():
                total[b, j] += unit * factor * top * (current[plus] - current[minus]) / step
    return total


def output(lab, network, hw, x):
    return lab.run(network, hw, x).outputs[0][0].numpy().astype(np.float64)


@given(
    encoding=st.sampled_from(ENCODINGS), cell_bits=st.integers(1, 8), dac_bits=st.integers(2, 8),
    k=st.floats(2.05, 100), seed=st.integers(0, 99),
)  # fmt: skip
@fixture_ok
def test_behind_ideal_wires_the_output_is_that_of_the_dense_formula(
    lab, encoding, cell_bits, dac_bits, k, seed
):
    hw = chip(lab, k, weights__encoding=encoding, weights__cell_bits=cell_bits, dac__bits=dac_bits)
    weight, network, x = layer(lab, seed=seed)
    expected = dense(x, weight, hw, k)
    linear = x[0].numpy().astype(float) @ weight.T
    assert np.abs(expected - linear).max() > 1e-3 * np.abs(linear).max()
    got = output(lab, network, hw, x)
    assert np.abs(got - expected).max() < 2e-5 * np.abs(linear).max()


SIZES = list(itertools.product(ENCODINGS, [2, 8], [1, 8]))


@pytest.mark.parametrize(("encoding", "cell_bits", "dac_bits"), some(SIZES, *SIZES[::5]))
def test_behind_wires_the_output_is_that_of_the_nodal_equations(lab, encoding, cell_bits, dac_bits):
    hw = chip(
        lab, weights__encoding=encoding, weights__cell_bits=cell_bits, dac__bits=dac_bits, **OHMS
    )
    weight, network, x = layer(lab, cols=3, positions=4)
    got, ideal = output(lab, network, hw, x), dense(x, weight, hw)
    expected = through_the_circuit(x, weight, hw)
    size = np.abs(ideal).max()
    # currents of single cells are large beside their difference, and float32 from the solver on
    assert np.abs(got - expected).max() < 1e-4 * size
    assert np.abs(ideal - expected).max() > 5e-3 * size  # the wires took something
    flat = lab.chip(  # and so did the curve
        device={"kind": "ideal", "g_max": "20 uS", "g_min": "50 nS"}, weights__encoding=encoding,
        weights__cell_bits=cell_bits, dac__bits=dac_bits, **OHMS,
    )  # fmt: skip
    assert np.abs(output(lab, network, flat, x) - expected).max() > 1e-3 * size


def test_nonlinearity_2_gives_the_very_bits_of_linear_cells(lab):
    _, network, x = layer(lab)
    for wires in ({}, OHMS):
        cell = {"kind": "ideal", "g_max": "20 uS", "g_min": "50 nS"}
        plain = lab.run(network, lab.chip(device=cell, **wires), x)
        two = lab.run(network, chip(lab, 2, **wires), x)
        assert torch.equal(plain.outputs[0], two.outputs[0])
        assert plain.statistics == two.statistics


@pytest.mark.parametrize("way", [{"dac__bits": 1}, {"dac__encoding": "pulse_width"}])
def test_cells_that_only_see_the_read_voltage_are_linear_and_stay_fast(lab, way):
    weight, network, x = layer(lab)
    hw = chip(lab, 20, adc__bits=26, adc__kind="sar", adc__range="full", **way)
    ready = lab.prepare(network, hw, [x])
    assert ready.ready["layer"].firing.is_fast
    assert ready.programmed.layers["layer"].is_exact
    got = execute(ready, (x,), 0, 0).outputs[0][0].numpy()
    np.testing.assert_array_equal(got, x[0].numpy() @ weight.T)


def test_wires_make_cells_see_less_than_the_read_voltage_in_one_bit_pulses_too(lab):
    _, network, x = layer(lab)
    one = output(lab, network, chip(lab, 20, dac__bits=1, **OHMS), x)
    two = output(lab, network, chip(lab, 2, dac__bits=1, **OHMS), x)
    assert np.abs(one - two).max() > 1e-3 * np.abs(two).max()


def test_wires_of_0_ohm_give_the_bits_of_ideal_ones(lab):
    _, network, x = layer(lab)
    plain = output(lab, network, chip(lab), x)
    np.testing.assert_array_equal(output(lab, network, chip(lab, wires__model="exact"), x), plain)


def test_driver_comes_first_then_the_cell(lab):
    weight, network, x = layer(lab, positions=40)
    errors = {"dac__inl_lsb": 3, "dac__gain_sigma": "5 %"}
    ready = lab.prepare(network, chip(lab, **errors), [x])
    # the drivers of linear cells, from the same random stream, are the same drivers
    linear = lab.prepare(network, chip(lab, 2, **errors), [x]).programmed.layers["layer"].arrays[0]
    cells = linear.written.difference.astype(float)
    gain = np.sqrt((cells**2).sum(axis=1) / (weight**2).sum(axis=0))
    (array,) = ready.programmed.layers["layer"].arrays
    off = array.dac_curves - gain[:, None] * np.arange(256)
    np.testing.assert_allclose(off, linear.dac_curves - np.arange(256), atol=2e-4)
    applied = np.take_along_axis(array.dac_curves.T, x[0].numpy().astype(int), axis=0)
    expected = 255 * h(applied.astype(float) / 255, K) @ weight.T
    got = execute(ready, (x,), 0, 0).outputs[0][0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-5 * np.abs(expected).max())
    assert np.abs(expected - dense(x, weight, chip(lab))).max() > 0.01 * np.abs(expected).max()


def test_a_driver_gain_is_a_voltage_in_one_bit_pulses_too(lab):
    weight, _, _ = layer(lab)
    x = torch.full((1, 12, 9), 255.0)
    network, errors = lab.graph(lab.linear(weight, 12)), {"dac__gain_sigma": "5 %", "dac__bits": 1}
    one, two = (
        lab.prepare(network, chip(lab, k, **errors), [x]).programmed.layers["layer"].arrays[0]
        for k in (K, 2)
    )
    size = np.sqrt((weight**2).sum(axis=0))
    gains = [
        np.sqrt((a.written.difference.astype(float) ** 2).sum(axis=1)) / size for a in (one, two)
    ]
    np.testing.assert_allclose(gains[0], h(gains[1], K), rtol=1e-6)
    assert np.abs(gains[0] - gains[1]).max() > 0.02
    assert one.dac_curves.size == one.adc_curves.size == one.written.steepness == 0


@pytest.mark.parametrize("wires", [{}, OHMS | {"wires__r_driver": "0 ohm"}])
def test_read_noise_is_that_of_the_bent_inputs(lab, wires):
    _, network, _ = layer(lab, positions=3000)
    x = torch.full((1, 3000, 9), 128.0)
    x[0, 0, 0] = 255  # fixes the input step
    hw = chip(lab, K, "rram", cell={"read_scale": 1}, **wires)
    got = lab.run(network, hw, x).outputs[0][0, 1:].numpy()
    step = (G_MAX - G_MIN) / 127
    sigma = 0.01 * 40e-6 / step
    expected = np.sqrt(2 * 9) * sigma * 255 * h(128 / 255, K)
    measured = got.std(axis=0)
    if not wires:
        np.testing.assert_allclose(measured, expected, rtol=0.06)
        assert expected < 0.5 * np.sqrt(2 * 9) * sigma * 128  # the linear one is another
    else:  # less voltage, less current
        assert (measured < expected).all()
        assert (measured > 0.9 * expected).all()


@pytest.mark.parametrize("wires", [{}, OHMS])
@pytest.mark.parametrize("method", ["percentile", "least_error"])
def test_converter_ranges_are_those_of_the_currents_that_flow(lab, wires, method):
    weight, network, x = layer(lab, rows=20, positions=60)
    options = {"adc__kind": "sar", "adc__bits": 12, "adc__percentile": 100, "adc__method": method}
    hw = chip(lab, 20, dac__bits=4, **options, **wires)
    ready = lab.prepare(network, hw, [x])
    (found,) = ready.ops["layer"].ranges
    sums = np.stack([top * h(value / top, 20) @ weight.T for value, _, top in pulses(x, hw)])
    if wires:
        w, (g, reads, step) = hw.wires, lines(weight, hw)
        circuit = NonlinearNodal(g, 20, w.r_word_ohm, w.r_bit_ohm, w.r_driver_ohm, w.r_sense_ohm)
        for p, (value, _, top) in enumerate(pulses(x, hw)):
            for b, drive in enumerate(value / top):
                current = circuit.solve(drive)
                for (j, _), (_, plus, minus) in reads.items():
                    sums[p, b, j] = top * (current[plus] - current[minus]) / step
    assert found.lo == pytest.approx(sums.min(), abs=0.02 * np.ptp(sums))
    assert found.lo + found.lsb * found.top == pytest.approx(sums.max(), abs=0.02 * np.ptp(sums))
    linear = np.stack([value @ weight.T for value, _, _ in pulses(x, hw)])
    assert np.ptp(sums) < 0.8 * np.ptp(linear)
    assert execute(ready, (x,), 0, 0).statistics.total.saturations <= 0.001 * sums.size + 4


def test_calibration_solves_a_bearable_number_of_pulses(lab, monkeypatch):
    _, network, x = layer(lab, positions=900)
    ready = lab.prepare(network, chip(lab, dac__bits=4, **OHMS), [x])
    (array,) = ready.programmed.layers["layer"].arrays
    codes = x[0].numpy().astype(np.uint8)
    sums = calibration._partial_sums(array, codes, ((0, 15), (4, 15)))
    assert calibration.MIN_WINDOWS <= sums.shape[1] <= calibration.MAX_SOLVED // 2


def test_column_gain_gives_back_what_all_inputs_share(lab):
    weight, network, x = layer(lab, rows=20, positions=300)
    exact = x[0].numpy() @ weight.T
    raw, corrected = (
        np.std(output(lab, network, chip(lab, 3, calibration__column_gain=on), x) - exact)
        for on in (False, True)
    )
    assert corrected < 0.7 * raw


@pytest.mark.parametrize("wires", [{}, OHMS])
def test_neither_threads_nor_blocks_change_a_bit(lab, wires):
    _, network, x = layer(lab, positions=700)
    hw = chip(lab, K, "rram", cell={"read_scale": 1}, adc__kind="sar", adc__bits=8, **wires)
    ready = lab.prepare(network, hw, [x])
    again = lab.prepare(network, hw, [x], threads=3)
    one, three = execute(ready, (x,), 0, 0, 1), execute(again, (x,), 0, 0, 3)
    assert torch.equal(one.outputs[0], three.outputs[0])
    assert one.statistics == three.statistics
    assert ready.ops["layer"].ranges == again.ops["layer"].ranges


def test_the_energy_is_that_of_linear_cells_and_so_an_upper_bound(lab):
    _, network, x = layer(lab)
    for wires in ({}, OHMS):
        bent, flat = (
            lab.run(network, chip(lab, k, **wires), x).statistics.total.conductance_s
            for k in (K, 2)
        )
        assert bent == pytest.approx(flat, rel=1e-9)


@pytest.mark.parametrize("kind", ["eflash", "sonos40", "sram"])
def test_refuses_cells_whose_input_is_a_gate(kind):
    own = {"g_max": "10 nS"} if kind == "eflash" else {}
    with pytest.raises(ConfigError) as caught:
        build(kind, own | {"nonlinearity": 4})
    assert str(caught.value).startswith(
        f"device.nonlinearity: expected 2 for device '{kind}', got 4"
    )
    assert "gate" in str(caught.value)
    assert "rram" in str(caught.value)
    assert build(kind, own | {"nonlinearity": 2}).steepness == 0


@pytest.mark.parametrize("value", [1.5, float("nan"), 1000, -3, float("inf"), True])
def test_refuses_values_that_are_none(value):
    with pytest.raises(ConfigError) as caught:
        build("rram", {"nonlinearity": value})
    start = "device.nonlinearity: expected 2 (linear) .. 100, the current at the read voltage over"
    assert str(caught.value).startswith(start)
    assert f"got {float(value):g}" in str(caught.value)


def test_refuses_words():
    with pytest.raises(ConfigError, match=r"^device\.nonlinearity: expected 2 .*got much"):
        build("pcm", {"nonlinearity": "much"})


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"wires.model": "fast", "wires.r_bit": "1 ohm"},
         ("wires.model: fast", "device.nonlinearity: 4", "use wires.model: exact")),
        ({"wires.model": "exact", "wires.r_bit": "1 ohm", "dac.encoding": "pulse_width"},
         ("dac.encoding: pulse_width with dac.bits: 8", "dac.bits: 1 or dac.encoding: amplitude")),
        ({"wires.model": "exact", "wires.r_bit": "1 ohm", "dac.encoding": "pulse_width",
          "dac.bits": 1, "dac.gain_sigma": "1 %"},
         ("dac.encoding: pulse_width", "dac.gain_sigma: 0.01", "use dac.gain_sigma: 0 or")),
        ({"array.mode": "charge", "array.cell_capacitance": "1 fF"},
         ("device.nonlinearity: expected 2 with array.mode: charge, got 4", "current")),
    ],
)  # fmt: skip
def test_refuses_what_is_not_modelled_when_loaded_and_when_programmed(lab, change, parts):
    hw = load_hw("eflash40nm", {"device.kind": "rram", "device.nonlinearity": 4} | change)
    device = build(hw.device.kind, hw.device.parameters)
    network = layer(lab)[1]
    for refused in (lambda: device_of(hw), lambda: program(map_graph(network, hw), device, 0)):
        with pytest.raises(ConfigError) as caught:
            refused()
        for part in parts:
            assert part in str(caught.value)


def test_one_bit_pulse_widths_behind_wires_are_one_bit_pulses(lab):
    _, network, x = layer(lab)
    width = chip(lab, dac__bits=1, dac__encoding="pulse_width", **OHMS)
    plain = output(lab, network, chip(lab, dac__bits=1, **OHMS), x)
    np.testing.assert_array_equal(output(lab, network, width, x), plain)


def test_write_verified_cells_keep_their_curve():
    device = build("ideal", {"verify": {"tolerance": "1 %"}, "nonlinearity": 4})
    assert 2 * np.cosh(device.steepness / 2) == pytest.approx(4)


@pytest.mark.parametrize("part", ["plus", "minus", "g_s"])
def test_a_kept_chip_with_other_lines_is_refused(lab, part):
    _, network, x = layer(lab)
    hw = chip(lab, **OHMS)
    ready = lab.prepare(network, hw, [x])
    arrays, plan = pack(ready)
    (place,) = (p for p in arrays if p.endswith(f"wired/{part}"))
    mapping, device = ready.programmed.mapping, ready.programmed.device
    again = unpack(mapping, device, arrays, plan)
    assert torch.equal(execute(again, (x,), 0, 0).outputs[0], execute(ready, (x,), 0, 0).outputs[0])
    wrong = arrays[place][:-1] if part == "g_s" else arrays[place] + 99
    with pytest.raises(SimulationError, match="other sizes"):
        unpack(mapping, device, arrays | {place: wrong}, plan)


def test_the_report_says_what_the_energy_counts():
    hw = load_hw("example_minimal", {"device.nonlinearity": 5})
    (note,) = _cells(hw)
    assert "device.nonlinearity 5" in note
    assert "upper bound" in note
    assert _cells(load_hw("example_minimal")) == []


def test_training_refuses_non_linear_cells():
    from cimsim.training.hardware import ChipInTheLoop

    hw = load_hw("eflash40nm", {"device.kind": "rram", "device.nonlinearity": 4})
    with pytest.raises(
        ConfigError, match=r"device\.nonlinearity: hardware-aware training .* got 4"
    ):
        ChipInTheLoop(torch.nn.Conv2d(1, 1, 1), hw)


def test_a_solve_that_fails_in_a_frame_names_the_layer(lab, monkeypatch):
    _, network, x = layer(lab)
    ready = lab.prepare(network, chip(lab, 20, dac__bits=1, **OHMS), [x])
    monkeypatch.setattr(nonlinear, "MAX_SWEEPS", 1)
    with pytest.raises(SimulationError, match=r"layer 'layer': wires.model: exact"):
        execute(ready, (x,), 0, 0)
