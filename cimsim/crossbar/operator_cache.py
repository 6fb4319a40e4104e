"""Operators of solved arrays, kept on disk: the same array is never solved twice.

Files lie under the user's cache folder (``~/.cache/cimsim`` on Linux); the environment variable
``CIMSIM_CACHE`` names another folder, or is ``off``. A file's name is the SHA-256 of all that its
content depends on: conductances, resistances, the solver's source, the numeric libraries. Files
appear whole or not at all and carry a checksum; one that is damaged counts as missing. Beyond
`LIMIT_BYTES` the files that were not used for the longest time go.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from cimsim.files import replacing

log = logging.getLogger(__name__)

LIMIT_BYTES = 4 * 2**30
MIN_CELLS = 64 * 64  # smaller arrays are solved sooner than found
_DIGEST = hashlib.sha256().digest_size
_ABANDONED_S = 3600.0
_writing = threading.Lock()


def cache_folder() -> Path | None:
    """Return where operators are kept; None if ``CIMSIM_CACHE`` is ``off``."""
    chosen = os.environ.get("CIMSIM_CACHE")
    if chosen:
        return None if chosen.lower() == "off" else Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "cimsim"


def cached(
    solve: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    g_s: NDArray[np.float64],
    parameters: Sequence[float],
    code: Sequence[str],
) -> NDArray[np.float64]:
    """Return ``solve(g_s)`` from disk, or solve and keep it.

    Parameters
    ----------
    solve : callable
        float64 [R, C] to float64 [R, C].
    g_s : float64 [R, C]
        Conductances, S.
    parameters : sequence of float
        All else that the result depends on.
    code : sequence of str
        Modules that hold the solver; their source is part of the key.
    """
    folder = cache_folder()
    if folder is None or g_s.size < MIN_CELLS:
        return solve(g_s)
    path = folder / "operators" / f"{_key(g_s, parameters, code)}.bin"
    found = _read(path, g_s.shape)
    if found is None:
        found = solve(g_s)
        _keep(path, found)
    return found


def _key(g_s: NDArray[np.float64], parameters: Sequence[float], code: Sequence[str]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(g_s, "<f8").tobytes())
    digest.update(repr((g_s.shape, [float(x).hex() for x in parameters])).encode())
    digest.update(repr((np.__version__, scipy.__version__)).encode())
    for module in code:
        digest.update(_source(module))
    return digest.hexdigest()


@functools.cache
def _source(module: str) -> bytes:
    """Return the source of a module as it was when first asked for: an edit is a new program."""
    package, _, name = module.rpartition(".")
    return (files(package) / f"{name}.py").read_bytes()


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):  # of a folder that may only be read
        os.utime(path)
    body = data[_DIGEST:]
    if len(body) != 8 * shape[0] * shape[1] or hashlib.sha256(body).digest() != data[:_DIGEST]:
        log.warning("%s is damaged; the array is solved again", path)
        return None
    return np.frombuffer(body, "<f8").astype(np.float64).reshape(shape)


def _keep(path: Path, operator: NDArray[np.float64]) -> None:
    """Write an operator; a disk that takes no more costs the time of the next solve only."""
    body = np.ascontiguousarray(operator, "<f8").tobytes()
    try:
        with _writing:  # scratch names are unique to a process, not to its threads
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as scratch:
                scratch.write_bytes(hashlib.sha256(body).digest() + body)
            _prune(path.parent)
    except OSError as error:
        log.warning("operator not kept: %s", error)


def _prune(folder: Path) -> None:
    entries: list[tuple[float, int, Path]] = []
    for entry in folder.glob("*.bin"):
        try:
            status = entry.stat()
        except FileNotFoundError:
            continue  # another process pruned it
        entries.append((status.st_mtime, status.st_size, entry))
    for scratch in folder.glob(".*.tmp"):  # of writers that were killed
        with contextlib.suppress(FileNotFoundError):
            if time.time() - scratch.stat().st_mtime > _ABANDONED_S:
                scratch.unlink()
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries, key=lambda found: found[0]):
        if total <= LIMIT_BYTES:
            return
        entry.unlink(missing_ok=True)
        total -= size
