"""What one more point of a study costs: ``python -m benchmarks.studies.one_more``.

CPU seconds for a point that differs in one thing from those before it, in a process that has these
in memory and a store on disk: all work of the point, without process start. Every change is tried
several times, each with a value of its own, and the median is shown beside the range. A try counts
only if the stages that it has to work out were worked out then: a value that the chip's file has
already, or one that an earlier try left in the store, stops the measurement.

``--forget``: each try begins with nothing in memory, as a new process does; only the store helps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cimsim.studies.keys import values_of
from cimsim.studies.points import Point


@dataclass(frozen=True)
class Change:
    """What a point has that those before it had not.

    Attributes
    ----------
    name : str
    values : tuple
        Of the tries, one after another; a study's field, or a chip's value.
    field : str
        Of a study, or ``set PATH``.
    made : tuple of str
        Stages that the point has to work out, whatever lies in the store.
    """

    name: str
    field: str
    values: tuple[Any, ...]
    made: tuple[str, ...]

    def tries(self, given: dict[str, Any]) -> Iterator[Point]:
        """Yield one point per value; a value that the chip has without the change is none."""
        from cimsim.studies.study import Study

        plain = Study(**given).plan.points()[-1]
        for value in self.values:
            kind, _, path = self.field.partition(" ")
            changed = {kind: {path: str(value)} if path else value}
            point = Study(**(given | changed)).plan.points()[-1]
            if not path or values_of(point.chip) != values_of(plain.chip):
                yield point


_ON_FRAMES = ("execute", "measure", "energise")
NOTHING = Change("nothing", "seeds", (1,) * 9, ())
CHANGES = (
    Change("an energy", "set adc.energy", tuple(f"{1 + i / 10:g} pJ" for i in range(9)),
           ("energise",)),
    Change("the clock", "set process.clock", tuple(f"{60 + i} MHz" for i in range(9)),
           ("time", "energise")),
    Change("adc.bits", "set adc.bits", (6, 7, 8, 9, 10, 5, 4, 11, 12),
           ("calibrate", *_ON_FRAMES)),
    Change("the chip", "seeds", tuple(range(2, 11)), ("program", "calibrate", *_ON_FRAMES)),
    Change("the clip", "start", tuple(range(1, 10)), ("reference", *_ON_FRAMES)),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--tries", type=int, default=3, choices=range(1, 9))
    parser.add_argument("--network", action="append", help="default: cimnet")
    parser.add_argument("--forget", action="store_true", help="nothing in memory, only the store")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CIMSIM_CACHE"] = f"{folder}/store"
        for network in asked.network or ["cimnet"]:
            given = {"networks": network, "frames": asked.frames, "size": asked.size}
            _show(network, given, asked.tries, asked.forget)


def _show(network: str, given: dict[str, Any], tries: int, forget: bool) -> None:
    from cimsim.engine.workers import one_torch_thread
    from cimsim.studies.chain import Chain, Memory
    from cimsim.studies.stages import STAGES
    from cimsim.studies.store import Store
    from cimsim.studies.study import Study

    memory, store = Memory(), Store.usual()

    def took(point: Point) -> tuple[float, set[str]]:
        nonlocal memory
        memory = Memory() if forget else memory
        before = dict(memory.made)
        began = time.process_time()
        assert Chain(point, memory, store).row["numbers"]
        used = time.process_time() - began
        return used, {name for name, n in memory.made.items() if n > before.get(name, 0)}

    with one_torch_thread():
        first, _ = took(Study(**given).plan.points()[-1])
        print(f"{network}: the first point {first:.2f} CPU s, with compiling or its cache")
        for change in (NOTHING, *CHANGES):
            every = []
            for point in islice(change.tries(given), tries):
                used, made = took(point)
                every.append(used)
                if not set(change.made) <= made or (made and not change.made and not forget):
                    raise SystemExit(f"{change.name}: worked out {sorted(made)}: no such point")
            told = ", ".join(f"{used:.3f}" for used in every)
            print(
                f"{change.name:10} median {statistics.median(every):.3f} of {told}; {len(made)}"
                f" stages worked out: {', '.join(name for name in STAGES if name in made)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
