"""Which files a clip of pictures is made of: a folder, a pattern such as f%03d.png, or a glob."""

from __future__ import annotations

import glob
import re
import stat
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
        Numbers that a pattern leaves out, and names behind which there is no file.
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
    named = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES]
    images, gone = _readable(named)
    if not images and not gone:
        state = f"none of its {len(entries)} entries is an image" if entries else "it is empty"
        raise InputError(f"{folder}: no images in this folder, {state}; {ACCEPTED}")
    return _taken(folder, images, gone)


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
    files, gone = _readable(files)
    others = [file for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
    if others or not (files or gone):
        what = f"finds {others[0].name}, which is no image" if others else "finds no file"
        raise InputError(f"{pattern}: this pattern {what}; {ACCEPTED}")
    return _taken(pattern, files, gone)


def _taken(path: Path, files: list[Path], gone: list[str]) -> Series:
    if not files:
        raise InputError(f"{path}: {gone[0]}; {ACCEPTED}")
    return Series(_sorted(files), [*_oddities(files), *_gaps(files)], gone)


def _readable(named: list[Path]) -> tuple[list[Path], list[str]]:
    """Return the files among names of pictures, and a sentence for each that leads to nothing.

    Folders are passed over.
    """
    files, gone = [], []
    for path in named:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            link = "a link that leads to nothing: " if path.is_symlink() else ""
            gone.append(f"{path.name} cannot be read ({link}{error.strerror})")
            continue
        if stat.S_ISREG(mode):
            files.append(path)
        elif not stat.S_ISDIR(mode):
            gone.append(f"{path.name} is no file but a pipe or a device")
    return files, gone


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
    numbers: dict[Path, int] = {}
    try:
        for file in pattern.parent.iterdir():
            hit = name.fullmatch(file.name)
            if hit and _as_printed(int(hit[1]), width, match[1]) == hit[1]:
                numbers[file] = int(hit[1])
    except OSError as error:
        raise InputError(f"{pattern}: {error.strerror or error}; {ACCEPTED}") from error
    files, gone = _readable(sorted(numbers, key=numbers.__getitem__))
    if not files:
        raise InputError(f"{pattern}: {gone[0] if gone else 'no file fits it'}; {ACCEPTED}")
    return Series(files, missing=[*gone, *_between({file: numbers[file] for file in files})])


def _between(numbers: dict[Path, int]) -> list[str]:
    """Say which numbers are left out between files in order."""
    return [
        f"{_span(low + 1, high - 1)} between {before.name} and {after.name}"
        for (before, low), (after, high) in pairwise(numbers.items())
        if high > low + 1
    ]


def _gaps(files: list[Path]) -> list[str]:
    """Say where numbers in names that differ by one number alone do not follow each other."""
    kinds: dict[tuple[Path, tuple[str, ...]], dict[Path, list[int]]] = {}
    for file in _sorted(files):
        parts = re.split(r"([0-9]+)", file.name)
        numbers = [int(part) for part in parts[1::2]]
        kinds.setdefault((file.parent, tuple(parts[::2])), {})[file] = numbers
    told = []
    for kind in kinds.values():
        columns = list(zip(*kind.values(), strict=True))
        counting = [column for column in columns if len(set(column)) > 1] or columns[:1]
        if len(counting) == 1:
            told += _steps(dict(zip(kind, counting[0], strict=True)))
    return told


def _steps(numbers: dict[Path, int]) -> list[str]:
    """Say how the numbers of pictures of one kind go, if not by one."""
    pairs = list(pairwise(numbers))
    steps = [numbers[after] - numbers[before] for before, after in pairs]
    if len(set(steps)) == 1 and steps[0] > 1:
        return [
            f"numbers go in steps of {steps[0]} from {pairs[0][0].name} to {pairs[-1][1].name}: "
            "the pictures are taken as if they followed each other"
        ]
    told = [
        f"{before.name} and {after.name} have the same number: both are taken"
        for (before, after), step in zip(pairs, steps, strict=True)
        if not step
    ][:1]
    gaps = _between(numbers)
    if gaps:
        more = f" ({len(gaps) - 1} more gaps)" if len(gaps) > 1 else ""
        told.append(f"{gaps[0]}{more}: the pictures are taken as if they followed each other")
    return told


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
