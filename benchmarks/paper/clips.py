"""What networks are judged on: a folder of test clips, or the embedded scenes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.session.calibration import CALIBRATION_SCENES
from cimsim.video.embedded import SCENES as EMBEDDED
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import read_clip, to_float

Frames = npt.NDArray[np.float32]
VIDEOS = (".mp4", ".mkv", ".avi", ".mov")
# a chip is never judged on what it was calibrated on
SCENES = tuple(name for name in EMBEDDED if name not in CALIBRATION_SCENES)
QUICK_FRAMES = 4
FULL_FRAMES = 20


@dataclass(frozen=True, slots=True, eq=False)
class ClipSet:
    """Clean clips.

    Attributes
    ----------
    clips : dict of str to ndarray of float32 [T, H, W, 3]
        In [0, 1].
    name : str
        What figures call the set: names, frames, size and a digest of the pixels, so that results
        of two sets are never drawn in one figure.
    """

    clips: dict[str, Frames]
    name: str

    @property
    def title(self) -> str:
        """The name without its digest."""
        return self.name.rpartition(" #")[0]


def clips_in(folder: Path, frames: int, crop: tuple[int, int] | None = None) -> ClipSet:
    """Read every clip of a folder: folders of images and video files, sorted by name.

    Clips may differ in size and kind.

    Parameters
    ----------
    folder : Path
    frames : int
        Taken from each clip.
    crop : tuple of int, optional
        Height and width of the middle that is taken of every clip; the whole by default.

    Raises
    ------
    InputError
        When there is none, or one is too short, smaller than the crop or cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data names a folder of test clips")
    places = sorted(
        path for path in folder.iterdir() if path.is_dir() or path.suffix.lower() in VIDEOS
    )
    if not places:
        raise InputError(f"{folder}: holds no clips (folders of images or {', '.join(VIDEOS)})")
    clips = {path.stem: read_clip(path, frames=frames) for path in places}
    if crop is not None:
        clips = {name: _middle(name, clip, *crop) for name, clip in clips.items()}
    return _set(clips, "")


def _middle(
    name: str, clip: npt.NDArray[np.uint8], height: int, width: int
) -> npt.NDArray[np.uint8]:
    tall, wide = clip.shape[1:3]
    if not (0 < height <= tall and 0 < width <= wide):
        raise InputError(
            f"--crop {width}x{height}: clip '{name}' is {wide}x{tall}; a crop lies within every "
            "clip"
        )
    top, left = (tall - height) // 2, (wide - width) // 2
    return np.ascontiguousarray(clip[:, top : top + height, left : left + width])


def embedded_scenes(frames: int = QUICK_FRAMES, size: int = 256) -> ClipSet:
    """Return the embedded scenes: synthetic motion, for a quick look only."""
    return _set({name: embedded_clip(name, frames, size, size) for name in SCENES}, "embedded ")


def _set(clips: dict[str, npt.NDArray[np.uint8]], prefix: str) -> ClipSet:
    digest = hashlib.sha256()
    for name, clip in clips.items():
        digest.update(name.encode() + str(clip.shape).encode() + clip.tobytes())
    shapes = sorted({(len(clip), clip.shape[2], clip.shape[1]) for clip in clips.values()})
    sizes = ", ".join(f"{n} frames {width}x{height}" for n, width, height in shapes)
    name = f"{prefix}{'+'.join(clips)}, {sizes} #{digest.hexdigest()[:8]}"
    return ClipSet({key: to_float(clip) for key, clip in clips.items()}, name)
