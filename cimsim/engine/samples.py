"""What the float network feeds into each operation on the calibration frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.spec import Chip
from cimsim.crossbar.encode import InputCode, input_ends
from cimsim.engine.windows import Places, Reads, padded_shape, window_places
from cimsim.errors import SimulationError
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.graph.layout import to_nhwc
from cimsim.graph.reference import run
from cimsim.mapping.layout import Layout
from cimsim.mapping.lines import Patch

if TYPE_CHECKING:
    from torch import Tensor

MAX_WINDOWS = 2048  # sampled per operation over all frames
MAX_VALUES = 1_000_000  # activations of one frame looked at for a percentile
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass
class Samples:
    """Inputs of one operation, collected frame by frame.

    Attributes
    ----------
    vectors : list of float32 [n, n_rows]
        Sampled windows.
    activations : list of float32 [n, n_inputs]
        Where one activation answers several windows, inputs of activations that begin at the
        sampled windows; else none, for they are the windows.
    patch : Patch or None
        What an activation reads, if any were sampled.
    values : list of float32 [n]
    signed : bool
    finite : bool
    """

    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    activations: list[NDArray[np.float32]] = field(default_factory=list)
    patch: Patch | None = None
    values: list[NDArray[np.float32]] = field(default_factory=list)
    signed: bool = False
    finite: bool = True

    def add(
        self,
        op: MatrixOp,
        x: NDArray[np.float32],
        percentile: float,
        of_frames: tuple[int, int],
        layout: Layout | None = None,
    ) -> None:
        """Keep sampled windows of one frame and what the input range needs.

        ``of_frames`` is the number of the frame and how many there are.
        """
        nhwc = to_nhwc(op, x)[0]
        low, high = nhwc.min(), nhwc.max()
        self.finite &= math.isfinite(low) and math.isfinite(high)
        self.signed |= bool(low < 0)
        if percentile >= 100:
            self.values.append(np.array([low, high]))
        else:
            # an odd stride does not fall in step with the channels
            stride = math.ceil(nhwc.size / MAX_VALUES) | 1
            self.values.append(nhwc.reshape(-1)[::stride].copy())
        frame, frames = of_frames
        wanted = math.ceil(MAX_WINDOWS / frames)
        bases, offsets = window_places(op)
        chosen = sample_windows(op.windows, wanted, frame)
        flat = _padded(op, nhwc, padded_shape(op))
        self.vectors.append(flat[bases[chosen][:, None] + offsets])
        if layout is not None and layout.windows_per_activation > 1:
            # each copy learns from as many windows as one that answers them all
            self.patch, places = layout.patch, Places.of(op, layout, chosen)
            flat = _padded(op, nhwc, places.shape)
            found = Reads.of_places(places).vectors(flat, np.arange(len(chosen)))
            self.activations.append(found)

    @property
    def windows(self) -> int:
        """Windows sampled so far."""
        return sum(len(part) for part in self.vectors)

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """Put samples of operations that share a matrix together.

        At most about `MAX_WINDOWS` of their windows are kept, taken evenly; all of their values.
        """
        # an odd stride does not fall in step with the samples of each operation
        stride = math.ceil(sum(part.windows for part in parts) / MAX_WINDOWS) | 1
        return cls(
            _thinned([one for part in parts for one in part.vectors], stride),
            _thinned([one for part in parts for one in part.activations], stride),
            parts[0].patch,
            [one for part in parts for one in part.values],
            any(part.signed for part in parts),
        )

    def code(self, chip: Chip, op: MatrixOp) -> InputCode:
        """Return the input code that the values ask for, or the network itself.

        A layer that is applied in two phases or on two rows is so whether or not a sample happens
        to be negative. A quantised network says the ends of its codes: with enough bits a chip's
        steps are the network's, or whole parts of them.
        """
        values = np.concatenate(self.values)
        how = chip.inputs.signed if op.signed else "offset"
        if op.rounding is None:
            low, high = input_ends(values, self.signed, chip.inputs.percentile)
        else:
            low, high = op.rounding.ends_of(chip.inputs.bits, how != "offset")
        return InputCode.of_range(low, high, chip.inputs.bits, how)


def _thinned(parts: list[NDArray[np.float32]], stride: int) -> list[NDArray[np.float32]]:
    """Return every ``stride``-th row of all parts, counted through."""
    if stride == 1 or not parts:
        return parts
    return [np.concatenate(parts)[::stride]]


def _padded(
    op: MatrixOp, nhwc: NDArray[np.float32], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return the flat map amid zeros."""
    padded = np.zeros(shape, np.float32)
    top, _, left, _ = op.window.padding
    padded[top : top + nhwc.shape[0], left : left + nhwc.shape[1]] = nhwc
    return padded.reshape(-1)


def sample_windows(windows: int, wanted: int, frame: int) -> NDArray[np.int64]:
    """Return up to ``wanted`` window numbers, evenly spread and out of step with image rows.

    A golden-ratio sequence: no stride could be a multiple of the row length.
    """
    if wanted >= windows:
        return np.arange(windows)
    steps = np.arange(1, wanted + 1) + frame * wanted
    return np.unique((steps * _GOLDEN % 1 * windows).astype(np.int64))


def collect(
    graph: LayerGraph,
    chip: Chip,
    frames: Sequence[tuple[Tensor, ...]],
    layouts: Mapping[str, Layout] | None = None,
) -> dict[str, Samples]:
    """Run the float network on frames and keep samples of every operation's input.

    ``layouts`` says, by operation, where one activation answers several windows: such activations
    are sampled as a whole, beside single windows.

    Raises
    ------
    SimulationError
        No frames, or an input that is not finite.
    """
    if not frames:
        raise SimulationError("calibration: no frames given; calibration.frames must be at least 1")
    samples = {op.name: Samples() for op in graph.matrix_ops}
    for number, inputs in enumerate(frames):

        def capture(op: MatrixOp, x: Tensor, number: int = number) -> None:
            layout = layouts[op.name] if layouts is not None else None
            of_frames = (number, len(frames))
            samples[op.name].add(op, x.numpy(), chip.inputs.percentile, of_frames, layout)

        run(graph, *inputs, capture=capture)
        for name, found in samples.items():
            if not found.finite:
                raise SimulationError(
                    f"layer '{name}': its input on the calibration frames holds NaN or infinity"
                )
    return samples
