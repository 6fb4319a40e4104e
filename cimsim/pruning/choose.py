"""Which sets of channels to remove: the least loss for what the chip really saves.

An array is used or not, so most single channels save nothing. Of every group the smallest cut that
saves at least an array is looked at, the mapping counted anew; the one with the least loss per
array saved is made, until the budget is kept. Cuts that together saved less than they could, or
that a later cut made needless, are then taken back: in the end no set can be restored within the
budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import ConfigError
from cimsim.pruning.budget import Budget, Kept
from cimsim.pruning.groups import Channels, Group

Progress = Callable[[float, float], None]  # reached so far, wanted


@dataclass(frozen=True, slots=True)
class _Cut:
    group: Group
    sets: tuple[int, ...]
    loss: float
    saved: float


def _ratio(cut: _Cut) -> float:
    return cut.loss / cut.saved


def choose(
    channels: Channels, losses: NDArray[np.float64], budget: Budget,
    progress: Progress | None = None,
) -> Kept:  # fmt: skip
    """Return the sets to keep, bool [n_sets].

    Parameters
    ----------
    channels : Channels
    losses : float64 [n_sets]
        From `cimsim.pruning.saliency.saliency`.
    budget : Budget
    progress : callable, optional

    Raises
    ------
    ConfigError
        When one set of each group still takes more than the budget; the message has the least.
    """
    chooser = _Chooser(channels, losses, budget)
    least = chooser.least()
    if least > budget.limit:
        raise ConfigError(
            f"pruning: {budget.shown(budget.limit)} cannot be reached: with a single channel left "
            f"in every layer the network takes {budget.shown(least)} under this mapping; give at "
            "least as much, another --mapping, or a smaller network"
        )
    while chooser.now > budget.limit:
        chooser.cut()
        if progress is not None:
            progress(chooser.now, budget.limit)
    chooser.restore()
    return chooser.kept


class _Chooser:
    def __init__(self, channels: Channels, losses: NDArray[np.float64], budget: Budget) -> None:
        self.channels, self.losses, self.budget = channels, losses, budget
        self.kept: Kept = np.ones(len(channels.sets), bool)
        # the least needed first; equal ones in the order of the network
        self.order = {
            group.name: sorted(group.sets, key=lambda each: (losses[each], each))
            for group in channels.groups
        }
        self._groups = {group.name: group for group in channels.groups}
        self._worth = dict.fromkeys(self._groups, -math.inf)  # loss per saving when last looked at
        self.now = self._of(self.kept)

    def _of(self, kept: Kept) -> float:
        return self.budget.of(self.channels, kept)

    def _without(self, sets: tuple[int, ...] | list[int]) -> Kept:
        kept = self.kept.copy()
        kept[list(sets)] = False
        return kept

    def least(self) -> float:
        """Return what one set of each group takes."""
        return self._of(self._without([u for o in self.order.values() for u in o[:-1]]))

    def cut(self) -> None:
        """Make the cut with the least loss for what it saves."""
        best = self._quickly() if self.budget.step(1) else self._exactly()
        if best is None:  # no group saves anything by itself: two have to give way
            singles = [
                _Cut(group, (left[0],), float(self.losses[left[0]]), 0.0)
                for group in self.channels.groups
                if len(left := self._left(group)) > 1
            ]
            best = min(singles, key=lambda cut: cut.loss)
        self.kept = self._without(best.sets)
        self.now = self._of(self.kept)

    def _exactly(self) -> _Cut | None:
        """Look at every group; None when no cut saves anything."""
        cuts = [cut for group in self.channels.groups if (cut := self._smallest(group))]
        if not cuts:
            return None
        best = min(cuts, key=_ratio)
        # one that reaches the budget at no more loss wins over one that saves more than is wanted
        last = [cut for cut in cuts if self.now - cut.saved <= self.budget.limit]
        return min(
            [best, *(cut for cut in last if cut.loss <= best.loss)], key=lambda cut: cut.loss
        )

    def _quickly(self) -> _Cut | None:
        """Look again only at groups that might be the best, by what they were worth before."""
        while min(self._worth.values()) < math.inf:
            name = min(self._worth, key=self._worth.__getitem__)
            cut = self._smallest(self._groups[name])
            self._worth[name] = math.inf if cut is None else _ratio(cut)
            if cut is not None and self._worth[name] <= min(self._worth.values()):
                return cut
        return None

    def _left(self, group: Group) -> list[int]:
        return [each for each in self.order[group.name] if self.kept[each]]

    def _smallest(self, group: Group) -> _Cut | None:
        """Return the smallest cut of a group that saves something; its last set stays."""
        left = self._left(group)[:-1]
        if not left:
            return None
        step = self.budget.step(len(group.sets))
        number = min(step, len(left)) if step else self._first_saving(left)
        saved = self.now - self._of(self._without(left[:number]))
        if saved <= 0:
            return None
        sets = tuple(left[:number])
        return _Cut(group, sets, float(self.losses[list(sets)].sum()), saved)

    def _first_saving(self, left: list[int]) -> int:
        """Return the least number of sets whose removal saves something, by halving."""
        low, high = 1, len(left)
        while low < high:
            middle = (low + high) // 2
            if self._of(self._without(left[:middle])) < self.now:
                high = middle
            else:
                low = middle + 1
        return low

    def restore(self) -> None:
        """Take back what saves nothing, the most needed sets first."""
        gone = sorted(np.flatnonzero(~self.kept).tolist(), key=lambda each: -self.losses[each])
        # a group has room for so many sets, whichever they are
        full: set[str] = set()
        owner = {each: group.name for group in self.channels.groups for each in group.sets}
        for each in gone:
            if owner[each] in full:
                continue
            kept = self.kept.copy()
            kept[each] = True
            if self._of(kept) <= self.budget.limit:
                self.kept = kept
            else:
                full.add(owner[each])
        self.now = self._of(self.kept)
