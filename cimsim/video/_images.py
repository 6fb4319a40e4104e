"""Still pictures: one file to 8-bit RGB, and folders of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError

UInt8Array = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
ACCEPTED = (
    "accepted: a video file (.mp4, .mkv, .avi, .mov, .webm ...), an image or a folder of images "
    f"({', '.join(IMAGE_SUFFIXES)})"
)


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that compares digits by value."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order, without hidden files."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot read the folder: {error}") from error
    images = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES and e.is_file()]
    if not images:
        state = f"none of its {len(entries)} entries is an image" if entries else "it is empty"
        raise InputError(f"{folder}: no images in this folder, {state}; {ACCEPTED}")
    return sorted(images, key=lambda image: (_natural_key(image), image.name))


def read_image(path: Path) -> UInt8Array:
    """Read one image as uint8 RGB [H, W, 3]."""
    from PIL import Image, ImageOps

    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return _rgb8(path, _read_tiff(path))
        with Image.open(path) as image:
            if "16" in image.mode or image.mode == "I":
                return _rgb8(path, np.asarray(image).astype(np.uint16))
            if _is_colour_16_bit_png(path):
                return _rgb8(path, _read_colour_16_bit(path))
            upright = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("RGB"))
    except InputError:
        raise
    # decoders raise anything from SyntaxError to struct.error on damaged files
    except Exception as error:
        raise InputError(f"{path}: not a readable image ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """Return the first line of what a decoder said."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    """Read one TIFF page as it is stored, samples last."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if len(file.pages) != 1:
            raise InputError(
                f"{path}: holds {len(file.pages)} pages; write a clip as a folder of one-page "
                "images or as a video file"
            )
        pixels: npt.NDArray[Any] = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise InputError(f"{path}: white-is-zero TIFF is not supported; save it as PNG")
        planes_first = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3
    return np.moveaxis(pixels, 0, -1) if planes_first else pixels


def _is_colour_16_bit_png(path: Path) -> bool:
    """Tell whether a PNG header says 16 bit per sample (Pillow would truncate its colours)."""
    with path.open("rb") as file:
        header = file.read(25)
    return header.startswith(b"\x89PNG") and header[24] == 16


def _read_colour_16_bit(path: Path) -> npt.NDArray[np.uint16]:
    """Read a 16-bit colour PNG as uint16 [H, W, 3]."""
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        pixels: Any = frame.to_ndarray(format="rgb48le")
    return np.asarray(pixels, dtype=np.uint16)


def _rgb8(path: Path, pixels: npt.NDArray[Any]) -> UInt8Array:
    """Turn stored pixels (bool, 8 or 16 bit, float in [0, 1]; grey or colour) into uint8 RGB."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise InputError(f"{path}: not a picture: stored as an array of shape {pixels.shape}")
    colour = pixels[..., :1] if pixels.shape[2] < 3 else pixels[..., :3]
    if colour.dtype == np.bool_:
        eight: UInt8Array = colour.astype(np.uint8) * np.uint8(255)
    elif colour.dtype == np.uint16:
        eight = np.rint(colour / 257.0).astype(np.uint8)
    elif colour.dtype == np.uint8:
        eight = colour
    elif np.issubdtype(colour.dtype, np.floating) and colour.min() >= 0 and colour.max() <= 1:
        eight = np.rint(colour * 255).astype(np.uint8)
    else:
        raise InputError(
            f"{path}: pixels are {pixels.dtype} in {pixels.min()}..{pixels.max()}; "
            "expected 8 or 16 bit, or floats in 0..1"
        )
    return np.ascontiguousarray(np.broadcast_to(eight, (*eight.shape[:2], 3)))


def write_folder(path: Path, frames: UInt8Array, fps: float) -> None:
    """Write frames as ``00000.png``, ``00001.png`` ... into a new folder."""
    from PIL import Image

    del fps  # a folder of images has no place for it
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index:05d}.png")
