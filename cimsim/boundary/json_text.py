"""Strict JSON: no NaN and no Infinity in or out, each key once, limits of depth and digits."""

from __future__ import annotations

import hashlib
import json
import math
from typing import NoReturn

from cimsim.boundary import tree
from cimsim.boundary.limits import DIGITS, RESULT, Limits, shown

_EXACT = 2**53  # whole numbers below are themselves as floats


def load(text: str, limits: Limits = RESULT) -> object:
    """Parse JSON.

    Raises
    ------
    ValueError
        One line: where, what came, what is right.
    """
    if len(text) > limits.n_bytes:
        raise ValueError(f"more than {limits.n_bytes:,} characters")
    try:
        data = json.loads(
            text, parse_constant=_constant, parse_int=_whole, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {limits.depth} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: line {error.lineno}: {error.msg}") from None
    tree.check(data, limits, finite=True)
    return data


def dump(data: object, *, indent: int | None = 1, sort_keys: bool = False) -> str:
    """Write JSON that every parser reads.

    Raises
    ------
    ValueError
        A number that is not finite, or no plain data; the message names its place.
    """
    tree.check(data, RESULT, finite=True)
    return json.dumps(data, indent=indent, sort_keys=sort_keys, allow_nan=False)


def without_infinities(data: object) -> object:
    """Return plain data with null where a number is not finite (PSNR of equal frames)."""
    if isinstance(data, dict):
        return {key: without_infinities(part) for key, part in data.items()}
    if isinstance(data, list | tuple):
        return [without_infinities(part) for part in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def digest(data: object) -> str:
    """Return the SHA-256 of plain data in which 5 and 5.0 are the same number."""
    text = dump(_normal(data), indent=None, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _normal(value: object) -> object:
    if isinstance(value, dict):
        return {key: _normal(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(part) for part in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON; expected a finite number or null")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS:
        raise ValueError(f"a number of {len(text)} digits; expected at most {DIGITS}")
    return int(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {shown(twice)} stands twice")
    return mapping
