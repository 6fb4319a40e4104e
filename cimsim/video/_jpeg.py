"""JPEG files: the pixels of libjpeg, and what two decoders say of damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

COLOURS = {"L": "GRAY", "RGB": "RGB"}
"""Kinds of pixels (Pillow's names) that libjpeg is asked for, by its own."""


def decode(content: bytes, mode: str) -> tuple[npt.NDArray[np.uint8], str]:
    """Decode a JPEG file.

    libjpeg paints on where data is damaged; here its warnings count as damage.

    Parameters
    ----------
    content : bytes
    mode : str
        Key of `COLOURS`.

    Returns
    -------
    pixels : ndarray of uint8, shape (H, W, C), C 1 or 3
        Of a damaged file, what libjpeg painted.
    damage : str
        What libjpeg warned of; empty where it read to the last byte without a doubt.

    Raises
    ------
    ValueError
        Nothing that libjpeg can decode.
    """
    import simplejpeg

    try:
        return np.asarray(simplejpeg.decode_jpeg(content, COLOURS[mode])), ""
    except ValueError as error:
        damage = str(error)
    return np.asarray(simplejpeg.decode_jpeg(content, COLOURS[mode], strict=False)), damage


def second_opinion(path: Path) -> str:
    """Return what libav's decoder says of damage; empty where there is none.

    It stops where a block has more than 64 coefficients, which libjpeg lets pass; libjpeg in turn
    sees data that is left over or that ends early.
    """
    import av

    try:
        with av.open(str(path.absolute()), format="jpeg_pipe") as container:
            context = container.streams.video[0].codec_context
            context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
            context.thread_count, context.thread_type = 1, "NONE"
            broken = any(frame.is_corrupt for frame in container.decode(video=0))
    except av.InvalidDataError as error:
        return str(error.strerror or error)
    except (av.FFmpegError, OSError, ValueError):
        return ""  # of a kind that this decoder does not know
    return "parts of it are missing" if broken else ""
