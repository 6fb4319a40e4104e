"""Limits of what is read: far beyond any honest file, far below what hurts."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1 << 20
DIGITS = 20  # of a whole number; counts and cycles stay in 64 bits
PIXELS = 1 << 28  # of a frame: twice 16K video
SIDE = 1 << 16  # of a frame
FRAMES = 1 << 20  # of a clip: ten hours
KEY = 500  # characters of a key
SHOWN = 60  # characters of a value that a message shows


@dataclass(frozen=True, slots=True)
class Limits:
    """What one kind of text may hold.

    Attributes
    ----------
    n_bytes : int
    depth : int
        Lists and mappings inside each other.
    nodes : int
        Values in all, each as often as its aliases repeat it.
    """

    n_bytes: int
    depth: int
    nodes: int


CHIP = Limits(4 * MEGABYTE, 16, 100_000)
OPTION = Limits(1 << 16, 8, 10_000)
# every block of a mapping stands in its file and in the result
MAPPING = Limits(512 * MEGABYTE, 16, 50_000_000)
RESULT = Limits(512 * MEGABYTE, 32, 50_000_000)
CARD = Limits(16 * MEGABYTE, 16, 1_000_000)
# of an ONNX network, in which graphs stand inside of nodes; protobuf ends at 2 GiB
MODEL = Limits((1 << 31) - 1, 8, 1_000_000)
TABLE = Limits(64 * MEGABYTE, 1, 5_000_000)


def shown(value: object) -> str:
    """Write a value for a message: one line, not longer than `SHOWN`."""
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        return "a number of more than 20 digits"  # repr of a very long one is refused by Python
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."
