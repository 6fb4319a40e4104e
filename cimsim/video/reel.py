"""Frames of a long clip as floats, near where a run is, and frames kept on disk; never all."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO, overload

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video.clip import Clip
from cimsim.video.noise import add_awgn
from cimsim.video.source import UInt8Array

Frames = npt.NDArray[np.float32]

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709-6, item 3.2
KEPT = 32
"""Frames that a reel holds at most, unless a network asks for more at once."""
LEAST = 12
"""Frames that it holds at least, however large; windows of most networks are shorter."""
_BYTES = 1 << 26  # of all that it holds, in between


@overload
def with_channels(frames: Frames, channels: int) -> Frames: ...
@overload
def with_channels(frames: npt.NDArray[np.number], channels: int) -> npt.NDArray[np.number]: ...
def with_channels(frames: npt.NDArray[np.number], channels: int) -> npt.NDArray[np.number]:
    """Return frames of 1 or 3 channels, whatever they have.

    Parameters
    ----------
    frames : uint8 or float, shape (..., H, W, C), C 1 or 3
    channels : int
        1: the luma of BT.709, as floats; 3: three equal ones.

    Returns
    -------
    ndarray, shape (..., H, W, channels)
    """
    if frames.shape[-1] == channels or frames.shape[-1] not in (1, 3):
        return frames
    if channels == 3:
        return np.broadcast_to(frames, (*frames.shape[:-1], 3))
    if (frames[..., :1] == frames[..., 1:]).all():
        return frames[..., :1]
    floats = frames.astype(np.float32) / (255 if frames.dtype == np.uint8 else 1)
    luma: Frames = np.minimum(floats @ _LUMA, 1)[..., np.newaxis]
    return luma


class Reel:
    """Frames of a clip by number, float32 in [0, 1]; decoded once when taken in order.

    Parameters
    ----------
    clip : Clip
    channels : int
        1 or 3.
    window : int
        Frames that are asked for at once.

    Attributes
    ----------
    kept : int
        Frames that it holds.
    """

    def __init__(self, clip: Clip, channels: int = 3, window: int = 1) -> None:
        self._clip, self._channels = clip, channels
        self.shape = (*clip.shape[:3], channels)
        n_bytes = 4 * int(np.prod(self.shape[1:]))
        self.kept = max(min(KEPT, _BYTES // n_bytes), LEAST, window + 2)
        self._frames: Iterator[UInt8Array] | None = None
        self._next = 0
        self._held: dict[int, Frames] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Frames:
        """Return a frame [H, W, C]; an earlier one than ``kept`` before starts the clip anew."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._frames is None or (index < self._next and index not in self._held):
            self._frames, self._next = iter(self._clip), 0
            self._held.clear()
        while index not in self._held:
            frame = with_channels(next(self._frames), self._channels)
            frame = frame / np.float32(255) if frame.dtype == np.uint8 else frame
            self._held[self._next] = frame.astype(np.float32)
            self._held.pop(self._next - self.kept, None)
            self._next += 1
        return self._held[index]


class NoisyReel:
    """A reel with noise added; the same bits as `add_awgn` of the whole clip.

    Parameters
    ----------
    clean : Reel
    sigma : float
        In 8-bit steps.
    seed : int
    """

    def __init__(self, clean: Reel, sigma: float, seed: int) -> None:
        self._clean, self._sigma, self._seed = clean, sigma, seed
        self.shape = clean.shape
        self._held: dict[int, Frames] = {}

    def __len__(self) -> int:
        return len(self._clean)

    def __getitem__(self, index: int) -> Frames:
        """Return a noisy frame [H, W, C]."""
        if index not in self._held:
            noisy = add_awgn(self._clean[index][np.newaxis], self._sigma, self._seed, index)
            while len(self._held) >= self._clean.kept:
                self._held.pop(next(iter(self._held)))
            self._held[index] = noisy[0]
        return self._held[index]


class Spool:
    """Frames kept in a file without a name, as 8 bit: gone with the program, however it ends.

    Reads like an array [T, H, W, C] of float32 in [0, 1]: ``len``, a frame by number, iteration,
    ``numpy.asarray``.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._frame: tuple[int, ...] = ()
        self._length = 0

    def append(self, frame: npt.NDArray[np.floating]) -> None:
        """Keep a frame [H, W, C], clipped and rounded to 8 bit.

        Raises
        ------
        InputError
            When the disk is full.
        """
        from cimsim.video.io import to_uint8

        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
                weakref.finalize(self, self._file.close)
                self._frame = frame.shape
            self._file.seek(self._length * int(np.prod(self._frame)))
            self._file.write(to_uint8(frame).tobytes())
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"frames cannot be kept in {tempfile.gettempdir()}: {error.strerror}; TMPDIR names "
                "another folder"
            ) from error
        self._length += 1

    def cut(self, length: int) -> None:
        """Forget what comes after the first ``length`` frames."""
        self._length = min(self._length, length)

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, C)."""
        return (self._length, *self._frame)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Frames:
        """Return a frame [H, W, C]."""
        index = index + self._length if index < 0 else index
        if not 0 <= index < self._length:
            raise IndexError(index)
        size = int(np.prod(self._frame))
        assert self._file is not None
        self._file.seek(index * size)
        stored = np.frombuffer(self._file.read(size), np.uint8).reshape(self._frame)
        return stored.astype(np.float32) / np.float32(255)

    def __iter__(self) -> Iterator[Frames]:
        return (self[index] for index in range(len(self)))

    @overload
    def __array__(self, dtype: None = None, copy: bool | None = None) -> Frames: ...
    @overload
    def __array__(
        self, dtype: npt.DTypeLike, copy: bool | None = None
    ) -> npt.NDArray[np.generic]: ...
    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        frames = np.stack(list(iter(self)))
        return frames if dtype is None else frames.astype(dtype)
