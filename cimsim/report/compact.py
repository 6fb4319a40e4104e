"""Tables that fit a narrow terminal: no frame, a rule below the heads, a space between columns."""

from __future__ import annotations

from rich import box
from rich.table import Table


def compact(title: str | None = None, style: str | None = "bold cyan") -> Table:
    """Return an empty table without a frame; a title stands at its left, in a style of rich."""
    return Table(
        title=title, title_justify="left", title_style=style, box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0), pad_edge=False, show_edge=False,
    )  # fmt: skip
