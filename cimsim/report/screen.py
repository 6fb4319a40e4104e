"""What all screens share: tables that fit a narrow terminal, names in lines, doubts, coverage."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from cimsim.display.doubts import Doubt
from cimsim.display.styled import styled
from cimsim.graph.coverage import Coverage

_PART = re.compile(r"[^.*+/_]*[.*+/_]?")


def compact(title: str | None = None, style: str | None = "bold cyan") -> Table:
    """Return an empty table: a rule below the heads, a space between the columns, no frame.

    A title stands at its left, in a style of rich.
    """
    return Table(
        title=title, title_justify="left", title_style=style, box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
    )  # fmt: skip


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


def print_coverage(coverage: Coverage | None, console: Console) -> None:
    """Say which share of the network has time and energy, and what has none."""
    for line in coverage.lines() if coverage is not None else ():
        console.print(line, highlight=False, markup=False)


def print_doubts(doubts: Sequence[Doubt], console: Console) -> None:
    """Print each doubt in a line, with its way out."""
    for doubt in doubts:
        console.print(styled("[yellow]doubt:[/] {}", doubt))
