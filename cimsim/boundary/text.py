"""Text files: found, of bearable size, UTF-8 with or without a byte-order mark."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

from cimsim.boundary.limits import MEGABYTE, Limits

_NO_TEXT = {
    b"PK\x03\x04": "a workbook (.xlsx, .ods) or another archive; export it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "a workbook (.xls); export it as CSV (UTF-8)",
    b"\x1f\x8b": "compressed; unpack it first",
    b"%PDF": "a PDF; save its text as UTF-8",
}
NO_SUCH_FILE = "no such file"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def is_file(path: str | Path) -> bool:
    """Whether a name is that of a regular file; names that no system has are not."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def told_missing(path: str | Path) -> str:
    """Say why a name is none of a regular file: ``no such file``, ``is a folder, no file``."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            found = Path(path).stat()
    except FileNotFoundError:
        return "is a link to nothing" if Path(path).is_symlink() else NO_SUCH_FILE
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return NO_SUCH_FILE
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return NO_SUCH_FILE
    return f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, no file"


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
        why = told_missing(path)
        if why == NO_SUCH_FILE:
            raise FileNotFoundError(f"{why}: '{path}'")
        raise OSError(f"'{path}' {why}")
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
