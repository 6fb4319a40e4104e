"""Pruning on one page: find sets of channels, estimate losses, choose by what is saved, cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from cimsim.errors import ConfigError, InputError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.mapping import matrix_name
from cimsim.pruning.budget import Budget, Kept
from cimsim.pruning.choose import choose
from cimsim.pruning.groups import Channels
from cimsim.pruning.modules import channels_of, cut
from cimsim.pruning.saliency import Batch, saliency
from cimsim.training.data import Clip, Dataset, Sampler
from cimsim.video.embedded import embedded_clip

Progress = Callable[[str, int, int], None]
SCENES = ("cat", "portrait")  # embedded, none that a run is judged on by default


@dataclass(frozen=True, slots=True)
class Row:
    """One matrix before and after: (before, after) of its rows and columns, and its name."""

    matrix: str
    rows: tuple[int, int]
    cols: tuple[int, int]


@dataclass(frozen=True)
class Pruned:
    """A narrowed network and what was cut.

    Attributes
    ----------
    model : nn.Module
        A copy; in eval mode. The channels that are left have the values they had.
    channels, kept
        The sets of channels of the original, and which of them stayed.
    before, after : float
        What the network takes, in the budget's unit.
    rows : tuple of Row
        In execution order.
    """

    model: nn.Module
    channels: Channels
    kept: Kept
    before: float
    after: float
    rows: tuple[Row, ...]


def prune(
    model: nn.Module,
    graph: LayerGraph,
    budget: Budget,
    batches: Sequence[Batch],
    *,
    kind: str = "output",
    seed: int = 0,
    progress: Progress | None = None,
) -> Pruned:
    """Cut channels until a network keeps a budget; the network itself stays as it is.

    Parameters
    ----------
    model : nn.Module
        In eval mode; takes noisy frames and a noise map.
    graph : LayerGraph
        Of this network, exported at the frame size for which the budget counts.
    budget : Budget
        `cimsim.pruning.budget.Arrays` or `Energy`.
    batches : sequence of (noisy, noise_map, clean)
        Crops on which losses are estimated, see `crops`.
    kind : {"output", "taylor", "bn", "l2"}
        How, see `cimsim.pruning.saliency`.
    seed : int
        Of that estimate.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Raises
    ------
    ConfigError
        When nothing can be cut, the budget cannot be reached, or the kind is unknown.
    """
    report = progress or (lambda stage, done, total: None)
    pruned = copy.deepcopy(model).eval()
    channels, known = channels_of(pruned, graph)
    if not channels.sets:
        raise ConfigError(
            f"pruning: '{graph.name}' has no channel that can be cut: every matrix writes the "
            "network's output, or is none that is understood"
        )
    whole = np.ones(len(channels.sets), bool)
    before = budget.of(channels, whole)
    losses = saliency(
        kind, pruned, channels, known, batches, seed=seed,
        progress=lambda done, total: report("estimating losses", done, total),
    )  # fmt: skip

    def reached(now: float, limit: float) -> None:
        share = 1.0 if before <= limit else min(1.0, (before - now) / (before - limit))
        report("choosing", round(1000 * share), 1000)

    kept = choose(channels, losses, budget, reached)
    report("choosing", 1000, 1000)
    rows = tuple(_rows(graph, channels, kept))
    if not kept.all():
        cut(pruned, channels, known, kept)
    return Pruned(pruned, channels, kept, before, budget.of(channels, kept), rows)


def crops(
    dataset: Dataset | None, *, n_frames: int, count: int = 64, edge: int = 64,
    sigma: float = 15.0, seed: int = 0,
) -> list[Batch]:  # fmt: skip
    """Draw noisy crops to estimate losses on.

    Parameters
    ----------
    dataset : Dataset or None
        None: two embedded scenes.
    n_frames : int
        Frames of a window.
    count, edge : int
        How many crops, and their edge in pixels.
    sigma : float
        Noise in 8-bit steps.
    seed : int

    Raises
    ------
    InputError
        When no clip is large enough.
    """
    if count < 1 or edge < 1:
        raise InputError(f"pruning: expected at least one crop and one pixel, got {count}, {edge}")
    if dataset is None:
        size = max(edge, 128)
        clips = [Clip(name, name, embedded_clip(name, 8, size, size)) for name in SCENES]
        dataset = Dataset(tuple(clips), (), ())
    sampler = Sampler(
        dataset, n_frames=n_frames, crop=edge, batch=1, sigma=(sigma, sigma), stills=0.3, seed=seed
    )
    return [sampler.draw(number) for number in range(count)]


def _rows(graph: LayerGraph, channels: Channels, kept: Kept) -> list[Row]:
    rows = {}
    after = channels.narrowed(kept).matrix_ops
    for old, new in zip(graph.matrix_ops, after, strict=True):
        name = matrix_name(old).partition("*")[0]
        rows[name] = Row(name, (old.n_rows, new.n_rows), (old.n_cols, new.n_cols))
    return list(rows.values())
