"""What networks are judged on: a folder of test clips, or the embedded scenes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.functional import CALIBRATION_SCENES
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


def clips_in(folder: Path, frames: int) -> ClipSet:
    """Read every clip of a folder: folders of images and video files, sorted by name.

    Raises
    ------
    InputError
        When there is none, or one is too short or cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --data names a folder of test clips")
    places = sorted(
        path for path in folder.iterdir() if path.is_dir() or path.suffix.lower() in VIDEOS
    )
    if not places:
        raise InputError(f"{folder}: holds no clips (folders of images or {', '.join(VIDEOS)})")
    return _set({path.stem: read_clip(path, frames=frames) for path in places}, "")


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
