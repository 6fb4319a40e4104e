"""Tables of objects: a small one in a notebook, rows as one of pandas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING

from cimsim.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST = 40  # rows of a table in a notebook


def html_table(
    title: str,
    rows: Iterable[Sequence[object]],
    head: Sequence[str] = (),
    below: Iterable[str] = (),
) -> str:
    """Return a table for a notebook: plain HTML, which takes the notebook's own style.

    Parameters
    ----------
    title : str
    rows : iterable of sequence
        Cells of each row; texts are escaped.
    head : sequence of str, optional
        Names of the columns.
    below : iterable of str
        Sentences below the table: notes and doubts.
    """
    listed = [list(row) for row in rows]
    left = len(listed) - _MOST
    parts = [f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>"]
    if head:
        parts.append(f"<thead><tr>{''.join(_cell(name, 'th') for name in head)}</tr></thead>")
    parts.append("<tbody>")
    parts += [f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in listed[:_MOST]]
    parts.append("</tbody></table>")
    if left > 0:
        parts.append(f"<p>and {left} more: .to_frame() has all</p>")
    parts += [f"<p>{escape(text)}</p>" for text in below]
    return "".join(parts)


def _cell(value: object, tag: str = "td") -> str:
    is_text = isinstance(value, str) and not value[:1].isdigit()
    side = "left" if is_text else "right"
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"<{tag} style='text-align:{side}'>{escape(shown)}</{tag}>"


def data_frame(rows: Sequence[Mapping[str, object]], who: str) -> DataFrame:
    """Return rows as a ``pandas.DataFrame``.

    Parameters
    ----------
    rows : sequence of mapping
        Column -> value.
    who : str
        What messages name: ``Result.to_frame``.

    Raises
    ------
    InputError
        Pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise InputError(f"{who}: needs pandas (pip install pandas)") from None
    return pandas.DataFrame([dict(row) for row in rows])


class Rows(ABC):
    """An object that has plain rows, and so a table of pandas."""

    @abstractmethod
    def rows(self) -> Sequence[Mapping[str, object]]:
        """Return the rows: column -> value."""

    def to_frame(self) -> DataFrame:
        """Return `rows` as a ``pandas.DataFrame``.

        Raises
        ------
        InputError
            Pandas is not installed.
        """
        return data_frame(self.rows(), f"{type(self).__name__}.to_frame")
