"""What a tree of plain data may be: texts, numbers, switches, lists and mappings, nothing else."""

from __future__ import annotations

import math

from cimsim.boundary.limits import DIGITS, KEY, Limits, shown

_LARGEST = 10**DIGITS
_CONTROL = {code for code in range(32) if chr(code) not in "\t\n\r"} | {127}


def check(data: object, limits: Limits, *, finite: bool = False) -> None:
    """Refuse what no reader of plain data has to expect.

    Parameters
    ----------
    data : object
        From a parser; not changed.
    limits : Limits
    finite : bool
        Refuse NaN and infinities, too.

    Raises
    ------
    ValueError
        Naming the place, the value and what is right.
    """
    stack: list[tuple[object, tuple[str, ...]]] = [(data, ())]
    seen = 0
    while stack:
        value, place = stack.pop()
        seen += 1
        if seen > limits.nodes:
            raise ValueError(
                f"more than {limits.nodes:,} values; aliases count as what they repeat"
            )
        if len(place) > limits.depth:
            raise ValueError(
                f"{_path(place[:4])} ...: nested deeper than {limits.depth} levels; no file of "
                "this kind needs that"
            )
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(f"{_path(place)}: expected a text as key, got {shown(key)}")
                if len(key) > KEY:
                    raise ValueError(
                        f"{_path(place)}: expected a key of at most {KEY} characters, got "
                        f"{shown(key)} of {len(key):,}"
                    )
                _check_text(key, (*place, key))
            stack.extend((part, (*place, key)) for key, part in reversed(value.items()))
        elif isinstance(value, list | tuple):
            stack.extend((part, (*place, str(i))) for i, part in reversed([*enumerate(value)]))
        else:
            _check_leaf(value, place, finite)


def _check_leaf(value: object, place: tuple[str, ...], finite: bool) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise ValueError(
                f"{_path(place)}: expected a number of at most {DIGITS} digits, got "
                f"{len(_digits(value))}"
            )
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"{_path(place)}: expected a finite number, got {value}")
    else:
        raise ValueError(
            f"{_path(place)}: expected a text or a number, got {shown(value)} "
            f"({type(value).__name__}); put it into quotes if it is a text"
        )


def _digits(value: int) -> str:
    # str() of more than 4,300 digits is refused by Python
    return "9" * max(DIGITS + 1, int(value.bit_length() * math.log10(2)))


def _check_text(text: str, place: tuple[str, ...]) -> None:
    if any(ord(letter) in _CONTROL for letter in text) if not text.isprintable() else False:
        raise ValueError(f"{_path(place)}: control characters in {shown(text)}; delete them")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{_path(place)}: half a character in {shown(text)}; retype it") from None


def _path(place: tuple[str, ...]) -> str:
    whole = ".".join(place) or "the value"
    text = whole.encode("unicode_escape").decode("ascii") if not whole.isprintable() else whole
    return text if len(text) <= 120 else text[:116] + " ..."
