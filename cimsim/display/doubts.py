"""A doubt: something that a reader of a number must know, and the way out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Doubt:
    """One doubt, a line on the screen and an entry in the JSON.

    Attributes
    ----------
    code : str
        Which kind of doubt, for programs: ``zero-with-source``.
    text : str
        What is doubtful, beginning with the field or layer.
    way : str
        The way out; may be empty.
    """

    code: str
    text: str
    way: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.way}" if self.way else self.text


def refuse(doubts: Sequence[Doubt]) -> None:
    """Make errors of doubts, as ``--strict`` asks for.

    Raises
    ------
    ConfigError
        There are any; the message lists them.
    """
    if doubts:
        count = f"{len(doubts)} doubt{'s' if len(doubts) > 1 else ''}"
        listed = "\n".join(f"doubt: {doubt}" for doubt in doubts)
        raise ConfigError(f"--strict: {count}\n{listed}\nLeave out --strict to go on all the same")
