"""Animations through Pillow: their frames, a still picture that is none of them, a missing end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cimsim.errors import InputError
from cimsim.video._orientation import EXIF, ORIENTATION, UPRIGHT, turned
from cimsim.video._series import JPEG_SUFFIXES
from cimsim.video.source import UInt8Array

ANIMATION_SUFFIXES = (".gif", ".apng")
"""Of files that are animations, mostly; of those of pictures some are, too."""
_STILL = (".tif", ".tiff", ".bmp", *JPEG_SUFFIXES)  # a second frame of a JPEG is its preview


@dataclass(frozen=True, slots=True)
class Held:
    """What a file of pictures holds.

    Attributes
    ----------
    frames : int
        1 for a still picture, for TIFF, and for what cannot be read.
    animated : bool
    hidden : int
        Pictures before the first frame: the one that a PNG has for programs without animations.
    incomplete : str
        Why frames may be missing; empty where nothing says so.
    """

    frames: int = 1
    animated: bool = False
    hidden: int = 0
    incomplete: str = ""


def is_gif(path: Path) -> bool:
    """Tell a GIF file of any name: libavformat leaves out its frames that state no time."""
    with path.open("rb") as file:
        return file.read(6) in (b"GIF87a", b"GIF89a")


def held(path: Path) -> Held:
    """Say what a file holds, without decoding its pixels."""
    from PIL import Image

    if path.suffix.lower() in _STILL:
        return Held()
    try:
        with Image.open(path) as image:
            stored = int(getattr(image, "n_frames", 1))
            hidden = int(stored > 1 and bool(image.info.get("default_image")))
            cut = image.format == "GIF" and not _ends(path)
    except Exception:  # noqa: BLE001 - whoever reads the picture says what is wrong
        return Held()
    return Held(stored - hidden, stored > 1, hidden, "it ends before its last block" * cut)


def frames(path: Path, hidden: int) -> Iterator[UInt8Array]:
    """Yield the frames of an animation, each as it is shown.

    Raises
    ------
    InputError
        A frame cannot be decoded; the message has the decoder's cause alone.
    """
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as image:
            turn = EXIF.get(image.getexif().get(ORIENTATION, 1), UPRIGHT)
            for number, frame in enumerate(ImageSequence.Iterator(image)):
                pixels = np.asarray(frame.convert("RGB"))  # each is laid over those before it
                if number >= hidden:
                    yield turned(pixels, turn)
    except Exception as error:  # decoders raise anything on damaged files
        raise InputError(str(error).strip().partition("\n")[0] or type(error).__name__) from error


def _ends(path: Path) -> bool:
    """Tell whether the blocks of a GIF file go on to its trailer (GIF89a, 27)."""
    with path.open("rb") as file:
        _pass_colours(file, file.read(13)[10:11])
        while kind := file.read(1):
            if kind == b";":
                return True
            if kind == b"!":  # an extension
                file.seek(1, 1)
                _pass_blocks(file)
            elif kind == b",":  # a picture
                _pass_colours(file, file.read(9)[8:9])
                file.seek(1, 1)
                _pass_blocks(file)
    return False


def _pass_colours(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 128:
        file.seek(3 << (flags[0] & 7) + 1, 1)


def _pass_blocks(file: BinaryIO) -> None:
    while (size := file.read(1)) not in (b"", b"\0"):
        file.seek(size[0], 1)
