"""Video files through PyAV (the FFmpeg libraries)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError

UInt8Array = npt.NDArray[np.uint8]

# libavformat renders text files as "video"; a clip made of one would be a surprise.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})
_BT709 = 1  # libav's number of the BT.709 matrix
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_VIDEO_RANGE = 1  # AVCOL_RANGE_MPEG


def _cause(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def read_video(path: Path, start: int, stop: int | None) -> tuple[list[UInt8Array], int]:
    """Decode frames ``start`` to ``stop`` of a video file.

    Returns the RGB frames and how many frames were decoded, those before `start` included.
    """
    import av

    pictures: list[UInt8Array] = []
    n_decoded = 0
    try:
        with av.open(str(path)) as container:
            if container.format.name in _TEXT_FORMATS or not container.streams.video:
                raise InputError(
                    f"{path}: holds no video; expected a video file, an image or a folder of images"
                )
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                if n_decoded >= start:
                    pictures.append(_frame_rgb(frame))
                n_decoded += 1
                if n_decoded == stop:
                    break
    except InputError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        where = f"frame {n_decoded} cannot be decoded" if n_decoded else "not a readable video"
        raise InputError(f"{path}: {where} ({_cause(error)})") from error
    return pictures, n_decoded


def _frame_rgb(frame: Any) -> UInt8Array:
    """Convert one decoded frame to RGB [H, W, 3]."""
    is_exact_format = (
        frame.format.name == "yuv444p10le"
        and frame.colorspace == _BT709
        and frame.color_range == _FULL_RANGE
    )
    if is_exact_format:
        return _full_range_bt709_rgb(frame)
    pixels: UInt8Array = frame.to_ndarray(format="rgb24")
    return pixels


def _full_range_bt709_rgb(frame: Any) -> UInt8Array:
    """Convert 10-bit 4:4:4 full-range BT.709 planes in float64 (ITU-R BT.709-6, section 3).

    About 0.3 dB nearer to the original than the 8-bit integer conversion of libswscale.
    """
    luma, blue, red = (
        np.frombuffer(plane, np.uint16).reshape(frame.height, plane.line_size // 2)[
            :, : frame.width
        ]
        / 1023
        for plane in frame.planes
    )
    blue, red = blue - 512 / 1023, red - 512 / 1023
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    rgb = np.clip(np.rint(255 * np.stack([r, g, b], -1)), 0, 255)
    return rgb.astype(np.uint8)


def write_h264(path: Path, frames: UInt8Array, fps: float) -> None:
    """Write H.264, 8 bit 4:4:4, BT.709 in video range (what players expect)."""
    options = {"crf": "4", "preset": "medium"}
    _encode(path, frames, fps, codec="libx264", pixel_format="yuv444p", options=options)


def write_ffv1(path: Path, frames: UInt8Array, fps: float) -> None:
    """Write FFV1 in RGB, lossless."""
    _encode(path, frames, fps, codec="ffv1", pixel_format="bgr0", options={"level": "3"})


def _encode(
    path: Path,
    frames: UInt8Array,
    fps: float,
    *,
    codec: str,
    pixel_format: str,
    options: dict[str, str],
) -> None:
    """Encode RGB frames with one codec of libav."""
    import av

    try:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(100_000))
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
