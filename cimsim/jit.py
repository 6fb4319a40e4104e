"""The one numba decorator: compiled code is cached, releases the GIL and never uses fast-math.

A division by zero gives what IEEE 754 says: a test in front of it would make loops leave early.
Compiled code is cached for the state of a whole room: a kernel has those that it calls inside, in
whichever file they stand, and numba itself looks at the kernel's own file only. Who waits for a
kernel to be compiled is told so, once, on a terminal.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from numba.core.caching import IndexDataCacheFile

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
FORCED = os.environ.get("CIMSIM_ARITHMETIC", "")  # see `cimsim.kernels.products.arithmetic`
FLAGS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": False, "error_model": "numpy"}


class _Told(event.Listener):  # type: ignore[misc]
    """Says at the first kernel that is not in the cache what the wait is for."""

    said = False

    def on_start(self, happened: event.Event) -> None:
        """Tell once."""
        if self.said or not happened.data["dispatcher"].py_func.__module__.startswith("cimsim."):
            return
        self.said = True
        text = "compiling for this machine, once: this takes up to a minute"
        log.info(text)
        if sys.stderr.isatty():
            sys.stderr.write(f"{text}\n")

    def on_end(self, _: event.Event) -> None:
        """Nothing."""


event.register("numba:compile", _Told())  # type: ignore[no-untyped-call]


@functools.cache
def _stamp(rooms: tuple[Path, ...]) -> tuple[float, int]:
    """Latest change and size of all modules of some rooms."""
    found = [path.stat() for room in rooms for path in sorted(room.rglob("*.py"))]
    return max(one.st_mtime for one in found), sum(one.st_size for one in found)


def _of_room(compiled: Any) -> Any:
    """Let the cache of a kernel hold for its room, and for that of the kernels, as they are now.

    Code for instructions that are not those of the processor lies in files of its own.
    """
    if not hasattr(compiled, "_cache"):  # numba was told not to compile
        return compiled
    here = Path(__file__).parent
    path = Path(compiled.py_func.__code__.co_filename)
    inside = path.is_relative_to(here)
    room = here / path.relative_to(here).parts[0] if inside else path.parent
    cache, stamp = compiled._cache, _stamp(tuple(sorted({here / "kernels", room})))
    name = "-".join(filter(None, (cache._impl.filename_base, FORCED)))
    file = IndexDataCacheFile(cache.cache_path, name, stamp)  # type: ignore[no-untyped-call]
    # numba reads the version first, and the rest of an index, which may name classes that are gone,
    # only if that is its own
    file._version = f"{file._version} {stamp}"
    cache._cache_file = file
    return compiled


def jit(function: F) -> F:
    """Compile a kernel with the flags that all cimsim kernels share."""
    return cast(F, _of_room(njit(**FLAGS)(function)))


def jit_held(function: F) -> F:
    """Compile a kernel that is so short that other threads need not be let in meanwhile."""
    return cast(F, _of_room(njit(**(FLAGS | {"nogil": False}))(function)))


def jit_inline(function: F) -> F:
    """Compile a small helper that is inlined into the kernels that call it."""
    return cast(F, _of_room(njit(**FLAGS, inline="always")(function)))


def inlined(kernel: F) -> F:
    """Return a kernel as `jit_inline` makes it, for the one kernel that calls it most.

    Code of a kernel is optimised once by itself and once more inside of each that calls it.
    """
    return jit_inline(getattr(kernel, "py_func", kernel))
