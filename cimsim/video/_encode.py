"""Video files written through PyAV (the FFmpeg libraries)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from cimsim.video.source import Pictures

_BT709 = 1  # libav's number of the BT.709 matrix
_VIDEO_RANGE = 1  # AVCOL_RANGE_MPEG


def _cause(error: BaseException) -> str:
    """Return the first line of what libav said."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def write_h264(path: Path, frames: Pictures, fps: float) -> None:
    """Write H.264, 8 bit 4:4:4, BT.709 in video range (what players expect)."""
    options: dict[str, object] = {"crf": "4", "preset": "medium"}
    _encode(path, frames, fps, kind="mp4", codec="libx264", pixel_format="yuv444p",
            options=options)  # fmt: skip


def write_ffv1(path: Path, frames: Pictures, fps: float) -> None:
    """Write FFV1 in RGB, lossless."""
    _encode(path, frames, fps, kind="matroska", codec="ffv1", pixel_format="bgr0",
            options={"level": "3"})  # fmt: skip


def _encode(
    path: Path,
    frames: Pictures,
    fps: float,
    *,
    kind: str,
    codec: str,
    pixel_format: str,
    options: dict[str, object],
) -> None:
    """Encode RGB frames with one codec of libav into a container, whatever the file's name."""
    import av

    try:
        with av.open(str(path.absolute()), "w", format=kind) as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(100_000))
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = frames.shape[2], frames.shape[1]
            stream.pix_fmt = pixel_format
            stream.options = options
            if pixel_format.startswith("yuv"):
                # without the tags a reader would guess the matrix and shift the colours
                stream.codec_context.colorspace = _BT709
                stream.codec_context.color_primaries = _BT709
                stream.codec_context.color_trc = _BT709
                stream.codec_context.color_range = _VIDEO_RANGE
            for rgb in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
                container.mux(
                    stream.encode(frame.reformat(format=pixel_format, dst_colorspace=_BT709))
                )
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(_cause(error)) from error
