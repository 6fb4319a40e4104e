"""Names of layers where room is short: broken between their parts, never inside of one."""

from __future__ import annotations

import re

_PART = re.compile(r"[^.*+/_]*[.*+/_]?")


def folded(name: str, width: int) -> str:
    """Return a name in lines of at most ``width``, broken behind ``.``, ``*``, ``+``, ``/``, ``_``.

    A part that is longer than a line stands alone, as long as it is.

    >>> print(folded("downc0.convblock.3*downc0.1", 17))
    downc0.convblock.
    3*downc0.1
    """
    lines, line = [], ""
    for part in _PART.findall(name):
        if line and len(line) + len(part) > width:
            lines.append(line)
            line = ""
        line += part
    return "\n".join([*lines, line])
