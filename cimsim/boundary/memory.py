"""Memory that is known before it is taken: too much of it is a message, not a dying process."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

from cimsim.errors import CimsimError, ConfigError

VARIABLE = "CIMSIM_MEMORY"
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def limit() -> int:
    """Return how many bytes a run may take: ``CIMSIM_MEMORY`` (``16 GiB``), or the machine's.

    Raises
    ------
    ConfigError
        When the variable is no size.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return _machine()
    number = given.strip().rstrip("BKMGTi")
    unit = given.strip()[len(number) :]
    try:
        size = float(number) * _UNITS[unit]
        if not 0 < size < 2**63:
            raise ValueError
    except (KeyError, ValueError):
        raise ConfigError(f"{VARIABLE}: expected a size such as 16GiB, got '{given}'") from None
    return int(size)


def check(n_bytes: float, what: str, way: str, fail: type[CimsimError] = ConfigError) -> None:
    """Refuse something that would take more memory than there is.

    Parameters
    ----------
    n_bytes : float
        What it will take at least.
    what, way : str
        For the message: what takes it, and what to do.
    fail : type
        Kind of the error.

    Raises
    ------
    CimsimError
        Naming the size, the limit and the way out.
    """
    most = limit()
    if not n_bytes <= most:
        raise fail(
            f"{what}: needs about {_told(n_bytes)} of memory, {_told(most)} are allowed; {way} "
            f"({VARIABLE} sets the limit)"
        )


@cache
def _machine() -> int:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in _CGROUPS:
        try:
            text = Path(place).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            whole = min(whole, int(text))
    return whole


def _told(n_bytes: float) -> str:
    for name in ("TiB", "GiB", "MiB"):
        if n_bytes >= _UNITS[name]:
            return f"{n_bytes / _UNITS[name]:,.3g} {name}"
    return f"{n_bytes:g} B"


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    An export of torch makes and frees a great many small objects; what stays free between those
    that live on is kept by the library and adds up from export to export.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # no such thing on this system
        return None
