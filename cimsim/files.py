"""Files that are written whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# names of two machines that share a folder must differ
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def collect(path: Path) -> None:
    """Remove what processes of this machine left that died while they wrote ``path``."""
    with suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}-*.tmp"):
            pid = left.name.rpartition("-")[2].removesuffix(".tmp")
            if pid.isdecimal() and not _lives(int(pid)):
                _remove(left)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write to; it takes the place of ``path`` when the block is done.

    A kill or an error inside the block leaves what was there before, and under the other name what
    the next call collects. It may become a file, or a folder where none or an empty one stands.
    """
    collect(path)
    scratch = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.tmp")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        _remove(scratch)


def _remove(scratch: Path) -> None:
    if scratch.is_dir() and not scratch.is_symlink():
        shutil.rmtree(scratch, ignore_errors=True)
    else:
        scratch.unlink(missing_ok=True)
