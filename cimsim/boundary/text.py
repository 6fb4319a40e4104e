"""Text files: found, of bearable size, UTF-8 with or without a byte-order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from cimsim.boundary.limits import MEGABYTE, Limits

_NO_TEXT = {
    b"PK\x03\x04": "a workbook (.xlsx, .ods) or another archive; export it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "a workbook (.xls); export it as CSV (UTF-8)",
    b"\x1f\x8b": "compressed; unpack it first",
    b"%PDF": "a PDF; save its text as UTF-8",
}
_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def is_file(path: str | Path) -> bool:
    """Whether a name is that of a regular file; names that no system has are not."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def exists(path: str | Path) -> bool:
    """Whether there is anything of that name."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def read_text(path: Path, limits: Limits) -> str:
    """Read a text file as spreadsheets and editors write them.

    Parameters
    ----------
    path : Path
    limits : Limits

    Raises
    ------
    OSError
        As the system says it; also for what is no regular file.
    ValueError
        Too large, or no text.
    """
    if not is_file(path):
        if exists(path):
            raise IsADirectoryError(f"'{path}' is no regular file")
        raise FileNotFoundError(f"no such file: '{path}'")
    with path.open("rb") as file:
        content = file.read(limits.n_bytes + 1)
    if len(content) > limits.n_bytes:
        raise ValueError(f"more than {limits.n_bytes / MEGABYTE:g} MiB")
    for begin, what in _NO_TEXT.items():
        if content.startswith(begin):
            raise ValueError(f"no text but {what}")
    wide = _WIDE.get(content[:2])
    if not wide and content[:200].count(0) > len(content[:200]) // 4:
        raise ValueError("UTF-16 without a byte-order mark; save it as UTF-8")
    try:
        return content.decode(wide or "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 text (byte {error.start}); save it as UTF-8") from None
