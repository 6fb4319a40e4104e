"""One programmed chip and one task: prepared, then asked sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cimsim.engine.execute import execute
from cimsim.engine.written import written
from cimsim.mapping.mapping import Mapping
from cimsim.outside import code_digest
from cimsim.stats import mean_interval, share_interval
from cimsim.tasks.measures import Measure
from cimsim.tasks.questions import Judge, Score, Task

if TYPE_CHECKING:
    from cimsim.engine.calibrated import CalibratedMapping
    from cimsim.engine.statistics import Statistics

Progress = Callable[[str, int, int], None]


class TaskRun:
    """A chip that answers the samples of a task; nothing holds more than one of them.

    Parameters
    ----------
    mapping : Mapping
    task : Task
    seed : int
        Of programming and reads.
    threads : int or None
    """

    calibrated: CalibratedMapping

    def __init__(self, mapping: Mapping, task: Task, seed: int, threads: int | None) -> None:
        task.check(mapping.graph)
        self.mapping, self.task, self.seed, self.threads = mapping, task, seed, threads
        self.judge: Judge = task.judge(mapping.graph)
        self.statistics: Statistics | None = None
        self.done = 0
        self.notes: list[str] = list(task.notes)
        self._calibration, self._asked = hashlib.sha256(), hashlib.sha256()

    def prepare(self, report: Progress, learned: dict[str, Any] | None = None) -> dict[str, Any]:
        """Program the arrays and calibrate them; returns what further chips need not learn."""
        inputs = self.task.calibration_inputs(self.mapping.graph)
        for one in inputs:
            _add(self._calibration, one)
        self.calibrated, learned = written(
            self.mapping, inputs, self.seed, self.threads, report, learned
        )
        return learned

    def execute(self, report: Progress) -> None:
        """Ask every sample, in float32 and on the chip; Ctrl-C keeps those done so far."""
        total, graph = self.task.count, self.mapping.graph
        report("asking", 0, total)
        try:
            for number in range(total):
                sample = self.task.asked(number)
                inputs = self.task.inputs(sample, graph)
                expected = graph.reference(*inputs)
                done = execute(self.calibrated, inputs, number, self.seed, threads=self.threads)
                self.judge.add(sample, expected, done.outputs)
                _add(self._asked, inputs)
                before = self.statistics
                self.statistics = done.statistics if before is None else before + done.statistics
                self.done += 1
                report("asking", self.done, total)
        except KeyboardInterrupt:
            if not self.done:
                raise
            self.notes.append(f"interrupted after {self.done} of {total} samples")

    @property
    def pulses_per_cell(self) -> float | None:
        """Mean programming pulses of a cell, where write-verify was run as a loop."""
        return self.calibrated.programmed.pulses_per_cell

    @property
    def conductance_sums(self) -> dict[str, float]:
        """Operation -> applied operand sum per sample, see `cimsim.energy.model.energy`."""
        assert self.statistics is not None
        return {name: s.conductance_s / self.done for name, s in self.statistics.by_op.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """What the answers depend on, for the result's hash."""
        return {
            "task": self.task.name, "data": self._asked.hexdigest(),
            "calibration": self._calibration.hexdigest(), "samples": self.done, "seed": self.seed,
        } | self._own_code()  # fmt: skip

    def _own_code(self) -> dict[str, str]:
        """Name the text of a task of the user's own, which says what is measured."""
        kind = type(self.task)
        if kind.__module__.startswith("cimsim."):
            return {}
        return {"task_code": f"sha256:{code_digest(kind)}"}


def measures(runs: list[list[Score]]) -> tuple[Measure, ...]:
    """Put the scores of programmed chips together; the first is the one that is reported."""
    found = []
    for i, first in enumerate(runs[0]):
        values = tuple(scores[i].chip for scores in runs)
        interval, of = None, ""
        if len(values) > 1:
            low, high = mean_interval(values)
            if first.hits is not None:
                low, high = max(low, 0.0), min(high, 100.0)
            interval, of = (low, high), "programmings"
        elif first.hits is not None:
            low, high = share_interval(*first.hits)
            interval, of = (100 * low, 100 * high), "samples"
        found.append(
            Measure(first.name, first.unit, first.meaning, values, first.reference, interval, of)
        )
    return tuple(found)


def _add(digest: Any, tensors: tuple[Any, ...]) -> None:
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
