"""What runs inside one process of the scenarios; functions that other processes can import."""

from __future__ import annotations

import hashlib
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import cimsim
from cimsim.session.loading import Network


class Window(nn.Module):
    """One convolution of five frames and a noise map, as a denoiser of clips."""

    n_frames = 5

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, noise_map: torch.Tensor) -> torch.Tensor:
        """Denoise the middle frame."""
        return x[:, 6:9] - 0.1 * self.conv(torch.cat([x, noise_map], dim=1))


def placed(height: int, width: int, **overrides: Any) -> Any:
    """Return a small network on a chip of small arrays."""
    torch.manual_seed(0)
    net = Network(Window().eval(), "window", 5, True)
    graph = cimsim.trace(net.module, net.example(height, width))
    small = {"array.rows": 64, "array.cols": 64, "tile.count": 40} | overrides
    return cimsim.map_graph(graph, cimsim.load_hw("example_minimal", overrides=small))


@cache
def usual() -> Any:
    """Return the mapping that the calls share."""
    return placed(16, 24)


@cache
def scene() -> np.ndarray:
    """Return three frames of noise in 0 .. 1."""
    return np.random.default_rng(1).random((3, 16, 24, 3), dtype=np.float32)


def digest(seed: int = 0, threads: int = 1) -> str:
    """Run the clip on the chip of a seed; return the SHA-256 of its frames."""
    done = cimsim.simulate(usual(), scene(), seed=seed, threads=threads)
    return hashlib.sha256(np.ascontiguousarray(done.frames["chip"]).tobytes()).hexdigest()


def calls(count: int) -> list[float]:
    """Trace, place and simulate ``count`` times; return MB in use after each."""
    held = []
    for number in range(count):
        mapping = placed(16, 24, **{"adc.bits": 6 + number % 3})
        cimsim.simulate(mapping, scene(), seed=number, threads=1).to_json()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held.append(pages * resource.getpagesize() / 1e6)
    return held


def long_clip(path: str, frames: int, out: str) -> tuple[float, float]:
    """Run frames of a clip, with the report; return peak MB and seconds."""
    start = time.monotonic()
    clip = cimsim.load_clip(path, frames)
    cimsim.simulate(usual(), clip, threads=1).to_dir(out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - start


def large_frame(height: int, width: int) -> tuple[float, float]:
    """Run one large frame; return peak MB and seconds."""
    start = time.monotonic()
    frame = np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)
    cimsim.simulate(placed(height, width), frame, threads=1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - start


def in_threads(count: int, threads: int) -> list[str]:
    """Run one chip per seed, on several threads at once; return the digests by seed."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(digest, range(count)))


def one_after_another(count: int) -> list[str]:
    """Run the same chips in turn."""
    return [digest(seed) for seed in range(count)]
