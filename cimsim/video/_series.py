"""Which files a clip of pictures is made of: a folder, a pattern such as f%03d.png, or a glob."""

from __future__ import annotations

import glob
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cimsim.errors import InputError

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
IMAGE_SUFFIXES = (".png", *JPEG_SUFFIXES, ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
ACCEPTED = (
    "accepted: a video file (.mp4, .mkv, .avi, .mov, .webm ...), an image, a folder of images "
    f"({', '.join(IMAGE_SUFFIXES)}), a pattern of them (f%03d.png, 'f*.png') or an array (.npy)"
)
_NUMBER = re.compile(r"%(0?)(\d*)d")


@dataclass(frozen=True)
class Series:
    """Pictures in order.

    Attributes
    ----------
    files : list of Path
    notes : list of str
        What looks odd about the names.
    missing : list of str
        Numbers that a pattern leaves out.
    """

    files: list[Path]
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def is_pattern(path: Path) -> bool:
    """Tell a printf pattern or a glob from the name of one file."""
    text = str(path)
    return (bool(_NUMBER.search(path.name)) or glob.has_magic(text)) and not path.exists()


def of_folder(folder: Path) -> Series:
    """Return the images of a folder in natural order, without hidden files."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot read the folder: {error}") from error
    images = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES and e.is_file()]
    if not images:
        state = f"none of its {len(entries)} entries is an image" if entries else "it is empty"
        raise InputError(f"{folder}: no images in this folder, {state}; {ACCEPTED}")
    return Series(_sorted(images), _oddities(images))


def of_pattern(pattern: Path) -> Series:
    """Return the files that a printf pattern (f%03d.png) or a glob (f*.png) stands for.

    Raises
    ------
    InputError
        When there are none, or a glob finds what is no picture.
    """
    if _NUMBER.search(pattern.name):
        return _numbered(pattern)
    files = [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207
    files = [file for file in files if file.is_file()]
    others = [file for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
    if not files or others:
        what = f"finds {others[0].name}, which is no image" if others else "finds no file"
        raise InputError(f"{pattern}: this pattern {what}; {ACCEPTED}")
    return Series(_sorted(files), _oddities(files))


def _numbered(pattern: Path) -> Series:
    """Files of a printf pattern, by number, from the lowest that exists to the highest."""
    if len(_NUMBER.findall(pattern.name)) > 1:
        raise InputError(f"{pattern}: expected one number such as %03d in a pattern")
    match = _NUMBER.search(pattern.name)
    assert match is not None
    before, after = pattern.name[: match.start()], pattern.name[match.end() :]
    before, after = before.replace("%%", "%"), after.replace("%%", "%")
    width = int(match[2] or 0)
    name = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}")
    if pattern.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{pattern}: a pattern stands for images; {ACCEPTED}")
    by_number: dict[int, Path] = {}
    try:
        for file in pattern.parent.iterdir():
            hit = name.fullmatch(file.name)
            if hit and file.is_file() and _as_printed(int(hit[1]), width, match[1]) == hit[1]:
                by_number[int(hit[1])] = file
    except OSError as error:
        raise InputError(f"{pattern}: {error.strerror or error}; {ACCEPTED}") from error
    if not by_number:
        raise InputError(f"{pattern}: no file fits this pattern; {ACCEPTED}")
    numbers = sorted(by_number)
    gaps = [
        f"{_span(low + 1, high - 1)} between {by_number[low].name} and {by_number[high].name}"
        for low, high in pairwise(numbers)
        if high > low + 1
    ]
    return Series([by_number[number] for number in numbers], missing=gaps)


def _as_printed(number: int, width: int, zero: str) -> str:
    return str(number).zfill(width) if zero or width else str(number)


def _span(low: int, high: int) -> str:
    return f"number {low} is missing" if low == high else f"numbers {low} to {high} are missing"


def _sorted(files: list[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (str(file.parent), _natural_key(file), file.name))


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that compares digits by value."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _oddities(files: list[Path]) -> list[str]:
    """Say where names do not look like those of one clip."""
    kinds = Counter(re.sub(r"[0-9]+", "#", file.name) for file in files)
    if len(kinds) == 1 or len(kinds) == len(files):
        return []
    listed = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(4))
    return [f"names of {len(kinds)} kinds are taken as one clip: {listed}"]
