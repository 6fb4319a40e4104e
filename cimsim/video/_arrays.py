"""Clips as NumPy arrays on disk (.npy), read frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video.levels import SEARCHED, find_levels
from cimsim.video.options import ReadOptions
from cimsim.video.source import Source, UInt8Array

_EXPECTED = (
    "expected [T, H, W, 3], [T, H, W, 1], [T, H, W], [H, W, 3] or [H, W], colours last (RGB)"
)


class ArraySource(Source):
    """Frames of a ``.npy`` file.

    Parameters
    ----------
    path : Path
    options : ReadOptions

    Raises
    ------
    InputError
        No such array, or one of another shape.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path)
        self._shape, self._dtype, self._offset = _header(path)
        self._length, self._frame = _as_clip(path, self._shape)
        self.grey = self._frame[2] == 1
        self.options = options
        kind = "grey" if self.grey else "RGB"
        self.facts |= {
            "container": f"array of shape {self._shape}", "codec": "npy",
            "pixels": f"{kind}, {self._dtype}", "colours": kind,
        }  # fmt: skip
        held = path.stat().st_size - self._offset
        needed = int(np.prod(self._shape, dtype=object)) * self._dtype.itemsize
        if held < needed:
            raise InputError(f"{path}: the file is incomplete: {held} of {needed} bytes of pixels")
        self._levels = find_levels(str(path), self._first(), options)
        self.tell(self._levels.note)

    @property
    def count(self) -> int | None:
        """See `Source`."""
        return self._length

    def frames(self, start: int, stop: int | None) -> Iterator[tuple[str, UInt8Array]]:
        """See `Source`."""
        for index in range(start, min(self._length, self._length if stop is None else stop)):
            name = f"frame {index}"
            eight = self._levels.to_8_bit(f"{self.path}: {name}", self._read(index))
            yield name, np.ascontiguousarray(np.broadcast_to(eight, (*eight.shape[:2], 3)))

    def _first(self) -> Iterator[npt.NDArray[np.generic]]:
        return (self._read(index) for index in range(min(SEARCHED, self._length)))

    def _read(self, index: int) -> npt.NDArray[np.generic]:
        """Read one frame; a memory map would count as memory in use."""
        size = int(np.prod(self._frame))
        pixels = np.fromfile(
            self.path, self._dtype, size, offset=self._offset + index * size * self._dtype.itemsize
        ).reshape(self._frame)
        return pixels[..., :3].astype(self._dtype.newbyteorder("="), copy=False)


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
                np.lib.format.read_array_header_2_0
            )  # fmt: skip
            shape, by_columns, dtype = read(file)
            offset = file.tell()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable array ({error})") from error
    if dtype.hasobject or dtype.kind not in "buif":
        raise InputError(f"{path}: expected numbers, got an array of {dtype}")
    if by_columns and len(shape) > 1:
        raise InputError(
            f"{path}: is stored by columns (Fortran order); save numpy.ascontiguousarray of it"
        )
    return shape, dtype, offset


def _as_clip(path: Path, shape: tuple[int, ...]) -> tuple[int, tuple[int, int, int]]:
    """Return the length and the shape of a frame."""
    if 0 in shape:
        raise InputError(f"{path}: holds no frame: an array of shape {shape}")
    colours = shape[-1:] in ((3,), (4,))
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        return shape[0], (shape[1], shape[2], shape[3])
    if len(shape) == 3 and colours:
        return 1, (shape[0], shape[1], shape[2])
    if len(shape) == 3:
        return shape[0], (shape[1], shape[2], 1)
    if len(shape) == 2:
        return 1, (shape[0], shape[1], 1)
    raise InputError(f"{path}: {_EXPECTED}, got an array of shape {shape}")
