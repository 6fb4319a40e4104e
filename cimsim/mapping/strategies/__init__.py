"""Mapping strategies: a layer's matrix -> the blocks of one replica.

A strategy is any object with a ``name`` and a ``place(op, chip) -> Layout``; adding one is a class
and a line in `STRATEGIES`. One with a parameter takes it behind a colon: ``omm:3``, ``vwsdk:4x2``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cimsim.boundary.limits import shown
from cimsim.errors import MappingError, suggest
from cimsim.mapping.strategies.base import Cut, Strategy, Tally, array_size, grid
from cimsim.mapping.strategies.im2col import Im2col
from cimsim.mapping.strategies.omm import Multipoint, Omm
from cimsim.mapping.strategies.sdk import Sdk
from cimsim.mapping.strategies.smd import Smd
from cimsim.mapping.strategies.vwsdk import Vwsdk

__all__ = [
    "STRATEGIES", "USUAL", "Cut", "Im2col", "Multipoint", "Omm", "Sdk", "Smd", "Strategy", "Tally",
    "Vwsdk", "array_size", "grid", "strategy",
]  # fmt: skip

STRATEGIES: dict[str, Strategy] = {
    "im2col": Im2col(), "smd": Smd(), "sdk": Sdk(), "vwsdk": Vwsdk(), "omm": Omm(),
    "multipoint": Multipoint(),
}  # fmt: skip

USUAL = "im2col"  # where nobody says another one

_WITH_NUMBER: dict[str, Callable[[int], Strategy]] = {
    "smd": Smd, "sdk": Sdk, "omm": Omm, "multipoint": Multipoint,
}  # fmt: skip


def strategy(name: str | Strategy) -> Strategy:
    """Return a strategy by name; an object that is one already passes through.

    Raises
    ------
    MappingError
        An unknown name, or a parameter that the strategy does not take.
    """
    if not isinstance(name, str):
        return name
    family, colon, parameter = name.partition(":")
    if family not in STRATEGIES:
        raise MappingError(f"mapping: {shown(family)} is unknown{suggest(family, STRATEGIES)}")
    if not colon:
        return STRATEGIES[family]
    if family in _WITH_NUMBER and re.fullmatch(r"[0-9]{1,6}", parameter):
        return _WITH_NUMBER[family](int(parameter))
    sides = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", parameter)
    if family == "vwsdk" and sides:
        return Vwsdk((int(sides[2]), int(sides[1])))
    wanted = {"im2col": "no parameter", "vwsdk": "windows as WIDTHxHEIGHT, such as vwsdk:4x2"}
    number = f"a number of windows, such as {family}:3"
    raise MappingError(
        f"mapping: '{name}': expected {wanted.get(family, number)}, got '{parameter}'"
    )
