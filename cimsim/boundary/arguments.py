"""Arguments of public functions and of options: numbers of Python or numpy, by name."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import SupportsFloat, SupportsIndex

from cimsim.boundary.limits import DIGITS, shown
from cimsim.errors import CimsimError, ConfigError, suggest

_BESIDE = 48  # bytes that names of temporary files have more than what they become
_INSIDE = 100  # bytes of the longest name inside of a folder that is written


def check_length(name: str, path: Path, fail: type[CimsimError] = ConfigError) -> None:
    """Refuse a path to write that is longer than its file system takes, before the long wait.

    Raises
    ------
    CimsimError
        Naming the part that is too long.
    """
    whole_path = path.absolute()
    above = next(place for place in whole_path.parents if os.path.exists(place))  # noqa: PTH110
    try:
        room = os.pathconf(above, "PC_NAME_MAX")
        most = os.pathconf(above, "PC_PATH_MAX") - _BESIDE - _INSIDE
    except (OSError, ValueError):
        return
    *folders, last = whole_path.parts
    limits = [(part, room) for part in folders]
    limits += [(last, room - _BESIDE), (str(whole_path), most)]
    for text, allowed in limits:
        length = len(os.fsencode(text))
        if length > allowed:
            raise fail(
                f"{name}: {shown(text)} has {length:,} bytes, and at most {allowed:,} can be "
                "written there; take a shorter name"
            )


def whole(
    name: str, value: object, low: int, high: int, fail: type[CimsimError] = ConfigError
) -> int:
    """Return a whole number as Python's ``int``; numpy's are welcome.

    Raises
    ------
    CimsimError
        Another type, or outside of ``low .. high``.
    """
    try:
        if isinstance(value, bool) or type(value).__name__ == "bool_":
            raise TypeError
        if not isinstance(value, SupportsIndex):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise fail(f"{name}: expected a whole number, got {shown(value)}") from None
    if not low <= number <= high:
        raise fail(f"{name}: expected {_range(low, high)}, got {shown(number)}")
    return number


def number(
    name: str, value: object, low: float, high: float, fail: type[CimsimError] = ConfigError
) -> float:
    """Return a finite number as Python's ``float``; numpy's are welcome.

    Raises
    ------
    CimsimError
        Another type, NaN, infinite, or outside of ``low .. high``.
    """
    try:
        if isinstance(value, bool | str | bytes) or type(value).__name__ == "bool_":
            raise TypeError
        if not isinstance(value, SupportsFloat | SupportsIndex):
            raise TypeError
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        raise fail(f"{name}: expected a number, got {shown(value)}") from None
    if not math.isfinite(converted) or not low <= converted <= high:
        raise fail(f"{name}: expected {_range(low, high)}, got {converted:g}")
    return converted


def choice(
    name: str, value: object, known: Iterable[str], fail: type[CimsimError] = ConfigError
) -> str:
    """Return one of some names.

    Raises
    ------
    CimsimError
        Another value.
    """
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise fail(f"{name}: {shown(value)} is unknown{suggest(str(value)[:60], names)}")
    return value


def whole_of_text(
    name: str, text: str, low: int, high: int, fail: type[CimsimError] = ConfigError
) -> int:
    """Read a whole number of plain digits, ``-`` before it: no superscripts, no 5,000 digits.

    Raises
    ------
    CimsimError
        As `whole`.
    """
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise fail(f"{name}: expected a whole number, got {shown(text)}")
    if len(digits.lstrip("0")) > DIGITS:
        raise fail(f"{name}: expected {_range(low, high)}, got {len(digits)} digits")
    return whole(name, int(text), low, high, fail)


def _range(low: float, high: float) -> str:
    if high >= 10**15:
        return f"at least {low:,}"
    return f"{low:,} .. {high:,}"
