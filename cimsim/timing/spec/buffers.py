"""How many pixels each line buffer holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction

from cimsim.mapping.dataflow import Dependency, Node


@dataclass(frozen=True, slots=True)
class Edge:
    """Pixels that one node stores and another one reads.

    Attributes
    ----------
    producer, consumer : int
        Places in the order.
    dependencies : tuple of Dependency
        All that the consumer needs of this producer.
    pixel_bytes : Fraction
        Bytes of one pixel.
    capacity : int or None
        Pixels; None: no limit.
    memory : str
        ``global_buffer`` or ``dram`` where the pixels are kept there; empty: in the tile.
    """

    producer: int
    consumer: int
    dependencies: tuple[Dependency, ...]
    pixel_bytes: Fraction
    capacity: int | None = None
    memory: str = ""

    @property
    def spilled(self) -> bool:
        """Whether the pixels are kept outside of the tile."""
        return bool(self.memory)


def pixel_bytes(producer: Node, input_bytes: int) -> Fraction:
    """Bytes that a node stores for one pixel of its map."""
    return Fraction(producer.stored * input_bytes, producer.block[0] * producer.block[1])


def working_set(edge: Edge, producer: Node) -> Fraction:
    """Bytes of the pixel rows that one window of the consumer reads, each row whole."""
    height = producer.grid[0] * producer.block[0]
    rows = max(
        height if dependency.window is None else min(dependency.window.extent[0], height)
        for dependency in edge.dependencies
    )
    return rows * producer.grid[1] * producer.block[1] * edge.pixel_bytes


def capacities(
    edges: tuple[Edge, ...],
    nodes: tuple[Node, ...],
    tiles: tuple[tuple[frozenset[int], ...], ...],
    size_b: int,
) -> tuple[int, ...]:
    """Divide the tiles' buffers among line buffers, in proportion to their working sets.

    Parameters
    ----------
    edges : tuple of Edge
    nodes : tuple of Node
        By place in the order.
    tiles : tuple of tuple of frozenset
        Of each node and replica.
    size_b : int
        Bytes of one tile's buffer.

    Returns
    -------
    tuple of int
        Pixels of each edge.
    """
    sets = [working_set(edge, nodes[edge.producer]) for edge in edges]
    on_tile: dict[int, Fraction] = defaultdict(Fraction)
    for edge, wanted in zip(edges, sets, strict=True):
        for tile in frozenset[int]().union(*tiles[edge.consumer]):
            on_tile[tile] += wanted
    limits = []
    for edge, wanted in zip(edges, sets, strict=True):
        share = min(
            # most of many tiles hold the same
            sum(
                (
                    n * size_b * wanted / held
                    for held, n in Counter(on_tile[t] for t in mine).items()
                ),
                Fraction(),
            )
            for mine in tiles[edge.consumer]
        )
        limits.append(int(share / edge.pixel_bytes))
    return tuple(limits)
