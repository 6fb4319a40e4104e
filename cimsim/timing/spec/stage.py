"""The stages of a pipeline, and what services of an activation there are."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """Stages of a matrix pipeline, in order; others have LOAD, POST and STORE only."""

    LOAD = 0
    DRIVE = 1
    CONVERT = 2
    REDUCE = 3
    POST = 4
    STORE = 5


class Served(IntEnum):
    """Services of one activation: of each stage one, of LOAD two.

    LOAD is that of the first activation of a replica in a map row, LOAD_NEXT that of a later one.
    """

    LOAD = 0
    DRIVE = 1
    CONVERT = 2
    REDUCE = 3
    POST = 4
    STORE = 5
    LOAD_NEXT = 6

    @property
    def stage(self) -> Stage:
        """The stage in which it is served."""
        return Stage.LOAD if self is Served.LOAD_NEXT else Stage(self)


STAGES = tuple(stage.name for stage in Stage)
