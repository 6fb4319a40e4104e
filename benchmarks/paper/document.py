"""Rewrite the generated parts of docs/paper.md: tables and figures between marker comments."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.errors import InputError
from cimsim.files import replacing

if TYPE_CHECKING:
    from benchmarks.paper.style import Drawn

PATH = Path(__file__).resolve().parents[2] / "docs" / "paper.md"


def rewrite(path: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Parameters
    ----------
    path : Path
        The document.
    parts : mapping of str to str
        Name of a marker pair to Markdown.

    Raises
    ------
    InputError
        When a pair of markers is missing; nothing is written then.
    """
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        block = f"{begin}{part.rstrip()}\n{end}".replace("\\", r"\\")
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        text, count = re.subn(pattern, block, text, flags=re.DOTALL)
        if count != 1:
            raise InputError(
                f"{path}: expected one pair of markers <!-- begin {name} --> and "
                f"<!-- end {name} -->, found {count}"
            )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def figure_parts(drawn: Sequence[Drawn], source: Path, path: Path = PATH) -> dict[str, str]:
    """Copy the figures' PNGs beside the document and return their Markdown by marker name."""
    folder = path.parent / path.stem
    folder.mkdir(exist_ok=True)
    parts = {}
    for one in drawn:
        shutil.copyfile(source / f"{one.name}.png", folder / f"{one.name}.png")
        parts[one.name] = f"![{one.name}]({path.stem}/{one.name}.png)\n\n{one.caption}"
    return parts
