"""Steps of compiled code that threads do one after the other while further ones are added."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeAlias

import numpy as np

from cimsim.kernels import frame
from cimsim.kernels.threads import tell

ROOM = 64  # steps
Count: TypeAlias = Callable[[frame.Counted], None]


class StepQueue:
    """Steps that begin as soon as they are added.

    Parameters
    ----------
    like : frame.Like
        Of all steps: see `takes`.
    pool : Executor or None
        Where other threads come from; without one the calling thread does all at the end.
    threads : int
        How many work on a step, the calling one included.
    room : int
        For so many steps.
    """

    def __init__(
        self, like: frame.Like, pool: Executor | None, threads: int, room: int = ROOM
    ) -> None:
        self._steps = frame.Steps.room(room, like)
        self._pool, self._threads = pool, threads
        self._added: list[tuple[frame.Step, Count]] = []
        self._others: list[Future[None]] = []

    def takes(self, step: frame.Step) -> bool:
        """Whether there is room, and the compiled code of the others is that of the step, too."""
        room = len(self._added) < len(self._steps.records)
        return room and _kind(step.like) == _kind(self._steps.like)

    def add(self, step: frame.Step, count: Count) -> None:
        """Have a step done after those before it.

        Parameters
        ----------
        step : frame.Step
            What it names is kept.
        count : callable
            Takes what was counted, at the end.
        """
        number = len(self._added)
        self._steps.records[number] = step.fields
        self._steps.numbers[number] = step.numbers
        self._added.append((step, count))
        tell(self._steps.shared, frame.READY)
        if self._pool is not None:
            for me in range(len(self._others) + 1, min(self._threads, len(step.blocks))):
                self._others.append(self._pool.submit(_work_on, self._steps, me, 0, ROOM, False))

    def end(self) -> None:
        """Do with the others what is left.

        What the steps before the last one have counted is looked at while the others do that.
        Threads that have come late, or have just done their last block, are not waited for: they
        find that there is nothing left, and waking up takes as long as a small layer.
        """
        tell(self._steps.shared, frame.ENDED)
        last = len(self._added) - 1
        try:
            for first, end in ((0, last), (last, last + 1)) if last > 0 else ((0, 1),):
                _work_on(self._steps, 0, first, end, True)
                if self._steps.shared[frame.FAILED]:
                    break
                for step, count in self._added[first:end]:
                    count(step.counted())
        except BaseException:
            self.stop()
            raise
        if self._steps.shared[frame.FAILED]:
            self.stop()
            for other in self._others:
                if not other.cancelled():
                    other.result()

    def stop(self) -> None:
        """Begin no further block, and come back when nobody works on one: memory may go then."""
        tell(self._steps.shared, frame.FAILED)
        for other in self._others:
            if not other.cancel():
                other.exception()


def _kind(like: frame.Like) -> tuple[np.dtype[np.unsignedinteger], bool]:
    """Return in what steps may differ: code is compiled for each kind."""
    return like.codes.dtype, like.common is None


def _work_on(steps: frame.Steps, me: int, first: int, end: int, stays: bool) -> None:
    """Do what `frame.work_on` does; when that fails nobody begins another block."""
    try:
        frame.work_on(steps, me, first, end, stays)
    except BaseException:
        tell(steps.shared, frame.FAILED)
        raise
