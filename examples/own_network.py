"""A network of your own with weights of your own, asked as a classifier on a chip."""

import numpy as np
import torch
from torch import nn

import cimsim
from cimsim.api import Arrays, Classification


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of two moons, float32 [count, 2], and the moon of each."""
    rng = np.random.default_rng(seed)
    moon = rng.integers(2, size=count)
    angle = rng.uniform(0, np.pi, count) + np.pi * moon
    x = np.stack([np.cos(angle) + moon, np.sin(angle) + 0.5 * moon], axis=1)
    return (x + rng.normal(0, 0.15, x.shape)).astype(np.float32), moon


def train(steps: int = 300) -> nn.Module:
    """Train a small network; your own comes from a file."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    x, y = (torch.tensor(part) for part in samples(256, seed=1))
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def main() -> cimsim.Result:
    """Train, map, ask 100 samples on three chips."""
    graph = cimsim.trace(train(), (torch.zeros(1, 2),), name="moons")
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    x, y = samples(132, seed=2)
    task = Classification(source=Arrays((x,), y, "moons"), samples=100)
    result = cimsim.run(mapping, task, programmings=3)
    numbers = result.numbers()
    chip, software = numbers["quality.top1"], numbers["quality.float_top1"]
    print(f"float32 {software.value:.1f} %, on three chips {chip.value:.1f} % {chip.interval}")
    return result


if __name__ == "__main__":
    main()
