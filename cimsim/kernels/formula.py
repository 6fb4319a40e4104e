"""What a converter makes of a sum of a column: the one formula, whatever computes it.

::

    level = (sum * gain - lo) / step + offset + sigma * normal,   sigma**2 = read * share + own
    value = (lo + step * clip(rint(level), 0, top)) * weight

Compiled loops inline these functions (`cimsim.kernels.conversion`); arrays and torch's tensors go
through them as they stand. Who calls says with which operations: ``mad`` multiplies and adds,
rounded once (`cimsim.kernels.fma`) or twice (`twice`), ``over`` divides and adds (`quotient`, or
``mad`` where the reciprocal of the step is given), ``root`` is the square root. Which of them are
taken decides the last bit of a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

Number = TypeVar("Number")  # a float, an array of them or a tensor
Operation: TypeAlias = Callable[..., Number]
Pair: TypeAlias = tuple[Number | float, Number | float]


def level(
    total: Number, column: Pair[Number], ends: Pair[Number],
    mad: Operation[Number], over: Operation[Number],
) -> Number:  # fmt: skip
    """Return where a sum lies between the codes, without noise.

    Parameters
    ----------
    total
        Sum of a column.
    column : (gain, offset)
        Of its converter, the offset in steps.
    ends : (lo, step)
        What code 0 stands for, negative; sum per step, or its reciprocal where ``over`` multiplies.
    mad, over
    """
    gain, offset = column
    less_lo, step = ends
    return over(mad(total, gain, less_lo), step, offset)


def sigma(
    read: Number, share: Number, own: Number, mad: Operation[Number], root: Operation[Number]
) -> Number:
    """Return the deviation of a level: of the cells' variance in steps, and the converter's own."""
    return root(mad(read, share, own))


def value(
    code: Number, ends: Pair[Number], weight: Number | float, mad: Operation[Number]
) -> Number:
    """Return what a code counts in the output; ``ends`` are what code 0 stands for and a step."""
    lo, step = ends
    return mad(step, code, lo) * weight  # type: ignore[operator, return-value, no-any-return]


def twice(a: Number, b: Number, c: Number) -> Number:
    """Multiply and add, each rounded."""
    return a * b + c  # type: ignore[operator, no-any-return]


def quotient(a: Number, b: Number, c: Number) -> Number:
    """Divide and add, each rounded."""
    return a / b + c  # type: ignore[operator, no-any-return]
