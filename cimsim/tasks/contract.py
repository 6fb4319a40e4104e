"""What a network asks of a clip: its frames, its size, results that it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.errors import InputError
from cimsim.graph.ir import LayerGraph

if TYPE_CHECKING:
    import torch

Tensors = tuple["torch.Tensor", ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """What a network asks of a clip, read off its graph.

    Inputs are [1, 3 * n_frames, H, W] noisy frames, then, optionally, a noise map [1, 1, H, W]; the
    output is the estimate [1, 3, H, W] of the centre frame; a grey network has 1 in place of 3. A
    network that streams reads three
    frames, the map, and two kept results [1, 6, Hp, Wp] of its first stage, and returns the
    estimate of the frame before the centre and the newest result [1, 3, Hp, Wp], see
    `cimsim.zoo.streaming.StreamingStep`.

    Attributes
    ----------
    n_frames : int
    size : (int, int)
        Height and width that the graph was exported for.
    kept : tuple of int
        Shape of the kept results; empty when the network keeps none.
    channels : int
        3, or 1 for a grey network.
    """

    n_frames: int
    size: tuple[int, int]
    kept: tuple[int, ...] = ()
    channels: int = 3

    @classmethod
    def of(cls, graph: LayerGraph) -> Contract:
        """Read the contract off a graph.

        Raises
        ------
        InputError
            When the graph's inputs and outputs are others.
        """
        into = [op.output.shape for op in graph.inputs]
        out = [graph[name].output.shape for name in graph.outputs]
        frames = into[0]
        if len(frames) == 4 and frames[1] % 3 == 0 and out[:1] == [(1, 3, *frames[2:])]:
            reading = frames[1] // 3, (frames[2], frames[3])
            if len(into) <= 2:
                return cls(*reading)
            if len(into) == 3 and reading[0] == 3 and _keeps(into[2], out[1:]):
                return cls(*reading, into[2])
        if len(frames) == 4 and out == [(1, 1, *frames[2:])] and len(into) <= 2:
            return cls(frames[1], (frames[2], frames[3]), channels=1)
        raise InputError(
            f"network '{graph.name}': a clip needs an input [1, 3 * n, H, W] and an output "
            f"[1, 3, H, W] (grey: 1 instead of 3), this network maps {into} to {out}; "
            "simulate it with clip=None for time and energy, or ask it something else: cimsim run "
            "--task tensors --input-shape ..., --task classification --data ..."
        )

    @property
    def steps_ahead(self) -> int:
        """Steps before the first frame, which fill the kept results."""
        return 2 if self.kept else 0

    def blank(self) -> Tensors:
        """Kept results before the first step, as further inputs."""
        import torch

        return (torch.zeros(self.kept),) if self.kept else ()


def _keeps(kept: tuple[int, ...], results: list[tuple[int, ...]]) -> bool:
    return len(kept) == 4 and kept[:2] == (1, 6) and results == [(1, 3, *kept[2:])]
