"""Text files: found, of bearable size, UTF-8 with or without a byte-order mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from cimsim.boundary.limits import MEGABYTE, Limits

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
    wide = _WIDE.get(content[:2])
    try:
        return content.decode(wide or "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 text (byte {error.start}); save it as UTF-8") from None
