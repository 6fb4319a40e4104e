"""Which processes work on a folder, so that they can be stopped: ``kill $(cat OUT/queue.pid)``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from cimsim.files import replacing

PIDS = "queue.pid"


@contextmanager
def listed(folder: Path) -> Iterator[None]:
    """Keep this process's number in ``queue.pid``, one in a line, while the block runs.

    Numbers of processes that are gone are dropped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = os.getpid()
    _rewrite(folder, lambda pids: [*filter(_is_alive, pids), mine])
    try:
        yield
    finally:
        _rewrite(folder, lambda pids: [pid for pid in pids if pid != mine])


def read_pids(folder: Path) -> list[int]:
    """Return the numbers in a folder's list."""
    path = folder / PIDS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [int(line) for line in text.split() if line.isdigit()]


def _rewrite(folder: Path, change: Callable[[list[int]], list[int]]) -> None:
    with FileLock(folder / f".{PIDS}.lock"):
        pids = change(read_pids(folder))
        if not pids:
            (folder / PIDS).unlink(missing_ok=True)
            return
        with replacing(folder / PIDS) as scratch:
            scratch.write_text("".join(f"{pid}\n" for pid in pids), encoding="utf-8")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
