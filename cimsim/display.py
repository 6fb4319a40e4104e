"""How objects show themselves: one line in a terminal, a small table in a notebook.

Tables of data and pictures are made on top of that, by `cimsim.report.show`, which objects of lower
rooms find by name, as they find code of the user's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Any, Protocol

from cimsim.errors import InputError

_MOST = 40  # rows of a table in a notebook


def html_table(
    title: str, rows: Iterable[Sequence[Any]], head: Sequence[str] = (), below: Iterable[str] = ()
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


def _cell(value: Any, tag: str = "td") -> str:
    is_text = isinstance(value, str) and not value[:1].isdigit()
    side = "left" if is_text else "right"
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"<{tag} style='text-align:{side}'>{escape(shown)}</{tag}>"


def frame(rows: Sequence[Mapping[str, Any]], who: str) -> Any:
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
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows: column -> value."""

    def to_frame(self) -> Any:
        """Return `rows` as a ``pandas.DataFrame``.

        Raises
        ------
        InputError
            Pandas is not installed.
        """
        return frame(self.rows(), f"{type(self).__name__}.to_frame")


class MappingPictures(Protocol):
    """Pictures of a mapping; each method returns axes of matplotlib."""

    def floorplan(self, load: int = 0) -> Any:
        """Draw every used array with the layers on it; of several loads, one."""

    def timeline(self) -> Any:
        """Draw what every layer does over time, two frames: three panels."""


class TimelinePictures(Protocol):
    """Pictures of a timeline; each method returns axes of matplotlib."""

    def stages(self) -> Any:
        """Draw the busiest stage of each unit: shares of cycles in service, waiting, blocked."""


class ResultPictures(Protocol):
    """Pictures of a result; each method returns axes of matplotlib."""

    def energy(self) -> Any:
        """Draw the energy of a frame by component, and of each layer: two panels."""

    def time(self) -> Any:
        """Draw the cycles of each layer by stage."""

    def sensitivity(self) -> Any:
        """Draw which numbers of the chip the energy of a frame depends on most."""

    def psnr(self) -> Any:
        """Draw the PSNR of each frame: noisy, float32, on the chip."""

    def before_after(self) -> Any:
        """Draw the middle frame: clean, noisy, float32 and on the chip."""


class StudyPictures(Protocol):
    """Pictures of a study's outcome; each method returns axes of matplotlib."""

    def over(self, x: str, y: str) -> Any:
        """Draw a number over a setting, as in ``over("adc.bits", "psnr")``; bands are 5 .. 95 %."""

    def pareto(self, y: str, x: str) -> Any:
        """Draw two objectives and the front that no point beats: ``pareto("psnr", "energy")``."""


def above(name: str) -> Any:
    """Return what a room above has under a name, ``cimsim.report.run.folder:write``.

    Only methods that an object has for convenience, to draw or to write itself, reach up this way;
    `tests/architecture/test_imports.py` has the list.
    """
    room, _, attribute = name.partition(":")
    return getattr(import_module(room), attribute)
