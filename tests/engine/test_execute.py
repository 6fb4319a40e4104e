from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional

from cimsim.engine.execute import execute
from cimsim.engine.maps import empty_map, encode_input, to_map
from cimsim.engine.workers import workers
from cimsim.errors import InputError, SimulationError
from cimsim.graph.ir import DigitalOp, MatrixOp, Ref, TensorSpec, Window
from cimsim.graph.layout import from_vectors
from cimsim.kernels import floats

fixture_ok = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def convolutions(draw):
    """A random convolution with everything that can bend a window."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    block = draw(st.sampled_from([1, 1, 2, 3])) if groups == 1 else 1
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return {
        "groups": groups, "block": block, "kernel": kernel,
        "c_in": groups * draw(st.integers(1, 5)),
        "c_out": groups * draw(st.integers(1, 4)) * block**2,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "padding": draw(st.tuples(*[st.integers(0, 2)] * 4)),
        "size": (draw(st.integers(5, 9)), draw(st.integers(5, 9))),
        "signed": draw(st.booleans()), "seed": draw(st.integers(0, 99)),
    }  # fmt: skip


def check_exact(lab, case, hw):
    """The chip's output must be the integer convolution, bit for bit."""
    x_max, q_max = 2**hw.inputs.bits - 1, hw.weights.q_max
    low = -(x_max // 3) if case["signed"] else 0
    shape = (case["c_out"], case["c_in"] // case["groups"], *case["kernel"])
    weight = lab.whole_numbers(shape, -q_max, q_max, case["seed"])
    x = lab.whole_numbers((1, case["c_in"], *case["size"]), low, low + x_max, case["seed"] + 1)
    x = torch.from_numpy(x)
    options = {k: case[k] for k in ("stride", "padding", "dilation", "groups", "block")}
    network = lab.graph(lab.conv(weight, case["size"], **options))
    done = lab.run(network, hw, x)
    expected = lab.conv_oracle(x, weight, **options)
    assert torch.equal(done.outputs[0].double(), expected.float().double())
    assert done.statistics.total.saturations == 0


@given(convolutions())
@fixture_ok
def test_without_errors_any_convolution_is_bit_exact(lab, case):
    check_exact(lab, case, lab.chip())


@pytest.mark.slow
@given(
    convolutions(), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 3, 4, 7]),
    st.sampled_from(["ideal", "sar"]),
)  # fmt: skip
@fixture_ok
def test_pulses_slices_and_a_lossless_converter_change_nothing(
    lab, case, dac_bits, cell_bits, kind
):
    hw = lab.chip(
        dac__bits=dac_bits, weights__cell_bits=cell_bits, adc__kind=kind, adc__bits=24,
        adc__range="full",
    )  # fmt: skip
    check_exact(lab, case, hw)


@pytest.mark.parametrize(
    ("weight_bits", "input_bits", "dac_bits", "cell_bits"),
    [(2, 1, 1, 1), (4, 3, 2, 2), (8, 12, 12, 7), (12, 16, 16, 11), (12, 10, 3, 4), (16, 16, 5, 4)],
)
def test_other_word_lengths_are_bit_exact(lab, weight_bits, input_bits, dac_bits, cell_bits):
    hw = lab.chip(
        weights__bits=weight_bits, inputs__bits=input_bits, dac__bits=dac_bits,
        weights__cell_bits=cell_bits,
    )  # fmt: skip
    case = {
        "groups": 1, "block": 1, "kernel": (3, 3), "c_in": 40, "c_out": 37, "stride": (1, 1),
        "dilation": (1, 1), "padding": (1, 1, 1, 1), "size": (6, 5), "signed": False, "seed": 3,
    }  # fmt: skip
    check_exact(lab, case, hw)


@pytest.mark.parametrize("rows", [16, 1024])
def test_a_full_array_of_large_numbers_is_bit_exact(lab, rows):
    """1024 rows of 255 x 127 exceed what float32 can count."""
    weight = np.full((2, 1024, 1, 1), 127, np.float32)
    weight[1] = lab.whole_numbers((1024, 1, 1), -127, 127)
    x = torch.from_numpy(lab.whole_numbers((1, 1024, 3, 5), 200, 255))
    hw = lab.chip(array__rows=rows, adc__kind="sar", adc__bits=32, adc__range="full")
    done = lab.run(lab.graph(lab.conv(weight, (3, 5))), hw, x)
    expected = lab.conv_oracle(
        x, weight, stride=1, padding=(0, 0, 0, 0), dilation=1, groups=1, block=1
    )
    # the input step is exactly 1 only if codes reach 255
    assert torch.equal(done.outputs[0].double(), expected.float().double())


def test_linear_layers_and_scales_per_column(lab):
    weight = lab.whole_numbers((45, 70), -127, 127)
    weight[:, 0] = 127
    weight *= 2.0 ** np.arange(-20, 25)[:, None]
    x = torch.from_numpy(lab.whole_numbers((1, 6, 70), -100, 155))
    network = lab.graph(lab.linear(weight, 6))
    done = lab.run(network, lab.chip(weights__scale="column"), x)
    expected = functional.linear(x.double(), torch.from_numpy(weight).double())
    assert torch.equal(done.outputs[0].double(), expected.float().double())


def test_transposed_convolution_in_matrix_form(lab):
    weight = lab.whole_numbers((5, 3, 2, 2), -127, 127)
    x = torch.from_numpy(lab.whole_numbers((1, 5, 4, 6), 0, 255))
    matrix = np.ascontiguousarray(weight.reshape(1, 5, 12))
    op = MatrixOp(
        "up", ("x",), TensorSpec((1, 5, 4, 6)), TensorSpec((1, 3, 8, 12)), matrix, None, Window(),
        (3, 2, 2), kind="conv_transpose2d",
    )  # fmt: skip
    done = lab.run(lab.graph(op), lab.chip(), x)
    expected = functional.conv_transpose2d(x.double(), torch.from_numpy(weight).double(), stride=2)
    assert torch.equal(done.outputs[0].double(), expected)


def test_real_scales_give_the_quantised_float64_reference(lab):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.1, (6, 4, 3, 3)).astype(np.float32)
    bias = rng.normal(0, 0.1, 6).astype(np.float32)
    x = torch.from_numpy(rng.normal(0.4, 0.3, (1, 4, 9, 8)).astype(np.float32))
    op = lab.conv(weight, (9, 8), padding=(1, 1, 1, 1), bias=bias)
    done = lab.run(lab.graph(op), lab.chip(), x)
    w_step = float(np.abs(weight.astype(np.float64)).max()) / 127
    x_step = (float(x.max()) - float(x.min())) / 255
    zero = round(-float(x.min()) / x_step)
    x_int = torch.clip(torch.round(x.double() / x_step) + zero, 0, 255) - zero
    w_int = torch.round(torch.from_numpy(weight).double() / w_step)
    product = functional.conv2d(x_int, w_int, padding=1)
    expected = product * (x_step * w_step) + torch.from_numpy(bias).double()[:, None, None]
    assert torch.equal(done.outputs[0], expected.float())


def noisy_chip(lab, **overrides):
    return lab.chip(
        device__sigma_program="1.75 %", device__sigma_read="0.79 %", adc__kind="sar", adc__bits=8,
        adc__noise_lsb=0.3, adc__gain_sigma="1 %", adc__offset_sigma_lsb=0.2, array__rows=256,
        array__cols=256, calibration__column_gain=True, calibration__column_offset=True,
        **overrides,
    )  # fmt: skip


def small_network(lab):
    rng = np.random.default_rng(1)
    first = lab.conv(rng.normal(0, 1, (6, 3, 3, 3)), (40, 33), padding=(1, 1, 1, 1), name="a")
    middle = lab.relu("r", "a", (1, 6, 40, 33))
    second = lab.conv(
        rng.normal(0, 1, (8, 6, 3, 3)), (40, 33), padding=(1, 1, 1, 1), stride=(2, 2), block=2,
        name="b", source="r",
    )  # fmt: skip
    x = torch.from_numpy(rng.normal(0.5, 0.4, (3, 3, 40, 33)).astype(np.float32))
    return lab.graph(first, middle, second), list(x.split(1))


@pytest.mark.parametrize("dac_bits", [8, 3])
def test_the_bits_do_not_depend_on_threads_or_frame_order(lab, dac_bits):
    network, frames = small_network(lab)
    ready = lab.prepare(network, noisy_chip(lab, dac__bits=dac_bits), frames, threads=1)
    first = [execute(ready, (x,), t, 5, threads=1) for t, x in enumerate(frames)]
    again = lab.prepare(network, noisy_chip(lab, dac__bits=dac_bits), frames, threads=2)
    for t in (2, 0, 1):
        for threads in (2, 3, None):
            other = execute(again, (frames[t],), t, 5, threads=threads)
            assert torch.equal(other.outputs[0], first[t].outputs[0])
            assert other.statistics == first[t].statistics


def test_a_capture_sees_what_enters_and_leaves_every_layer_and_changes_nothing(lab):
    network, frames = small_network(lab)
    ready = lab.prepare(network, noisy_chip(lab), frames, threads=1)
    seen = {}

    def capture(op, x, y):
        seen[op.name] = x.clone(), y.clone()

    captured = execute(ready, (frames[0],), 0, 5, capture=capture)
    plain = execute(ready, (frames[0],), 0, 5)
    assert torch.equal(captured.outputs[0], plain.outputs[0])
    assert captured.statistics == plain.statistics
    assert list(seen) == [op.name for op in network.matrix_ops]
    first, last = network.matrix_ops[0].name, network.outputs[0]
    assert torch.equal(seen[first][0], frames[0])
    assert torch.equal(seen[last][1], plain.outputs[0])
    for op in network.matrix_ops:
        assert tuple(seen[op.name][0].shape) == op.input.shape
        assert tuple(seen[op.name][1].shape) == op.output.shape


def test_noise_differs_between_frames_and_seeds(lab):
    network, frames = small_network(lab)
    ready = lab.prepare(network, noisy_chip(lab), frames[:1])
    runs = [
        execute(ready, (frames[0],), t, seed).outputs[0] for t, seed in ((0, 1), (1, 1), (0, 2))
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (runs[i] != runs[j]).float().mean() > 0.5


def test_layers_that_share_weights_share_cells_but_not_noise(lab):
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1))
    ops = [lab.conv(weight, (20, 20), name=name, weights_id="w") for name in ("a", "b")]
    network = lab.graph(*ops, outputs=["a", "b"])
    x = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    written = lab.chip(device__sigma_program="2 %")
    a, b = lab.run(network, written, x).outputs
    assert torch.equal(a, b)
    a, b = lab.run(network, lab.chip(device__sigma_read="1 %"), x).outputs
    assert (a != b).float().mean() > 0.9


def constant_windows(lab, weight, x):
    """Every window sees the same vector: one linear layer over many positions."""
    positions = 20_000
    frame = torch.from_numpy(np.tile(x.astype(np.float32), (1, positions, 1)))
    return lab.graph(lab.linear(weight, positions)), frame


def check_normal(errors, sigma):
    """Mean, variance and shape of samples [n, columns] against N(0, sigma)."""
    n = len(errors)
    assert (np.abs(errors.mean(axis=0)) < 5 * sigma / np.sqrt(n)).all()
    assert (np.abs(errors.std(axis=0) / sigma - 1) < 5 / np.sqrt(2 * n)).all()
    for column, size in zip(errors.T, np.broadcast_to(sigma, errors.shape[1]), strict=True):
        assert stats.kstest(column / size, "norm").pvalue > 1e-4


def test_read_noise_alone_has_its_closed_form_distribution(lab):
    weight = lab.whole_numbers((5, 40), -127, 127)
    x = lab.whole_numbers(40, 0, 255, seed=1)
    network, frame = constant_windows(lab, weight, x)
    hw = lab.chip(device__sigma_read="0.79 %", array__rows=64)
    done = lab.run(network, hw, frame)
    errors = done.outputs[0][0].numpy().astype(np.float64) - weight.astype(np.float64) @ x
    g_max, g_min = 11.5e-9, 0.01e-9
    lsb = (g_max - g_min) / 127

    def variance(q):
        return (0.0079 * g_max * (1 - np.exp(-(g_min + q * lsb) / (0.135 * g_max))) / lsb) ** 2

    pairs = variance(np.maximum(weight, 0)) + variance(np.maximum(-weight, 0))
    check_normal(errors, np.sqrt(pairs @ x.astype(np.float64) ** 2))
    correlation = np.corrcoef(errors.T) - np.eye(5)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(errors))


def test_read_noise_adds_up_over_pulses_and_slices(lab):
    """Each pulse and slice has its own draw, weighted by 2**(pulse bits + slice bits)."""
    weight = lab.whole_numbers((3, 20), -127, 127)
    x = lab.whole_numbers(20, 0, 255, seed=1)
    network, frame = constant_windows(lab, weight, x)
    hw = lab.chip(device__sigma_read="0.79 %", dac__bits=4, weights__cell_bits=4)
    done = lab.run(network, hw, frame)
    errors = done.outputs[0][0].numpy().astype(np.float64) - weight.astype(np.float64) @ x
    g_max, g_min = 11.5e-9, 0.01e-9
    lsb = (g_max - g_min) / 15
    total = np.zeros(3)
    for pulse in (x.astype(int) & 15, x.astype(int) >> 4 << 4):
        for shift, mask in ((0, 15), (4, 7)):
            cells = 0.0
            for side in (weight, -weight):
                q = np.maximum(side, 0).astype(int) >> shift & mask
                g = g_min + q * lsb
                cells += (0.0079 * g_max * (1 - np.exp(-g / (0.135 * g_max))) / lsb) ** 2
            total += cells @ pulse.astype(np.float64) ** 2 * 4.0**shift
    check_normal(errors, np.sqrt(total))


def test_programming_error_alone_has_its_closed_form_variance(lab):
    """Many columns of one weight, one input vector: the error is sum_i x_i e_ij."""
    columns = 4000
    weight = np.full((columns, 16), 60, np.float32)
    weight[0, 0] = 127
    x = lab.whole_numbers(16, 0, 255, seed=1)
    frame = torch.from_numpy(x[None, None])
    hw = lab.chip(device__sigma_program="1.75 %", array__cols=4096)
    done = lab.run(lab.graph(lab.linear(weight, 1)), hw, frame)
    errors = (done.outputs[0][0, 0].numpy().astype(np.float64) - weight @ x)[1:]
    from cimsim.chip.cells import build

    device = build(hw.device.kind, hw.device.parameters)
    step = (device.g_max_s - device.g_min_s) / 127
    cells = device.program_sigma(device.g_min_s + step * np.array([60.0, 0.0]))
    sigma = np.hypot(*cells) / step * np.linalg.norm(x.astype(np.float64))
    assert abs(errors.std() / sigma - 1) < 5 / np.sqrt(2 * columns)
    assert abs(errors.mean()) < 5 * sigma / np.sqrt(columns)


def quantised(lab, bits, **overrides):
    """Errors of a layer of two row tiles whose converters have ``bits``, and their steps."""
    rng = np.random.default_rng(0)
    weight = lab.whole_numbers((8, 60), -127, 127)
    x = lab.whole_numbers((1, 2000, 60), 0, 255, seed=1)
    x[0, :, 32:] = rng.integers(0, 256, (2000, 28))
    frame = torch.from_numpy(x)
    hw = lab.chip(adc__kind="sar", adc__bits=bits, adc__percentile=100, **overrides)
    ready = lab.prepare(lab.graph(lab.linear(weight, 2000)), hw, [frame])
    done = execute(ready, (frame,), 0, 0)
    exact = x[0].astype(np.float64) @ weight.T.astype(np.float64)
    steps = np.array([adc.lsb for adc in ready.ops["layer"].ranges])
    assert len(steps) == 2
    return done.outputs[0][0].numpy() - exact, steps, done.statistics.total


def test_quantisation_alone_errs_by_a_twelfth_of_a_squared_step_per_row_tile(lab):
    errors, steps, counts = quantised(lab, 9)
    variance = (steps**2).sum() / 12
    # the sum of two uniform errors has kurtosis 2.4
    bound = 5 * np.sqrt((2.4 - 1) / errors.size)
    assert counts.saturations < 1e-3 * counts.conversions
    assert abs(np.mean(errors**2) / variance - 1) < bound + 0.01
    assert np.abs(errors).max() <= steps.sum()


def test_converter_noise_adds_to_quantisation(lab):
    errors, steps, _ = quantised(lab, 8, adc__noise_lsb=1.5)
    variance = (steps**2).sum() * (1 / 12 + 1.5**2)
    assert abs(np.mean(errors**2) / variance - 1) < 5 * np.sqrt(2 / errors.size) + 0.01


def test_gain_and_offset_mismatch_bend_each_column_its_own_way(lab):
    x = torch.from_numpy(lab.whole_numbers((1, 2000, 30), 0, 255))
    weight = lab.whole_numbers((8, 30), -127, 127)
    hw = lab.chip(
        adc__kind="sar", adc__bits=14, adc__gain_sigma="5 %", adc__offset_sigma_lsb=40,
        adc__range="full",
    )  # fmt: skip
    ready = lab.prepare(lab.graph(lab.linear(weight, 2000)), hw, [x])
    got = execute(ready, (x,), 0, 0).outputs[0][0].numpy().astype(np.float64)
    exact = x[0].numpy().astype(np.float64) @ weight.T
    array = ready.programmed.layers["layer"].arrays[0]
    step = ready.ops["layer"].ranges[0].lsb
    for j in range(8):
        gain, offset = np.polyfit(exact[:, j], got[:, j], 1)
        assert gain == pytest.approx(array.adc_gain[j], abs=1e-4)
        assert offset == pytest.approx(array.adc_offset[j] * step, abs=step)
    assert array.adc_gain.std() > 0.01
    assert array.adc_offset.std() > 10


def test_error_falls_with_every_converter_bit(lab):
    rms = [np.sqrt(np.mean(quantised(lab, bits)[0] ** 2)) for bits in range(4, 11)]
    assert all(b < 0.7 * a for a, b in pairwise(rms))


@pytest.mark.parametrize("field", ["weights__bits", "inputs__bits"])
def test_error_falls_with_every_operand_bit(lab, field):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (8, 6, 3, 3)).astype(np.float32)
    x = torch.from_numpy(rng.uniform(-1, 1, (1, 6, 20, 20)).astype(np.float32))
    network = lab.graph(lab.conv(weight, (20, 20)))
    exact = functional.conv2d(x.double(), torch.from_numpy(weight).double())
    errors = []
    for bits in range(4, 12):
        wide = {"weights__bits": 14, "inputs__bits": 14, "dac__bits": 4} | {field: bits}
        errors.append(float((lab.run(network, lab.chip(**wide), x).outputs[0] - exact).std()))
    assert all(b < 0.75 * a for a, b in pairwise(errors))


def test_blocks_are_placed_like_the_reference_layout(lab):
    for block, c_out in ((1, 4), (2, 8), (3, 18)):
        op = lab.conv(np.ones((c_out, 2, 1, 1)), (5, 7), block=block)
        y = np.random.default_rng(0).normal(size=(35, c_out)).astype(np.float32)
        out = empty_map(op)
        if block == 1:
            out[:] = y
        else:
            for start, stop in ((9, 35), (0, 9)):  # windows come in any order
                floats.unfold(y[start:stop], start, (7, block, block), out)
        expected = from_vectors(op, y.reshape(1, 5, 7, -1))
        np.testing.assert_array_equal(to_map(op, out).numpy(), expected)


def test_a_reshape_after_a_layer_sees_torch_order(lab):
    op = lab.conv(lab.whole_numbers((4, 3, 1, 1), -127, 127), (5, 6))
    view = DigitalOp(
        "flat", ("layer",), TensorSpec((1, 120)), "view", torch.ops.aten.view.default,
        (Ref("layer"), [1, 120]), locality="view",
    )  # fmt: skip
    network = lab.graph(op, view)
    x = torch.from_numpy(lab.whole_numbers((1, 3, 5, 6), 0, 255))
    assert torch.equal(lab.run(network, lab.chip(), x).outputs[0], network.reference(x)[0])


def test_inputs_that_do_not_fit_are_refused(lab):
    network, frames = small_network(lab)
    ready = lab.prepare(network, lab.chip(), frames[:1])
    with pytest.raises(InputError, match="expected 1 inputs, got 2"):
        execute(ready, (frames[0], frames[0]), 0, 0)
    with pytest.raises(
        InputError, match=r"input 'x': expected shape \[1, 3, 40, 33\] .*got \[1, 3, 8, 8\]"
    ):
        execute(ready, (torch.zeros(1, 3, 8, 8),), 0, 0)
    with pytest.raises(InputError, match=r"expected finite torch.float32, got torch.float64"):
        execute(ready, (frames[0].double(),), 0, 0)
    with pytest.raises(InputError, match=r"input 'x': expected finite .* NaN or infinite"):
        execute(ready, (frames[0] / 0,), 0, 0)


def test_a_graph_traced_with_a_batch_is_refused(lab):
    network, frames = small_network(lab)
    ready = lab.prepare(network, lab.chip(), frames[:1])
    op = lab.conv(np.ones((4, 3, 1, 1)), (5, 6), name="a")
    two = replace(op, input=TensorSpec((2, 3, 5, 6)), output=TensorSpec((2, 4, 5, 6)))
    pair = lab.graph(two)
    mapping = ready.programmed.mapping
    mapping = replace(mapping, graph=pair, layers=mapping.layers[:1])
    wrong = replace(ready, programmed=replace(ready.programmed, mapping=mapping))
    with pytest.raises(SimulationError, match="layer 'a': exported with a batch of 2"):
        execute(wrong, (torch.rand(2, 3, 5, 6),), 0, 0)


def test_a_failing_digital_operation_is_named(lab):
    op = lab.conv(np.ones((4, 3, 1, 1)), (5, 6))

    def fail(x):
        if fail.armed:
            raise RuntimeError("no such thing")
        return x

    fail.armed = False
    bad = DigitalOp(
        "odd", ("layer",), op.output, "odd_op", fail, (Ref("layer"),), source="net.py:7"
    )
    ready = lab.prepare(lab.graph(op, bad), lab.chip(), [torch.rand(1, 3, 5, 6)])
    fail.armed = True
    with pytest.raises(SimulationError, match=r"node 'odd' \(odd_op\) \[net.py:7\]: no such thing"):
        execute(ready, (torch.rand(1, 3, 5, 6),), 0, 0)


def test_a_relu_is_joined_with_its_layer_only_where_nobody_else_reads_the_layer(lab):
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    layer = lab.conv(weight, (9, 8))
    relu = lab.relu("relu", "layer", layer.output.shape)
    x = torch.rand(1, 3, 9, 8) - 0.5
    alone = lab.run(lab.graph(layer, relu), lab.chip(), x).outputs
    both = lab.run(lab.graph(layer, relu, outputs=["layer", "relu"]), lab.chip(), x).outputs
    assert (both[0] < 0).any()
    assert torch.equal(both[1], both[0].relu())
    assert torch.equal(alone[0], both[1])


@pytest.mark.parametrize("signed", ["offset", "rows", "phases"])
def test_the_codes_of_a_map_do_not_depend_on_threads(lab, signed):
    x = np.random.default_rng(0).normal(0.2, 1, (1, 24, 71, 60)).astype(np.float32)
    op = lab.conv(np.ones((3, 24, 3, 3)), (71, 60), padding=(1, 2, 0, 1))
    hw = lab.chip(inputs__signed=signed)
    code = lab.prepare(lab.graph(op), hw, [torch.from_numpy(x)]).ops[op.name].code
    alone = encode_input(op, x, code)
    for threads in (2, 3, 5):
        with workers(threads) as (pool, n):
            found = encode_input(op, x, code, None, pool, n)
        np.testing.assert_array_equal(found.padded, alone.padded)
        assert found.total == alone.total
