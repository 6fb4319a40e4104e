"""The chip without noise against `tests.reference.integers`, on random networks and chips.

What must hold: weights are the same integers; what calibration decides is what the documentation
says; every layer, fed with what the chip fed it with, gives the same float32 map bit for bit (a
value that float64 sums cancel to nothing may keep a residue of 1e-12 of the map); and the network
from end to end gives the same values to the last roundings of its digital operations.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cimsim
from cimsim.chip.cells import device_of
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare
from tests.reference import calibrating, nets
from tests.reference.integers import (
    Decided,
    input_codes,
    layer,
    local_arrays,
    network,
    weight_integers,
    weight_scales,
)

# of the first eighty, quick ones that meet every kind of chip and layer among these
FEW = (1, 4, 6, 16, 22, 32, 37, 38, 43, 45, 49, 58, 60, 68, 75)
N_FRAMES = 3
RESIDUE = 1e-12  # of a map's largest value: what float64 leaves of sums that cancel
ROUNDINGS = 3e-6  # of a map's largest value: digital operations in float32, several in a row


def made(seed):
    """A random network on a random chip, calibrated, and what it answers to one input."""
    module, shape = nets.net(seed)
    fields, strategy, allocation = nets.chip_fields(seed)
    rng = torch.Generator().manual_seed(seed)
    frames = [(torch.randn(shape, generator=rng),) for _ in range(N_FRAMES)]
    x = torch.randn(shape, generator=rng)
    graph = cimsim.trace(module, (torch.zeros(shape),))
    hw = cimsim.load_hw("eflash40nm", fields)
    mapping = cimsim.map_graph(graph, hw, strategy, allocation)
    chip = prepare(mapping, device_of(hw), frames, seed)
    maps = {}

    def capture(op, x, y):
        maps[op.name] = x.numpy().copy(), y.numpy().copy()

    outputs = execute(chip, (x,), 0, seed, capture=capture).outputs
    return SimpleNamespace(
        graph=graph, hw=hw, mapping=mapping, chip=chip, frames=frames, x=x.numpy(), maps=maps,
        outputs=[y.numpy() for y in outputs],
    )  # fmt: skip


def decided(case, op):
    """What the chip's calibration decided for an operation."""
    found = case.chip.ops[op.name]
    shape = (case.mapping.layer_of[op.name].layout.windows_per_activation, op.n_cols)
    return Decided(
        (found.code.scale, found.code.zero_point),
        tuple((r.lo, r.lsb, r.top) for r in found.ranges),
        found.gain.reshape(shape),
        found.offset.reshape(shape),
    )


def checked_integers(case, op):
    """Integers and scales of a matrix, after comparing them with the chip's."""
    spec, written = case.hw.weights, case.chip.programmed.layer_of(op.name)
    scales = weight_scales(op.weight, spec.bits, spec.scale)
    np.testing.assert_allclose(scales.reshape(-1), written.scales, rtol=1e-15)
    # a scale that is worked out in another order may differ in its last bit
    scales = written.scales.reshape(scales.shape)
    q = weight_integers(op.weight, scales, spec.bits)
    if spec.rounding == "inputs":
        assert np.abs(written.weight).max() <= spec.q_max
        return written.weight.astype(np.int64), scales
    assert np.array_equal(q, written.weight)
    return q, scales


def check_calibration(case, ops, integers, maps):
    """What calibration decided for operations that are calibrated together."""
    op, hw = ops[0], case.hw
    layout, (q, _) = case.mapping.layer_of[op.name].layout, integers[op.name]
    got = decided(case, op)
    values = np.concatenate([x.reshape(-1) for one in ops for x in maps[one.name]])
    scale, zero = calibrating.code_of(values, hw.inputs, op.signed)
    assert got.code == (pytest.approx(scale, rel=1e-14), zero)
    arrays = local_arrays(layout, q)
    vectors = calibrating.sampled(ops, layout, maps, hw, got.code)
    assert case.chip.ops[op.name].windows == len(vectors)
    ranges = calibrating.ranges_of(op, arrays, vectors, hw)
    for mine, theirs in zip(ranges, got.ranges, strict=True):
        assert mine is None or theirs == mine
    gain, offset = calibrating.corrections_of(op, q, arrays, vectors, got.ranges, got.code[1], hw)
    np.testing.assert_allclose(got.gain, gain, rtol=1e-9)
    np.testing.assert_allclose(got.offset, offset, rtol=1e-9, atol=1e-9 * np.abs(q).sum())


def same(mine, theirs, share):
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).max() <= share * np.abs(theirs).max()


def first_tie(case, seen, found):
    """Whether a value that the network feeds into a matrix fell on the other side of a half."""
    for op in case.graph.matrix_ops:
        mine, theirs = seen[op.name], case.maps[op.name][0]
        codes = [input_codes(x, found[op.name], case.hw.inputs, op.signed) for x in (mine, theirs)]
        moved = codes[0] != codes[1]
        if moved.any():
            same(mine, theirs, ROUNDINGS)
            assert np.abs(codes[0] - codes[1]).max() == 1
            return True
    return False


def check(seed):
    """Compare everything of one case; returns whether the outputs are bit-equal, or why not."""
    case = made(seed)
    ops = case.graph.matrix_ops
    integers = {op.name: checked_integers(case, op) for op in ops}
    found = {op.name: decided(case, op) for op in ops}
    observed = calibrating.observed(case.graph, case.frames)
    for pool in calibrating.pools(case.graph, case.mapping, N_FRAMES):
        check_calibration(case, pool, integers, observed)
    for op in ops:
        x, y = case.maps[op.name]
        layout = case.mapping.layer_of[op.name].layout
        same(layer(op, layout, *integers[op.name], x, found[op.name], case.hw), y, RESIDUE)
    seen = {}
    mine = network(case.graph, case.mapping, integers, found, [case.x], seen)
    if first_tie(case, seen, found):
        return "tie"
    for one, other in zip(mine, case.outputs, strict=True):
        same(one, other, ROUNDINGS)
    return "equal" if all(map(np.array_equal, mine, case.outputs)) else "rounded"


def quietly(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch on even kernels with padding, on short series
        return check(seed)


@pytest.mark.parametrize("seed", FEW)
def test_a_chip_without_noise_is_what_the_documentation_says(seed):
    assert quietly(seed) in ("equal", "rounded", "tie")


def test_few_cases_meet_every_kind_of_chip_and_layer():
    met = set()
    for seed in FEW:
        fields, strategy, allocation = nets.chip_fields(seed)
        modules = {type(module).__name__ for module in nets.net(seed)[0].modules()}
        named = ("weights.encoding", "weights.scale", "weights.rounding", "inputs.signed")
        met |= modules | {allocation, strategy.partition(":")[0]} | {fields[n] for n in named}
        met |= {"ideal"} if fields["adc.kind"] == "ideal" else {
            fields["adc.range"], fields["adc.method"], fields["adc.scope"],
        }  # fmt: skip
    assert met >= {
        "differential", "offset", "twos_complement", "phases", "rows", "layer", "column",
        "balanced", "nearest", "inputs", "ideal", "full", "calibrated", "power2", "percentile",
        "least_error", "array", "im2col", "smd", "omm", "multipoint", "sdk", "vwsdk", "in_order",
        "packed", "replicated", "short_wires", "Conv2d", "ConvTranspose2d", "Conv1d", "Linear",
        "MaxPool2d", "AvgPool2d", "PixelShuffle", "Residual", "Branches", "Twice", "LSTM", "GRU",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 400, 10))
def test_three_hundred_chips_without_noise(first):
    answers = [quietly(seed) for seed in range(first, first + 10)]
    assert set(answers) <= {"equal", "rounded", "tie"}, answers
