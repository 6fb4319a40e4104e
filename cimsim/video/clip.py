"""A clip as a user has it: read frame by frame, as often as asked, never whole in memory."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from cimsim.errors import ConfigError, InputError
from cimsim.video._animation import ANIMATION_SUFFIXES, is_gif
from cimsim.video._arrays import ArraySource
from cimsim.video._images import ImageSource, is_raw
from cimsim.video._series import ACCEPTED, IMAGE_SUFFIXES, Series, is_pattern, of_folder, of_pattern
from cimsim.video._videofile import VideoSource
from cimsim.video.options import ReadOptions
from cimsim.video.sigma import FRAMES, estimate_sigma
from cimsim.video.source import Source, UInt8Array


class Clip:
    """Frames of a file, a folder, a pattern or an embedded scene; `load_clip` makes one.

    Iterating decodes the frames one by one, from the start each time. ``len``, `size` and `notes`
    need one pass over the clip, which the first of them makes; it also finds damage before a long
    run begins. ``numpy.asarray(clip)`` holds all frames, uint8 [T, H, W, 3].

    Parameters
    ----------
    source : Source
    frames : int or None
        How many frames; None: all that follow `start`.
    start : int
        First frame.
    crop : (int, int), optional
        Height and width of the centre to take.
    at_most : bool
        A clip that ends before ``frames`` is taken as it is.
    """

    def __init__(
        self, source: Source, frames: int | None = None, start: int = 0,
        crop: tuple[int, int] | None = None, *, at_most: bool = False,
    ) -> None:  # fmt: skip
        self._source, self._frames, self._start, self._crop = source, frames, start, crop
        self._needed = 1 if at_most or frames is None else frames
        self._known: tuple[int, int, int] | None = None
        self._extremes = (0, 255)

    @property
    def path(self) -> Path:
        """Where the clip is."""
        return self._source.path

    @property
    def fps(self) -> float | None:
        """Frames per second, where the file says so."""
        return self._source.fps

    @property
    def grey(self) -> bool:
        """Whether the file has one channel; the frames have three equal ones."""
        self.check()
        return self._source.grey

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.check()[1:]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Frames, height, width and 3."""
        return (*self.check(), 3)

    @property
    def facts(self) -> dict[str, str]:
        """Container, codec, pixels and colours of the file."""
        self.check()
        return dict(self._source.facts)

    @property
    def damaged(self) -> tuple[str, ...]:
        """What was damaged, missing or repeated and tolerated."""
        self.check()
        return tuple(self._source.damaged)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, changed or tolerated, one sentence each."""
        self.check()
        damaged, sentences = self._source.damaged, list(self._source.notes)
        if damaged:
            sentences.append(
                f"damage tolerated in {len(damaged)} place{'s' * (len(damaged) > 1)} of "
                f"{self.check()[0]} frames: {'; '.join(damaged[:3])}{'; ...' * (len(damaged) > 3)}"
            )
        return tuple(sentences)

    def __len__(self) -> int:
        return self.check()[0]

    def __iter__(self) -> Iterator[UInt8Array]:
        """Yield frames, uint8 [H, W, 3]."""
        path, first, taken, last = self.path, None, 0, self._start
        stop = None if self._frames is None else self._start + self._frames
        self._check_known_count()
        for name, picture in self._source.frames(self._start, stop):
            if first is None:
                first = name, picture.shape
                self._check_crop(picture.shape)
            if picture.shape != first[1]:
                raise InputError(
                    f"{path}: frames of different size: {first[0]} is {_size(first[1])}, {name} is "
                    f"{_size(picture.shape)}; all frames of a clip must have one size"
                )
            taken += 1
            yield self._cropped(picture)
        if taken < self._needed:
            self._too_short(last + taken if taken else None)

    @overload
    def __array__(self, dtype: None = None, copy: bool | None = None) -> UInt8Array: ...
    @overload
    def __array__(
        self, dtype: npt.DTypeLike, copy: bool | None = None
    ) -> npt.NDArray[np.generic]: ...
    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        frames = np.stack(list(iter(self)))  # list(self) would ask for the length first
        return frames if dtype is None else frames.astype(dtype)

    def check(self) -> tuple[int, int, int]:
        """Decode the clip once; return the number of frames, height and width.

        Raises
        ------
        InputError
            What cannot be read, is damaged, too short, or of changing size.
        """
        if self._known is None:
            count, shape = 0, (0, 0)
            low, high = 255, 0
            for picture in self:
                count, shape = count + 1, picture.shape[:2]
                low, high = min(low, int(picture.min())), max(high, int(picture.max()))
            self._known, self._extremes = (count, *shape), (low, high)
        return self._known

    @property
    def extremes(self) -> tuple[int, int]:
        """Lowest and highest of the 8-bit values."""
        self.check()
        return self._extremes

    def sigma(self) -> float:
        """Estimate the noise of the first frames, in 8-bit steps; see `estimate_sigma`."""
        return estimate_sigma(islice(self, FRAMES))

    def _cropped(self, picture: UInt8Array) -> UInt8Array:
        if self._crop is None:
            return picture
        height, width = self._crop
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        return np.ascontiguousarray(picture[top : top + height, left : left + width])

    def _check_crop(self, shape: tuple[int, ...]) -> None:
        if self._crop is not None and (self._crop[0] > shape[0] or self._crop[1] > shape[1]):
            height, width = self._crop
            raise ConfigError(
                f"--size: {width}x{height} is larger than the clip's {shape[1]}x{shape[0]}; frames "
                "are cropped at the centre, never enlarged"
            )

    def _check_known_count(self) -> None:
        available = self._source.count
        if available is not None and available < self._start + self._needed:
            self._too_short(available)

    def _too_short(self, available: int | None) -> None:
        """Raise: the clip ends before ``start + frames``."""
        path, start, frames = self.path, self._start, self._frames
        if available is None:  # no frame from start on
            available = sum(1 for _ in self._source.frames(0, None))
        if available == 0:
            raise InputError(f"{path}: holds no frame")
        if frames is None or self._needed < frames:
            raise InputError(
                f"{path}: start: the clip has {available} frames, cannot start at {start}"
            )
        after = f" from frame {start}" if start else ""
        raise InputError(
            f"{path}: asked for {frames} frames{after}, the clip has {available}; "
            "ask for fewer or use a longer clip"
        )


def load_clip(
    path: str | Path,
    frames: int | None = None,
    start: int = 0,
    *,
    size: tuple[int, int] | None = None,
    black: float | None = None,
    white: float | None = None,
    tolerate_damage: bool = False,
    at_most: bool = False,
) -> Clip:
    """Open a video file, an image, a folder or pattern of images, an animation or an array.

    Nothing is decoded yet. See ``docs/video.md`` for what is assumed where a file does not say, and
    for what is refused.

    Parameters
    ----------
    path : str or Path
        A file, a folder, ``f%03d.png``, ``f*.png`` or ``clip.npy``.
    frames : int, optional
        How many frames to take, >= 1; all that follow `start` when not given.
    start : int
        First frame to take, >= 0.
    size : (int, int), optional
        Height and width of the centre to take.
    black, white : float, optional
        Code values of black and white, for pictures and arrays.
    tolerate_damage : bool
        Go on where frames are damaged, missing or repeated; `Clip.notes` says how many.
    at_most : bool
        Take what there is of a clip that ends before ``frames``.

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        When the path is missing or stands for nothing that can be read.
    """
    path = Path(path)
    if frames is not None and frames < 1:
        raise InputError(f"{path}: frames: expected an integer >= 1, got {frames}")
    if start < 0:
        raise InputError(f"{path}: start: expected an integer >= 0, got {start}")
    options = ReadOptions(black, white, tolerate_damage)
    return Clip(_source(path, options), frames, start, size, at_most=at_most)


def _source(path: Path, options: ReadOptions) -> Source:
    """Choose the reader by what the path stands for."""
    if is_pattern(path):
        return ImageSource(path, of_pattern(path), options)
    try:
        state = path.stat()
    except OSError as error:
        cause = "no such file or folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {cause}; {ACCEPTED}") from error
    if path.is_dir():
        return ImageSource(path, of_folder(path), options)
    if stat.S_ISREG(state.st_mode) and not state.st_size:
        raise InputError(f"{path}: the file is empty; {ACCEPTED}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return ArraySource(path, options)
    if suffix == ".npz":
        raise InputError(
            f"{path}: an archive of arrays; save the one of the frames with numpy.save"
        )
    try:
        raw, gif = is_raw(path), is_gif(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read the file: {error.strerror}") from error
    if raw:
        raise InputError(
            f"{path}: holds a camera's raw colour mosaic (Bayer), not RGB; develop it first "
            "(rawpy, darktable, dcraw)"
        )
    if gif or suffix in (*IMAGE_SUFFIXES, *ANIMATION_SUFFIXES):
        return ImageSource(path, Series([path]), options)
    return VideoSource(path, options)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
