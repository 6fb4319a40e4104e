"""Tables and templates of the pages."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from markupsafe import Markup

from cimsim import __version__

_PACKAGE = files("cimsim.report.run.page")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
    value : float or None
        By which its column is sorted; None: by its text.
    kind : str
        ``words`` and ``fold`` are left-aligned, ``fold`` breaks lines.
    """

    text: str
    value: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted and filtered."""

    id: str
    caption: str
    heads: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


def command_line(words: Sequence[str]) -> str:
    """Return a command as one types it."""
    return "cimsim " + shlex.join(words)


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of this folder."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cimsim.report.run.page", ""), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined,
    )  # fmt: skip
    parts = {name: safe((_PACKAGE / file).read_text(encoding="utf-8"))
             for name, file in (("css", "style.css"), ("js", "script.js"))}  # fmt: skip
    return environment.get_template(template).render(version=__version__, **parts, **values)


def safe(text: str) -> Markup:
    """Mark SVG, style and script of our own as what stands in a page as it is."""
    from markupsafe import Markup

    return Markup(text)


def table(id_: str, caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table; heads are aligned as the first row is."""
    held = tuple(tuple(row) for row in rows)
    kinds = [cell.kind and "words" for cell in held[0]] if held else [""] * len(heads)
    return Table(
        id_, caption, tuple(Cell(h, kind=k) for h, k in zip(heads, kinds, strict=True)), held
    )


def words(text: str, kind: str = "words") -> Cell:
    """Return a cell of text."""
    return Cell(text, None, kind)


def count(value: float | None) -> Cell:
    """Return a cell of a whole number, empty for None."""
    return Cell("" if value is None else f"{int(value):,}", None if value is None else float(value))


def real(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
