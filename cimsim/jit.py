"""The one numba decorator: compiled code is cached, releases the GIL and never uses fast-math.

A division by zero gives what IEEE 754 says: a test in front of it would make loops leave early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a kernel with the flags that all cimsim kernels share."""
    return njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)  # type: ignore[no-any-return,return-value]


def jit_inline(function: F) -> F:
    """Compile a small helper that is inlined into the kernels that call it."""
    return njit(  # type: ignore[no-any-return,return-value]
        cache=True, nogil=True, fastmath=False, error_model="numpy", inline="always"
    )(function)
