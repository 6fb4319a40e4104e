"""Keys of stages: a hash of what a stage reads, worked out before the stage runs.

A key holds the stage's name and version, the keys of the stages above it, the chip fields that it
declares, further inputs, the program's own source and the numeric libraries. What a stage declares
is held to what it reads by a test with a chip that notes down every access.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel

import cimsim
from cimsim.boundary import json_text
from cimsim.chip.cells import DEVICES
from cimsim.chip.fields import fields
from cimsim.chip.load import dump
from cimsim.chip.spec import Chip

_LIBRARIES = (
    "numpy", "scipy", "torch", "numba", "scikit-image", "av", "pillow", "simplejpeg",
)  # fmt: skip
_UNREAD = ("cli", "testing")  # rooms that no stage calls


@dataclass(frozen=True)
class Stage:
    """One step of a simulation.

    Attributes
    ----------
    name : str
    version : int
        Goes up when a stage gives something else for the same inputs in a way that the source of
        this program does not show, as with another layout of its entries.
    reads : tuple of str
        Chip fields, as dotted YAML paths; ``*`` stands for any text. Parameters of a cell are
        ``device.<name>``.
    also : mapping of str to tuple of (str, object)
        Further fields, each read only where another one has another value than the one that stands
        beside it: ``{"adc.count": (("adc.inl_bow", 0), ("adc.inl_steps", 0))}``.
    """

    name: str
    version: int = 1
    reads: tuple[str, ...] = ()
    also: Mapping[str, tuple[tuple[str, object], ...]] | None = None

    def fields_of(self, values: Mapping[str, object]) -> dict[str, object]:
        """Return the declared part of a chip's values, see `values_of`."""
        patterns = list(self.reads)
        for path, conditions in (self.also or {}).items():
            if any(values.get(other) != idle for other, idle in conditions):
                patterns.append(path)
        held = tuple(patterns)
        return {path: values[path] for path in values if declared(path, held)}

    def key(
        self, above: Iterable[str], values: Mapping[str, object] | None = None, /, **more: object
    ) -> str:
        """Return the key.

        Parameters
        ----------
        above : iterable of str
            Keys of the stages whose results it takes.
        values : mapping of str to object, optional
            Of the chip, see `values_of`.
        **more
            Plain data that it takes, too.
        """
        return json_text.digest({
            "stage": self.name, "version": self.version, "program": program(), "above": list(above),
            "chip": {} if values is None else self.fields_of(values), "more": more,
        })  # fmt: skip


@cache
def declared(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns names a field."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def narrowed(chip: Chip, paths: Iterable[str]) -> Chip:
    """Return a chip that has some of its fields only: reading another one is an AttributeError.

    So no stage can read what its key does not hold.

    Parameters
    ----------
    chip : Chip
    paths : iterable of str
        Dotted YAML paths, such as those of `Stage.fields_of`.
    """
    kept, known = set(paths), fields()
    whole = chip.model_copy()
    parts: dict[str, BaseModel] = {}
    for path in known.keys() - kept:
        *above, name = known[path].names
        if not above:
            whole.__dict__.pop(name, None)
            continue
        section = parts.get(above[0])
        if section is None:
            held = getattr(chip, above[0])
            if held is None:  # a section that this chip does not have
                continue
            section = parts[above[0]] = held.model_copy()
        section.__dict__.pop(name, None)
    for name, section in parts.items():
        if name == "device" and not any(path.startswith("device.") for path in kept):
            section.__dict__.clear()
            object.__setattr__(section, "__pydantic_extra__", {})
        whole.__dict__[name] = section
    return whole


def values_of(chip: Chip) -> dict[str, object]:
    """Return every value of a chip by dotted YAML path, in SI units; files by their content."""
    data = dump(chip)
    device = data["device"]
    assert isinstance(device, dict)
    values: dict[str, object] = {}
    for path, field in fields().items():
        place: object = data
        for name in field.names:
            place = place.get(name) if isinstance(place, dict) else None
        if path != "sources":
            values[path] = place
    for name, value in device.items():
        values[f"device.{name}"] = value
    # no field of a file: whether the speed of the cells' noise is known
    kind = device.get("kind")
    if "noise" in device or (kind in DEVICES and DEVICES[kind].states_spectrum):
        values["device.spectrum"] = True
    return values


@cache
def program() -> str:
    """SHA-256 of this program's source, of the numeric libraries and of Python's version."""
    digest = hashlib.sha256(repr((sys.version_info[:2], platform.machine())).encode())
    for place in map(Path, cimsim.__path__):
        names = ["frontends"] if not (place / "__init__.py").is_file() else ["."]
        for name in names:
            _add_source(digest, place, name, _UNREAD)
    for library in versions(_LIBRARIES):
        digest.update(library.encode())
    return digest.hexdigest()


def versions(packages: Iterable[str]) -> list[str]:
    """Return the installed version of each package as text: ``numpy 2.1.0``, ``av missing``."""
    installed = []
    for name in packages:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            installed.append(f"{name} missing")
    return installed


@cache
def source_of(room: str) -> str:
    """SHA-256 of the source of one room that `program` leaves out."""
    digest = hashlib.sha256()
    _add_source(digest, Path(cimsim.__file__).parent, room, ())
    return digest.hexdigest()


def _add_source(digest: hashlib._Hash, place: Path, name: str, unread: tuple[str, ...]) -> None:
    for file in sorted((place / name).rglob("*.py")):
        inside = file.relative_to(place)
        if inside.parts[0] not in unread:
            digest.update(f"\n{inside.as_posix()}\n".encode())
            digest.update(file.read_bytes())


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; of a folder: of names and contents of its files."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        return json_text.digest([[f.relative_to(path).as_posix(), file_digest(f)] for f in inside])
    status = path.stat()
    return _content(str(path.resolve()), status.st_size, status.st_mtime_ns)


@cache
def _content(path: str, size: int, changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
