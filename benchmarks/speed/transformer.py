"""Map and time a language model of 1.3 billion weights, of which only the shapes are known.

A decoder like GPT-3 XL (Brown et al. 2020: 24 blocks, width 2048) behind its embedding, on as many
chips as its matrices need. No weight takes memory: each matrix is one zero that stands everywhere.
Wall and CPU seconds are those of one thread, the memory is the process's largest.
"""

from __future__ import annotations

import argparse
import math
import resource
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

import cimsim
from cimsim.mapping.mapping import layouts
from cimsim.timing.simulate import simulate

# attention multiplies computed values, for which no shipped chip has a unit
UNIT = {"matmul.lanes": 64, "matmul.energy": "auto", "buffer.overflow": "ignore"}


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.behind = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [1, tokens, width]."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.before(x)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        grown: Tensor = self.down(functional.gelu(self.up(self.behind(x))))
        return x + grown


class Decoder(nn.Module):
    """Blocks behind an embedding, and the scores of all words behind them."""

    def __init__(self, width: int, heads: int, blocks: int, words: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [1, tokens, words]."""
        found: Tensor = self.scores(self.norm(self.blocks(x)))
        return found


def shapes_only(module: nn.Module) -> nn.Module:
    """Give each matrix of a module on torch's meta device one zero that stands everywhere."""
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            zero = (
                torch.zeros(1).expand(value.shape) if value.dim() > 1 else torch.zeros(value.shape)
            )
            setattr(part, name, nn.Parameter(zero, requires_grad=False))
    return module.eval()


def clocks() -> tuple[float, float]:
    """Return wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def told(what: str, since: tuple[float, float]) -> tuple[float, float]:
    """Print what was spent since; return the clocks."""
    wall, cpu = (now - then for now, then in zip(clocks(), since, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{what}: {wall:.1f} s, {cpu:.1f} s of CPU; largest memory so far {peak:.2f} GiB",
        flush=True,
    )
    return clocks()


def main() -> None:
    """Print seconds and memory of each step, and what the chips do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hw", default="pcm64core14nm")
    parser.add_argument("--set", action="append", default=[], help="PATH=VALUE of the chip")
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--words", type=int, default=50257)
    parser.add_argument("--tokens", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    since = clocks()
    with torch.device("meta"):
        module = Decoder(given.width, given.heads, given.blocks, given.words)
    graph = cimsim.trace(
        shapes_only(module), (torch.zeros(1, given.tokens, given.width),), "decoder"
    )
    weights = sum(op.n_weights for op in graph.matrix_ops)
    since = told(f"{weights:,} weights in {len(graph.matrix_ops)} matrices, traced", since)
    own = UNIT | dict(text.split("=", 1) for text in given.set)
    chip = cimsim.load_hw(given.hw, own)
    arrays = sum(layout.n_arrays for layout in layouts(graph, chip, "im2col").values())
    chips = math.ceil(arrays / (chip.tile.count * chip.tile.arrays))
    chip = cimsim.load_hw(given.hw, own | {"system.chips": chips})
    mapping = cimsim.map_graph(graph, chip)
    since = told(f"{len(mapping.slots_used):,} arrays on {chips:,} chips, mapped", since)
    timeline = simulate(mapping, 2)
    told("two frames, timed", since)
    clock = chip.process.clock_hz
    print(
        f"{given.tokens} tokens: the first answer after {timeline.latency_s(clock):.3g} s, then "
        f"one every {timeline.interval_s(clock):.3g} s"
    )


if __name__ == "__main__":
    main()
