"""Terminals on which only the program's own words have styles, never what a user wrote.

A chip may be called ``[bold]x[/nothing]``, a folder ``in[/b]``, an override
``leaves_out=[conversion]``: rich takes brackets for its own markup. A `Screen` prints every text as
it stands; what has a style is made by `styled`, whose template is the program's.
"""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Console
from rich.text import Text

_HERE = "{}"


class Screen(Console):
    """A terminal that takes no text for markup and none for a picture (``:smile:``)."""

    def __init__(
        self, *, stderr: bool = False, highlight: bool = True, soft_wrap: bool = False
    ) -> None:
        super().__init__(
            markup=False, emoji=False, stderr=stderr, highlight=highlight, soft_wrap=soft_wrap
        )


def styled(template: str, *texts: object) -> Text:
    """Return a template in rich's markup in which each ``{}`` stands for a text, as it is.

    Parameters
    ----------
    template : str
        The program's own words: ``"[bold]{}[/] on [bold]{}[/]"``.
    *texts : object
        What a user may have written; one for each ``{}``.

    Examples
    --------
    >>> print(styled("[bold]{}[/]: {} arrays", "chip [a] of [/b]", 12))
    chip [a] of [/b]: 12 arrays
    """
    marked = Text.from_markup(template, emoji=False)
    parts = marked.plain.split(_HERE)
    if len(parts) != len(texts) + 1:
        raise ValueError(f"{template!r}: {len(parts) - 1} places for {len(texts)} texts")
    shown = Text(end=marked.end)
    start = 0
    for part, text in zip_longest(parts, map(str, texts)):
        shown.append_text(marked[start : start + len(part)])
        start += len(part)
        if text is not None:
            place = marked[start : start + len(_HERE)]
            # the place's own spans, stretched to the text
            begin = len(shown)
            shown.append(text)
            for span in place.spans:
                shown.stylize(span.style, begin, len(shown))
            start += len(_HERE)
    return shown
