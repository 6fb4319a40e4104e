"""What is left of a network on a chip without noise: rounding, and inputs beyond the code's ends.

python -m benchmarks.analog.bits

Ideal cells and converters, weights and inputs of equally many bits, standard normal inputs; an LSTM
of 40 inputs, 64 units and 20 steps and a ResNet-18 at 64 x 64, random weights, against torch. Once
judged on frames that the chip was calibrated on, once on others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import cimsim
from cimsim.chip.cells import device_of
from cimsim.engine.execute import execute
from cimsim.engine.prepare import prepare

BITS = (8, 12, 16)
CALIBRATION, JUDGED = 32, 8
CHIP = {
    "device.kind": "ideal", "device.g_max": "2 uS", "device.g_min": "0 uS", "adc.kind": "ideal",
    "calibration.column_gain": False, "calibration.column_offset": False, "tile.count": 4000,
    "inputs.percentile": 100, "weights.scale": "layer", "weights.rounding": "nearest",
}  # fmt: skip


class Lstm(nn.Module):
    """Outputs of all steps of a torch LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [B, T, 64] of [B, T, 40]."""
        return self.lstm(x)[0]


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out),
        )  # fmt: skip
        other = nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
        self.skip = nn.Sequential(*other) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [B, n_out, H / stride, W / stride]."""
        return torch.relu(self.body(x) + self.skip(x))


def resnet18() -> nn.Module:
    """Return a ResNet-18 of random weights, its batch norms set by noise."""
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
    blocks = [
        Block(n_in if first else n_out, n_out, stride if first else 1)
        for n_in, n_out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        for first in (True, False)
    ]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
    net = nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *head)
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, 3, 64, 64))
    return net.eval()


def measure(net: nn.Module, shape: tuple[int, ...], bits: int) -> str:
    """Return a row of the table: SNR and largest error, known and other frames."""
    rng = torch.Generator().manual_seed(5)
    known, others = (
        [torch.randn(shape, generator=rng) for _ in range(n)] for n in (CALIBRATION, JUDGED)
    )
    fields = {"weights.bits": bits, "inputs.bits": bits, "dac.bits": min(bits, 8)}
    hw = cimsim.load_hw("eflash40nm", CHIP | fields)
    mapping = cimsim.map_graph(cimsim.trace(net, (torch.zeros(shape),)), hw)
    chip = prepare(mapping, device_of(hw), [(x,) for x in known], 0)
    cells = []
    for frames in (known[:JUDGED], others):
        with torch.no_grad():
            wanted = torch.stack([net(x) for x in frames]).double()
        got = torch.stack([execute(chip, (x,), n, 0).outputs[0] for n, x in enumerate(frames)])
        error = got.double() - wanted
        snr = 10 * torch.log10(wanted.square().sum() / error.square().sum())
        cells.append(f"{snr:.1f} dB, {error.abs().max() / wanted.abs().max():.1g}")
    return " | ".join(cells)


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    nets = {"LSTM": (Lstm().eval(), (1, 20, 40)), "ResNet-18": (resnet18(), (1, 3, 64, 64))}
    print("| | bits | SNR, largest error over largest output: frames of the calibration | others |")
    print("|---|---|---|---|")
    for name, (net, shape) in nets.items():
        for bits in BITS:
            print(f"| {name} | {bits} | {measure(net, shape, bits)} |", flush=True)


if __name__ == "__main__":
    main()
