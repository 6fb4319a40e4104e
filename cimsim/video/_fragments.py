"""What the boxes of an MP4 file say of its end and its fragments (ISO/IEC 14496-12, 4.2, 8.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

_LARGEST = 1 << 24  # bytes of a fragment's own boxes
# kinds of boxes at the top; others behind a whole file may be anything
_TOP = frozenset(
    (b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"uuid", b"meta", b"sidx")
)


@dataclass(frozen=True, slots=True)
class Fragments:
    """What the fragments of a file say.

    Attributes
    ----------
    samples : int
        Frames of one track, over all fragments.
    missing : tuple of int
        Sequence numbers that are left out.
    """

    samples: int
    missing: tuple[int, ...]


def fragments(path: Path, track: int) -> Fragments | None:
    """Read the heads of all fragments; None where there are none, or where they are not readable.

    Parameters
    ----------
    path : Path
    track : int
        Its identity in the file.
    """
    samples, numbers = 0, []
    try:
        with path.open("rb") as file:
            for kind, size in _top_level(file):
                if kind != b"moof" or size > _LARGEST:
                    continue
                for inner, content in _boxes(file.read(size)):
                    if inner == b"mfhd":
                        numbers.append(struct.unpack_from(">I", content, 4)[0])
                    elif inner == b"traf":
                        samples += _samples(content, track)
    except (OSError, struct.error):
        return None
    if not numbers:
        return None
    there = set(numbers)
    # an encoder may begin anywhere and, after a restart, again
    gaps = (n for n in range(min(there), max(there)) if n not in there)
    rising = all(a < b for a, b in pairwise(numbers))
    counted = rising and len(there) * 2 > max(there) - min(there)
    return Fragments(samples, tuple(gaps) if counted else ())


def cut_short(path: Path) -> str:
    """Say what an MP4 file lacks that ends too early; empty for a whole one and for other files."""
    kinds = []
    try:
        whole = path.stat().st_size
        with path.open("rb") as file:
            for kind, size in _top_level(file):
                if kind not in _TOP:
                    break
                kinds.append(kind)
                there = whole - file.tell()
                if there < size:
                    return f"its part '{kind.decode()}' announces {size} bytes, {there} are there"
    except (OSError, struct.error):
        return ""
    if b"ftyp" in kinds and not {b"moov", b"moof"} & {*kinds}:
        return "it lacks the list of its frames ('moov'), which many programs write last"
    return ""


def _top_level(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield kind and size of the content of each box; the file stands at the content."""
    at = 0
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        begin = 8
        if size == 1:
            size, begin = struct.unpack(">Q", file.read(8))[0], 16
        if size < begin:
            return  # 0: up to the end of the file
        yield kind, size - begin
        at += size
        file.seek(at)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if size < 8:
            return
        yield kind, content[at + 8 : at + size]
        at += size


def _samples(traf: bytes, track: int) -> int:
    """Frames of one track in a track fragment."""
    boxes = list(_boxes(traf))
    if not any(k == b"tfhd" and struct.unpack_from(">I", c, 4)[0] == track for k, c in boxes):
        return 0
    return sum(struct.unpack_from(">I", c, 4)[0] for k, c in boxes if k == b"trun")
