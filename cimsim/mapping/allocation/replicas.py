"""How many copies of each layer: spare arrays go where the frame's interval comes from."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from cimsim.chip.spec import Chip
from cimsim.mapping.allocation.base import on_fewest_chips

Cost = Callable[[int, int], float]  # layer, replicas -> cycles of one frame on each replica


def replicas_of(
    cost: Cost, arrays: Sequence[int], total: int, most: Sequence[int] | None = None
) -> list[int]:
    """Give the slowest layer more replicas until its next one has no room.

    For costs that do not rise with more replicas no other choice has a smaller largest cost: each
    step gives the layer that sets the interval the fewest arrays that make it faster, which any
    better choice must give it, too.

    Parameters
    ----------
    cost : callable
        ``cost(layer, replicas)``: cycles of one frame on each of that many replicas.
    arrays : sequence of int
        Arrays of one replica of each layer.
    total : int
        Arrays of the chip, at least ``sum(arrays)``.
    most : sequence of int, optional
        Largest useful number of replicas: the activations of a frame.

    Returns
    -------
    list of int
        Replicas of each layer, each >= 1; no layer has more than its share of the largest cost
        asks for.
    """
    replicas, spare = [1] * len(arrays), total - sum(arrays)
    heap = [(-cost(layer, 1), layer) for layer in range(len(arrays))]
    heapq.heapify(heap)
    while heap:
        slowest, layer = heap[0]
        faster = _next(cost, layer, replicas[layer], -slowest, spare // arrays[layer], most)
        if faster is None:
            break
        spare -= (faster - replicas[layer]) * arrays[layer]
        replicas[layer] = faster
        heapq.heapreplace(heap, (-cost(layer, faster), layer))
    return replicas


def replicas_on(
    chip: Chip, cost: Cost, arrays: Sequence[int], most: Sequence[int] | None = None
) -> list[int]:
    """Return `replicas_of` a chip's arrays, as many as find room on as few chips each as can be.

    Parameters
    ----------
    chip : Chip
        It holds one replica of each layer.
    cost, arrays, most
        As in `replicas_of`.
    """
    least = sum(arrays)
    total = chip.n_arrays
    while True:
        replicas = replicas_of(cost, arrays, total, most)
        over = extent(arrays, replicas, chip) - chip.n_arrays
        if over <= 0 or total == least:
            return replicas
        total = max(least, total - over)


def extent(arrays: Sequence[int], replicas: Sequence[int], chip: Chip) -> int:
    """Return the arrays that replicas take one after another, with those they skip at borders."""
    following = 0
    for n, count in zip(arrays, replicas, strict=True):
        for _ in range(count):
            following = on_fewest_chips(following, n, chip) + n
    return following


def _next(
    cost: Cost, layer: int, now: int, slowest: float, more: int, most: Sequence[int] | None
) -> int | None:
    """Return the fewest replicas that make a layer faster; None if there is no room for them."""
    last = now + more if most is None else min(now + more, most[layer])
    return next((r for r in range(now + 1, last + 1) if cost(layer, r) < slowest), None)


def least_interval(work: Sequence[float], arrays: Sequence[int], total: int) -> float:
    """Return a lower bound of the largest cost: all work spread evenly over all arrays.

    Parameters
    ----------
    work : sequence of float
        Cycles of one frame on one replica of each layer; ``r`` replicas take at least ``work / r``.
    arrays : sequence of int
        Arrays of one replica of each layer.
    total : int
        Arrays of the chip.
    """
    return sum(w * n for w, n in zip(work, arrays, strict=True)) / total
