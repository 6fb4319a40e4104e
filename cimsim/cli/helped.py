"""Texts of help pages, folded for the width of a terminal."""

from __future__ import annotations

import inspect
import re

_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""  # what stands in quotes is one word
_PART = re.compile(rf"--?[\w-]+\s+(?![-&|>]){_WORD}|{_WORD}")  # or an option with its value
_JOINED = re.compile(r" *\\\n\s*")
_INDENT = "    "


def folded_help(text: str, width: int) -> str:
    r"""Return a docstring whose prose flows and whose examples can be copied from the screen.

    Parameters
    ----------
    text : str
        Paragraphs; one that begins with a line of ``\b`` holds commands, one in each line.
    width : int
        Columns; a command that is longer goes on in the next line behind a backslash.

    >>> print(folded_help("One\ntwo.\n\n\b\ncimsim run --quiet --size 64x64", 24))
    One two.
    <BLANKLINE>
    cimsim run --quiet \
        --size 64x64
    """
    found = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b\n"):
            commands = _JOINED.sub(" ", part.removeprefix("\b\n")).splitlines()
            found.append("\n".join(folded_command(one, width) for one in commands))
        else:
            found.append(part.replace("\n", " "))
    return "\n\n".join(found)


def folded_command(command: str, width: int) -> str:
    """Return a command in lines of at most ``width`` columns that a shell reads as one.

    An option stays beside its value; what is longer than a line stands alone, as long as it is.
    """
    lines, line = [], ""
    for part in _PART.findall(command):
        if line.strip() and len(line) + 1 + len(part) + 2 > width:
            lines.append(f"{line} \\")
            line = _INDENT + part
        else:
            line = f"{line} {part}" if line else part
    return "\n".join([*lines, line])
