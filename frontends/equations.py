"""Equations of `torch.einsum` as labels of axes."""

from __future__ import annotations

from collections.abc import Sequence

Labels = tuple[int, ...]


def labels_of(equation: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels] | None:
    """Read an equation; None where it says something that no label can.

    Parameters
    ----------
    equation : str
        ``"bhid,bhjd->bhij"``; an ellipsis and a missing right side are understood as torch does.
    ranks : sequence of int
        Axes of each operand.

    Returns
    -------
    list of tuple of int
        Labels of the axes of each operand.
    tuple of int
        Those of the result.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        return None
    rest = [rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True)]
    longest = max((n for t, n in zip(terms, rest, strict=True) if "..." in t), default=0)

    def of(term: str, n: int) -> Labels:
        head, dots, tail = term.partition("...")
        # axes behind an ellipsis are aligned from the right
        some = tuple(range(1000 + longest - n, 1000 + longest)) if dots else ()
        return (*map(ord, head), *some, *map(ord, tail))

    inputs = [of(term, n) for term, n in zip(terms, rest, strict=True)]
    if arrow:
        return inputs, of(right, longest)
    once = sorted(c for c in set(left) - set(",.") if left.count(c) == 1)
    return inputs, (*range(1000, 1000 + longest), *map(ord, once))
