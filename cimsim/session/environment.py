"""What a result was computed with: versions, and which of the kernels' paths the processor took."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from cimsim import __version__

_PACKAGES = ("torch", "numpy", "numba", "scipy")


@cache
def environment(device: str | None = None) -> dict[str, str]:
    """Return names and versions, for results.

    Parameters
    ----------
    device : str, optional
        Of torch, where it reads the arrays.

    Returns
    -------
    dict of str to str
        ``cimsim``, ``python``, packages, ``processor`` and ``arithmetic``: ``vnni``, ``avxvnni``,
        ``avx2`` or ``neon`` where products of 8-bit integers run on instructions for them, else
        ``generic``.
        All give the same bits.
    """
    from cimsim.kernels.products import ARITHMETIC

    found = {"cimsim": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # vendored, or run from a checkout of it
            found[name] = "unknown"
    return found | {
        "processor": platform.machine(),
        "arithmetic": f"torch on {device}" if device else ARITHMETIC,
    }  # fmt: skip
