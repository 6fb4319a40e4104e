"""What every kind of clip looks like inside: frames from the first on, and what was assumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]


class Pictures(Protocol):
    """Frames of a clip to be written, uint8 [H, W, 3], one after the other."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, 3)."""
        ...

    def __iter__(self) -> Iterator[UInt8Array]: ...


class FloatPictures(Protocol):
    """Frames as floats [H, W, C], one after the other."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, C)."""
        ...

    def __iter__(self) -> Iterator[npt.NDArray[np.floating]]: ...


class Source(ABC):
    """A file, a folder or a pattern that frames are read from, as often as asked.

    Attributes
    ----------
    path : Path
    facts : dict
        What the file is: container, codec, depth and the like, for ``cimsim clip show``.
    notes : list of str
        What was assumed or changed, one sentence each; complete after one pass.
    grey : bool
        One channel in the file.
    fps : float or None
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, str] = {}
        self.notes: list[str] = []
        self.grey = False
        self.fps: float | None = None

    def tell(self, sentence: str) -> None:
        """Remember a sentence, once."""
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)

    @property
    def count(self) -> int | None:
        """Frames, where that is known without reading them."""
        return None

    @property
    def damaged(self) -> list[str]:
        """What was damaged, missing or repeated in the last pass; for tolerant reading."""
        return []

    @abstractmethod
    def frames(self, start: int, stop: int | None) -> Iterator[tuple[str, UInt8Array]]:
        """Yield name and RGB picture [H, W, 3] of frames ``start`` to ``stop``."""
