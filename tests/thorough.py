"""What the quick suite takes a few of and the whole suite (`make test-all`) takes all of."""

import pytest


def some(cases, *quick):
    """Return the cases as parameters; those that are not among the quick ones are slow.

    A quick one is given as the case itself or, for cases that have names, by its name.
    """
    left = list(quick)
    made = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        mine = [one for one in left if one in (case, getattr(case, "stem", None))]
        left = [one for one in left if one not in mine]
        made.append(pytest.param(*values, marks=() if mine else pytest.mark.slow))
    assert not left, f"no such case: {left}"
    return made
