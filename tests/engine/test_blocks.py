import math

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.crossbar.encode import pulses_of
from cimsim.engine.execute import execute
from cimsim.engine.maps import encode_input
from cimsim.engine.windows import window_places
from cimsim.graph.layout import im2col, to_nhwc


def layers(lab):
    """Layers that differ in what cuts them: groups, row tiles, column tiles, strides, blocks."""
    rng = np.random.default_rng(0)

    def weight(*shape):
        return rng.normal(0, 1, shape).astype(np.float32)

    return {
        "grouped": lab.conv(weight(9, 2, 3, 3), (23, 25), padding=(1, 1, 1, 1), groups=3),
        "row tiles": lab.conv(weight(5, 12, 3, 3), (23, 25), padding=(1, 1, 1, 1)),
        "both tiles": lab.conv(weight(70, 9, 3, 3), (11, 12), stride=(2, 1), padding=(0, 2, 1, 0)),
        "block": lab.conv(weight(36, 4, 4, 4), (13, 12), stride=(3, 3), block=3),
        "dilated": lab.conv(weight(6, 3, 3, 2), (20, 31), dilation=(2, 3)),
        "linear": lab.linear(weight(40, 50), 77),
        "one window": lab.linear(weight(3, 5), 1),
    }


NAMES = ["grouped", "row tiles", "both tiles", "block", "dilated", "linear", "one window"]
CHIPS = {
    "one pulse": {},
    "bit-serial, sliced": {"dac__bits": 3, "weights__cell_bits": 2},
    "large arrays": {"array__rows": 1024, "array__cols": 1024, "dac__bits": 2},
}


def frame_for(op, low=-0.3, seed=0):
    x = np.random.default_rng(seed).uniform(low, 1, op.input.shape)
    return torch.from_numpy(x.astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_windows_are_collected_like_the_reference_im2col(lab, name):
    op, x = layers(lab)[name], frame_for(layers(lab)[name])
    ready = lab.prepare(lab.graph(op), lab.chip(), [x])
    code = ready.ops[op.name].code
    codes = encode_input(op, x.numpy(), code)
    flat, total = codes.flat, codes.total
    bases, offsets = window_places(op)
    # padding is activation 0, so codes less the zero point are the im2col of quantised activations
    integers = code.encode(to_nhwc(op, x.numpy())).astype(np.float32) - code.zero_point
    expected = im2col(op, integers).reshape(op.windows, op.n_rows)
    got = flat[bases[:, None] + offsets].astype(np.float32) - code.zero_point
    np.testing.assert_array_equal(got, expected)
    assert total == integers.sum() + code.zero_point * integers.size


@pytest.mark.parametrize("setting", sorted(CHIPS))
@pytest.mark.parametrize("name", NAMES)
def test_what_was_fired_is_what_the_mapping_counts(lab, name, setting):
    op, hw = layers(lab)[name], lab.chip(**CHIPS[setting])
    x = frame_for(op)
    ready = lab.prepare(lab.graph(op), hw, [x])
    counts = ready.programmed.mapping.counts[op.name]
    done = execute(ready, (x,), 0, 0, threads=2).statistics.by_op[op.name]
    for field in ("windows", "activations", "pulses", "conversions", "dac_conversions"):
        assert getattr(done, field) == getattr(counts, field), field
    assert done.frames == 1
    codes = ready.ops[op.name].code.encode(x.numpy())
    assert done.input_mean == pytest.approx(codes.mean() / 255, rel=1e-12)


@pytest.mark.parametrize("setting", sorted(CHIPS))
@pytest.mark.parametrize(
    ("device", "encoding", "power"),
    [("eflash", "amplitude", 1), ("ideal", "amplitude", 2), ("ideal", "pulse_width", 1)],
)
def test_energy_sum_equals_the_dense_formula(lab, setting, device, encoding, power):
    op = layers(lab)["both tiles"]
    options = CHIPS[setting] | {"dac__encoding": encoding, "sources": {}}
    limits = {"kind": device, "g_max": "11.5 nS", "g_min": "0.01 nS"}
    hw = lab.chip(**options).model_copy(update={"device": lab.chip().device})
    hw = hw.model_copy(update={"device": type(hw.device).model_validate(limits)})
    x = frame_for(op)
    ready = lab.prepare(lab.graph(op), hw, [x])
    got = execute(ready, (x,), 0, 0, threads=2).statistics.by_op[op.name].conductance_s

    code = ready.ops[op.name].code
    integers = code.encode(to_nhwc(op, x.numpy())).astype(np.float32) - code.zero_point
    vectors = im2col(op, integers).reshape(op.windows, op.n_rows).astype(int) + code.zero_point
    q = np.round(op.weight[0].astype(np.float64) / (np.abs(op.weight).max() / 127)).astype(int)
    g_min, g_max = 0.01e-9, 11.5e-9
    slice_bits, slices = hw.weights.slice_bits, hw.weights.slices
    step = (g_max - g_min) / (2**slice_bits - 1)
    cells = np.zeros(op.n_rows)
    for s in range(slices):
        magnitude = np.abs(q) >> (s * slice_bits) & (2**slice_bits - 1)
        cells += (magnitude * step + 2 * g_min).sum(axis=1)
    applied = sum(
        ((vectors >> shift & mask) / mask) ** power for shift, mask in pulses_of(8, hw.dac.bits)
    )
    assert got == pytest.approx(float((applied @ cells).sum()), rel=1e-9)


def test_programming_error_enters_the_energy(lab):
    op = layers(lab)["row tiles"]
    hw = lab.chip(device__sigma_program="5 %")
    x = frame_for(op)
    ready = lab.prepare(lab.graph(op), hw, [x])
    arrays = ready.programmed.layers[op.name].arrays
    total = sum(a.written.row_conductance_s.sum() for a in arrays)
    device = build(hw.device.kind, hw.device.parameters)
    q = np.abs(ready.programmed.layers[op.name].weight)
    step = (device.g_max_s - device.g_min_s) / 127
    nominal = q.sum() * step + 2 * q.size * device.g_min_s
    spread = math.sqrt(float((device.program_sigma(device.g_min_s + q * step) ** 2).sum()))
    assert total != nominal
    # erased partners hardly err, clipping at 0 S hardly bites
    assert abs(total - nominal) < 6 * spread


def test_statistics_add_up_over_frames(lab):
    op = layers(lab)["block"]
    ready = lab.prepare(lab.graph(op), lab.chip(), [frame_for(op)])
    one, two = (execute(ready, (frame_for(op, seed=s),), s, 0).statistics for s in (0, 1))
    both = one + two
    assert both.by_op[op.name].frames == 2
    assert both.total.windows == 2 * op.windows
    assert both.total.conductance_s == one.total.conductance_s + two.total.conductance_s
    mean = (one.total.input_mean + two.total.input_mean) / 2
    assert both.total.input_mean == pytest.approx(mean, rel=1e-12)
