"""Read and write clips: video files, folders of images, single images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.files import replacing
from cimsim.video._encode import write_ffv1, write_h264
from cimsim.video._images import write_folder
from cimsim.video.clip import load_clip
from cimsim.video.source import FloatPictures, Pictures, UInt8Array

_WRITABLE = (
    "accepted: .mp4 (H.264, not quite lossless), .mkv (FFV1, lossless) or a name without suffix "
    "(folder of PNGs, lossless)"
)
_WRITERS: dict[str, Callable[[Path, Pictures, float], None]] = {
    "": write_folder,
    ".mp4": write_h264,
    ".mkv": write_ffv1,
}


def read_clip(
    path: str | Path,
    frames: int | None = None,
    start: int = 0,
    *,
    black: float | None = None,
    white: float | None = None,
    tolerate_damage: bool = False,
) -> UInt8Array:
    """Read a clip as a whole; `cimsim.video.clip.load_clip` reads it frame by frame.

    The images of a folder are taken in natural order (``2.png`` before ``10.png``); other files
    in it are ignored. Grey pictures become RGB, alpha is dropped, deep samples are scaled to 8 bit.

    Parameters
    ----------
    path, frames, start, black, white, tolerate_damage
        See `cimsim.video.clip.load_clip`.

    Returns
    -------
    ndarray of uint8, shape (T, H, W, 3)
        RGB frames.

    Raises
    ------
    InputError
        When the path is missing, holds no readable clip or fewer frames than asked for, is damaged,
        or when its frames differ in size.
    """
    return np.asarray(
        load_clip(path, frames, start, black=black, white=white, tolerate_damage=tolerate_damage)
    )


def write_clip(path: str | Path, frames: UInt8Array | Displayed, fps: float = 25.0) -> None:
    """Write a clip; the suffix says how.

    ``.mp4``: H.264 4:4:4 at CRF 4, BT.709 (small, some 45 dB, not lossless). ``.mkv``: FFV1 in
    RGB (lossless). No suffix: a folder of PNGs ``00000.png`` ... (lossless, `fps` not kept). The
    clip is written under a temporary name and then renamed, so a killed run leaves no half file;
    a file is replaced, a folder that holds anything is not.

    Parameters
    ----------
    path : str or Path
        Where to; missing parent folders are made.
    frames : ndarray of uint8, shape (T, H, W, 3), or Displayed
        RGB frames; those of `displayed` are made one by one.
    fps : float
        Frames per second, 0.01 to 1000.

    Raises
    ------
    InputError
        For another suffix, another shape or dtype, a wrong `fps`, or when writing fails.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"{path}: cannot write a clip with suffix {path.suffix!r}; {_WRITABLE}")
    if (
        frames.dtype != np.uint8
        or len(frames.shape) != 4
        or frames.shape[3] != 3
        or 0 in frames.shape
    ):
        raise InputError(
            f"{path}: expected frames as uint8 of shape (T, H, W, 3), got {frames.dtype} of shape "
            f"{frames.shape}; to_uint8 converts floats"
        )
    if not 0.01 <= fps <= 1000:
        raise InputError(f"{path}: fps: expected a number in 0.01..1000, got {fps}")
    _check_target(path, is_folder=not suffix)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            _WRITERS[suffix](scratch, frames, fps)
    except OSError as error:
        raise InputError(f"{path}: cannot write the clip: {error}") from error


class Displayed:
    """Frames as a display shows them: uint8 RGB, made one by one."""

    dtype = np.dtype(np.uint8)

    def __init__(self, frames: FloatPictures) -> None:
        self._frames = frames
        self.shape: tuple[int, ...] = (*frames.shape[:3], 3)

    def __iter__(self) -> Iterator[UInt8Array]:
        for frame in self._frames:
            eight = to_uint8(frame)
            yield np.ascontiguousarray(np.broadcast_to(eight, (*eight.shape[:2], 3)))


def displayed(frames: FloatPictures) -> Displayed:
    """Return float frames [T, H, W, C] in 8 bit for `write_clip`, however many there are.

    Parameters
    ----------
    frames : ndarray of float, or `cimsim.video.reel.Spool`
        C is 1 or 3; values are clipped to [0, 1].
    """
    return Displayed(frames)


def to_float(frames: UInt8Array) -> npt.NDArray[np.float32]:
    """Scale 8-bit frames to [0, 1].

    Parameters
    ----------
    frames : ndarray of uint8, any shape

    Returns
    -------
    ndarray of float32, same shape
        ``frames / 255``.

    Raises
    ------
    InputError
        When `frames` are not uint8.
    """
    if frames.dtype != np.uint8:
        raise InputError(f"to_float: expected uint8 frames, got {frames.dtype}")
    scaled: npt.NDArray[np.float32] = frames.astype(np.float32) / np.float32(255)
    return scaled


def to_uint8(frames: npt.NDArray[np.floating]) -> UInt8Array:
    """Clip to [0, 1] and round to 8 bit (half to even); the inverse of `to_float`.

    Parameters
    ----------
    frames : ndarray of float, any shape

    Returns
    -------
    ndarray of uint8, same shape

    Raises
    ------
    InputError
        When `frames` are not floating-point or hold NaN.
    """
    if not np.issubdtype(frames.dtype, np.floating):
        raise InputError(f"to_uint8: expected floats in [0, 1], got {frames.dtype}")
    if np.isnan(frames).any():
        raise InputError("to_uint8: the frames hold NaN, which no pixel value can show")
    eight: UInt8Array = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    return eight


def _check_target(path: Path, *, is_folder: bool) -> None:
    """Raise when something stands in the way that must not be replaced."""
    if path.is_dir() and not is_folder:
        raise InputError(f"{path}: is a folder, cannot write a video file of this name")
    if is_folder and path.is_file():
        raise InputError(f"{path}: is a file, cannot write a folder of images of this name")
    if is_folder and path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path}: this folder is not empty; remove it or choose another name")
