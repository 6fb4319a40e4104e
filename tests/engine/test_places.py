"""Activations of several windows: where they read and write, whatever the mapping is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.engine.samples import collect
from cimsim.errors import SimulationError
from cimsim.mapping.layout import Layout
from cimsim.mapping.mapping import map_graph
from cimsim.mapping.strategies import strategy
from tests.engine import conftest as lab

NAMES = ["smd", "sdk", "vwsdk", "omm", "multipoint", "smd:2", "sdk:2", "vwsdk:3x2", "omm:3"]


def prepared(network, hw, x, name, seed=0):
    device = build(hw.device.kind, hw.device.parameters)
    return calibrate(program(map_graph(network, hw, name), device, seed), [(x,)], seed)


@st.composite
def problems(draw):
    """(weight, input, options): grouped, strided, dilated, padded, with pixel-shuffle blocks."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(draw(st.integers(max(2, e), e + 9)) for e in extent)
    groups, block = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2]))
    c_out = groups * draw(st.integers(1, 4)) * block**2
    weight = lab.whole_numbers((c_out, draw(st.integers(1, 4)), *kernel), -127, 127)
    x = lab.whole_numbers((1, groups * weight.shape[1], *size), 0, 255, 1)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return weight, x, options | {"block": block}


@settings(max_examples=100)
@given(
    problem=problems(), name=st.sampled_from(NAMES), rows=st.integers(8, 150),
    cols=st.integers(4, 80), signed=st.sampled_from(["offset", "phases", "rows"]),
    dac=st.sampled_from([8, 4, 3]), exact=st.booleans(),
)  # fmt: skip
def test_without_noise_every_mapping_computes_the_convolution(
    problem, name, rows, cols, signed, dac, exact
):
    weight, x, options = problem
    # a zero point, or as far below 0 as above
    x = torch.from_numpy(x - 90 if signed == "offset" else 2 * x - 255)
    adc = {"adc__kind": "ideal"} if exact else {"adc__kind": "sar", "adc__bits": 32}
    hw = lab.chip(
        array__rows=rows, array__cols=cols, inputs__signed=signed, dac__bits=dac,
        inputs__bits=8 if signed == "offset" else 9, adc__range="full", **adc,
    )  # fmt: skip
    op = lab.conv(weight, tuple(x.shape[2:]), **options)
    ready = prepared(lab.graph(op), hw, x, name)
    assert ready.ops["layer"].code.scale == 1.0
    done = execute(ready, (x,), 0, 0, 1)
    y = done.outputs[0]
    torch.testing.assert_close(y.double(), lab.conv_oracle(x, weight, **options), rtol=0, atol=0)
    assert torch.equal(
        y, execute(prepared(lab.graph(op), hw, x, "im2col"), (x,), 0, 0, 1).outputs[0]
    )
    counted, counts = done.statistics.by_op["layer"], ready.programmed.mapping.counts["layer"]
    for what in ("windows", "activations", "pulses", "conversions", "dac_conversions"):
        assert getattr(counted, what) == getattr(counts, what), what


@pytest.fixture(params=NAMES)
def copies(request):
    """A layer of 5 x 3 x 3 -> 4 on a map that no rectangle divides, and a mapping of it."""
    rng = np.random.default_rng(0)
    op = lab.conv(rng.normal(0, 1, (4, 5, 3, 3)), (14, 19), padding=(1,) * 4)
    x = torch.from_numpy(rng.uniform(0, 1, (1, 5, 14, 19)).astype(np.float32))
    return lab.graph(op), x, request.param


def test_copies_are_other_devices(copies):
    network, x, name = copies
    hw = lab.chip(array__rows=400, array__cols=80, device__sigma_program="2 %")
    layer = prepared(network, hw, x, name).programmed.layers["layer"]
    assert layer.windows > 1
    patch = map_graph(network, hw, name).layers[0].layout.patch
    matrices = np.zeros((layer.windows, *layer.weight.shape[1:]))
    for array in layer.arrays:
        cells = np.zeros((patch.n_inputs, layer.n_outputs))
        cells[np.ix_(array.row_source, array.col_target)] = array.written.difference
        for window, rows in enumerate(patch.elements[:, 0]):
            matrices[window] += cells[rows, 4 * window : 4 * window + 4]
    errors = (matrices - layer.weight[0]).reshape(layer.windows, -1)
    assert (np.abs(errors).max(axis=1) > 0).all()
    found = np.corrcoef(errors)[np.triu_indices(layer.windows, 1)]
    assert np.abs(found).max() < 4.5 / np.sqrt(errors.shape[1])


def test_noise_does_not_depend_on_threads_or_what_ran_before(copies):
    network, x, name = copies
    hw = lab.chip(
        array__rows=400, array__cols=80, device__sigma_program="2 %", device__sigma_read="2 %",
        adc__kind="sar",
    )  # fmt: skip
    ready = prepared(network, hw, x, name)
    first = execute(ready, (x,), 0, 3, 1).outputs[0]
    second = execute(ready, (x,), 1, 3, 2).outputs[0]
    assert torch.equal(first, execute(ready, (x,), 0, 3, 2).outputs[0])
    assert torch.equal(second, execute(ready, (x,), 1, 3, 1).outputs[0])
    assert not torch.equal(first, second)
    assert not torch.equal(first, execute(ready, (x,), 0, 4, 1).outputs[0])


def test_read_noise_of_every_window_is_that_of_its_own_cells(copies):
    """Noise of a window has im2col's variance, and none of it is shared with its neighbours."""
    network, x, name = copies
    hw = lab.chip(array__rows=400, array__cols=80, device__sigma_read="3 %")
    clean = lab.chip(array__rows=400, array__cols=80)
    exact = execute(prepared(network, clean, x, name), (x,), 0, 0, 1).outputs[0]

    def errors(how):
        ready = prepared(network, hw, x, how)
        return torch.stack([execute(ready, (x,), f, 0, 1).outputs[0] - exact for f in range(60)])

    mine, other = errors(name), errors("im2col")
    n = mine.numel()
    assert float(mine.var() / other.var()) == pytest.approx(1, abs=4 * np.sqrt(4 / n))
    for axis in (-1, -2):
        a, b = mine, torch.roll(mine, 1, axis)
        share = float((a * b).mean() / mine.var())
        assert abs(share) < 4 / np.sqrt(n)


def test_every_copy_has_a_column_correction_of_its_own(copies):
    network, x, name = copies
    hw = lab.chip(
        array__rows=400, array__cols=80, adc__kind="sar", adc__bits=18, adc__gain_sigma="5 %",
        adc__range="full", calibration__column_gain=True, calibration__column_offset=True,
    )  # fmt: skip
    ready = prepared(network, hw, x, name)
    found, layer = ready.ops["layer"], ready.programmed.layers["layer"]
    assert found.windows == 14 * 19  # an activation begins at every window
    assert found.gain.shape == found.offset.shape == (layer.n_outputs,)
    if len(layer.arrays) == 1:
        gains = np.empty(layer.n_outputs)
        (array,) = layer.arrays
        gains[array.col_target] = array.adc_gain
        np.testing.assert_allclose(found.gain * gains, 1, atol=1e-3)
    exact = execute(prepared(network, lab.chip(), x, "im2col"), (x,), 0, 0, 1).outputs[0]
    error = execute(ready, (x,), 0, 0, 1).outputs[0] - exact
    assert float(error.std()) < 1e-3 * float(exact.std())


def test_results_do_not_depend_on_the_chip_that_a_part_of_a_layer_lies_on():
    rng = np.random.default_rng(0)
    op = lab.conv(rng.normal(0, 1, (40, 9, 3, 3)), (6, 7), padding=(1,) * 4)  # 3 x 2 arrays
    x = torch.from_numpy(rng.uniform(0, 1, (1, 9, 6, 7)).astype(np.float32))
    noisy = {"device__sigma_program": "2 %", "device__sigma_read": "2 %", "adc__kind": "sar"}
    outputs = []
    for tiles, chips in ((6, 1), (4, 2), (1, 6)):
        hw = lab.chip(tile__count=tiles, system__chips=chips, **noisy)
        ready = prepared(lab.graph(op), hw, x, "im2col")
        (layer,) = ready.programmed.mapping.layers
        assert len({slot.tile // tiles for slot in layer.slots[0]}) == chips
        done = execute(ready, (x,), 0, 3, 1)
        outputs.append(done.outputs[0])
        counted, counts = done.statistics.by_op["layer"], ready.programmed.mapping.counts["layer"]
        assert (counted.activations, counted.conversions) == (
            counts.activations,
            counts.conversions,
        )
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_samples_of_another_mapping_are_refused(copies):
    network, x, name = copies
    hw = lab.chip(array__rows=400, array__cols=80)
    device = build(hw.device.kind, hw.device.parameters)
    written = program(map_graph(network, hw, name), device, 0)
    other = map_graph(network, hw, "vwsdk:1x2" if name != "smd" else "smd:2").layers[0].layout
    for layouts in (None, {"layer": other}):
        samples = collect(network, hw, [(x,)], layouts)
        with pytest.raises(
            SimulationError, match=r"layer 'layer': .* collected for another mapping"
        ):
            calibrate(written, [], 0, samples=samples)


def test_a_rectangle_of_one_window_is_that_window():
    """Groups: their channels are numbered in another order than the pixels of a rectangle."""
    rng = np.random.default_rng(0)
    op = lab.conv(rng.normal(0, 1, (6, 2, 3, 3)), (7, 8), groups=3)
    x = torch.from_numpy(rng.normal(0, 1, (1, 6, 7, 8)).astype(np.float32))
    hw = lab.chip(array__rows=80)

    class One:
        name = "one"

        def place(self, op, chip):
            blocks = strategy("im2col").place(op, chip).blocks
            return Layout.of(op, chip, list(blocks), window_shape=(1, 1))

    outputs = [
        execute(prepared(lab.graph(op), hw, x, how), (x,), 0, 0, 1).outputs[0]
        for how in ("im2col", One())
    ]
    assert torch.equal(*outputs)
