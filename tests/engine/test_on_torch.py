"""Arrays read with torch's operators: the integers, noise and codes of the compiled kernels."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import cimsim
from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.on_torch import TorchArrays, normals
from cimsim.engine.program import program
from cimsim.errors import InputError
from cimsim.kernels import normals as kernel

ALL_ON = {"device.sigma_program": "2 %", "device.sigma_read": "2 %", "adc.bits": 6}
# what the arrays of a chip may differ in, and whether torch reads them
CASES = {
    "eflash40nm": ("eflash40nm", {}),
    "noisy": ("eflash40nm", ALL_ON),
    "exact": ("eflash40nm", {"device": {"kind": "ideal"}, "adc.kind": "ideal"}),
    "steps alone": ("eflash40nm", {"device": {"kind": "ideal"}, "adc.bits": 5}),
    "no converter": ("eflash40nm", {"adc.kind": "ideal", "device.sigma_read": "2 %"}),
    "noisy converter": ("eflash40nm", ALL_ON | {"adc.noise_lsb": 0.7, "device.sigma_read": 0}),
    "pulses of one bit": ("eflash40nm", ALL_ON | {"dac.bits": 1}),
    "pulses of three bits": ("eflash40nm", ALL_ON | {"dac.bits": 3}),
    "slices": ("eflash40nm", ALL_ON | {"weights.cell_bits": 4, "dac.bits": 1}),
    "row tiles": ("eflash40nm", ALL_ON | {"array.rows": 16}),
    "offset weights": ("isaac32nm", {}),
    "signed inputs": ("neurram130nm", {}),
    "held noise": ("hermes14nm", {"tile.count": 8}),
}


class Net(nn.Module):
    """Two matrices, one with groups, and what stands between them."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(4, 24, 3, padding=1, groups=2)
        self.b = nn.Conv2d(24, 3, 5, stride=2)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


def ready(chip_name, overrides, strategy="im2col"):
    torch.manual_seed(3)
    x = torch.rand(1, 4, 13, 11)
    chip = cimsim.load_hw(chip_name, overrides=overrides)
    graph = cimsim.trace(Net().eval(), (x,))
    device = build(chip.device.kind, chip.device.parameters)
    mapped = cimsim.map_graph(graph, chip, strategy=strategy)
    return calibrate(program(mapped, device, 0), [(x,)], 0), x


def same(calibrated, x):
    """Run a frame both ways; return how many layers torch took."""
    arrays = TorchArrays("cpu")
    frame = 2**33 + 5 if x.numel() else 0
    one = execute(calibrated, (x,), frame, 7)
    two = execute(calibrated, (x,), frame, 7, arrays=arrays)
    assert torch.equal(one.outputs[0], two.outputs[0])
    assert {n: asdict(s) for n, s in one.statistics.by_op.items()} == {
        n: asdict(s) for n, s in two.statistics.by_op.items()
    }
    return len(arrays._held)


@pytest.mark.parametrize("case", CASES)
def test_torch_reads_what_the_kernels_read(case):
    taken = same(*ready(*CASES[case]))
    assert taken == 2


@pytest.mark.parametrize("strategy", ["sdk", "multipoint"])
def test_several_windows_at_once(strategy):
    assert same(*ready("eflash40nm", ALL_ON, strategy)) == 2


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 70), st.integers(0, 2**40), st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
)  # fmt: skip
def test_the_normals_are_those_of_the_kernels(n, quads, window, stage, key):
    numbers = np.zeros((2, n, quads), np.uint64)
    kernel.counters(*numbers)
    out, words = np.empty(4 * n * quads, np.float32), np.empty(4 * n * quads, np.uint32)
    flat = tuple(numbers.reshape(2, -1))
    kernel.normals(out, words, flat, np.uint64(window), np.uint64(stage), np.uint64(key))
    got = normals(n, 4 * quads, window, stage, key).numpy().reshape(-1)
    # one rounding in place of two: the last bit of one in many millions
    np.testing.assert_allclose(got, out, rtol=3e-7, atol=3e-7)
    assert (got != out).mean() < 0.01


def test_blocks_of_activations_do_not_change_a_bit(monkeypatch):
    calibrated, x = ready("eflash40nm", ALL_ON)
    whole = execute(calibrated, (x,), 0, 7, arrays=TorchArrays("cpu"))
    monkeypatch.setattr("cimsim.engine.on_torch._BLOCK_VALUES", 3000)
    parts = execute(calibrated, (x,), 0, 7, arrays=TorchArrays("cpu"))
    assert torch.equal(whole.outputs[0], parts.outputs[0])
    assert whole.statistics == parts.statistics


def test_layers_that_torch_does_not_read_stay_with_the_kernels():
    assert same(*ready("eflash40nm", ALL_ON | {"dac.inl_lsb": 0.5})) == 0


def test_a_run_on_torch_has_the_frames_of_one_without_and_says_so():
    clip = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    network = cimsim.load_network("cimnet", {"stride": 8})
    graph = cimsim.trace(network.module, network.example(32, 32))
    mapped = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    one, two = (cimsim.simulate(mapped, clip, noise_sigma=15, device=d) for d in (None, "cpu"))
    assert one.outputs == two.outputs
    assert two.environment["arithmetic"] == "torch on cpu"
    assert one.hash != two.hash


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_cannot_compute_is_refused_by_name(name):
    with pytest.raises(InputError, match=f"--device: torch cannot compute on '{name}'"):
        TorchArrays(name)
