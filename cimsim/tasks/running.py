"""One programmed chip and one task: prepared, then asked sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cimsim.boundary.outside import code_digest
from cimsim.engine.execute import execute
from cimsim.engine.written import written
from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.stats import mean_interval, share_interval
from cimsim.tasks.measures import Measure
from cimsim.tasks.metrics import AbstractMetric, Judged, digests
from cimsim.tasks.own import held, judge_of
from cimsim.tasks.questions import Judge, Score, Task

if TYPE_CHECKING:
    from cimsim.engine.calibrated import CalibratedMapping
    from cimsim.engine.statistics import Statistics
    from cimsim.engine.written import Learned
    from cimsim.tasks.questions import Tensors
    from cimsim.tasks.sources import Sample

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
    metrics : sequence of type
        Beside what the task measures.
    """

    calibrated: CalibratedMapping

    def __init__(
        self, mapping: Mapping, task: Task, seed: int, threads: int | None,
        metrics: Sequence[type[AbstractMetric]] = (),
    ) -> None:  # fmt: skip
        task = held(task)
        task.check(mapping.graph)
        self.mapping, self.task, self.seed, self.threads = mapping, task, seed, threads
        self.judge: Judge = judge_of(task, mapping.graph)
        self.metrics = tuple(metrics)
        self._judged = {
            judges: Judged([m for m in metrics if m.judges == judges], ("chip", "float"))
            for judges in {m.judges for m in metrics}
        }
        self.statistics: Statistics | None = None
        self.done = 0
        self.notes: list[str] = list(task.notes)
        self._calibration, self._asked = hashlib.sha256(), hashlib.sha256()

    def prepare(self, report: Progress, learned: Learned | None = None) -> Learned:
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
                self._judge(number, sample, expected, done.outputs)
                _add(self._asked, inputs)
                before = self.statistics
                self.statistics = done.statistics if before is None else before + done.statistics
                self.done += 1
                report("asking", self.done, total)
        except KeyboardInterrupt:
            if not self.done:
                raise
            self.notes.append(f"interrupted after {self.done} of {total} samples")

    def _judge(self, number: int, sample: Sample, expected: Tensors, got: Tensors) -> None:
        """Hand the answers to one sample on to the task's judge and to the metrics."""
        self.judge.add(sample, expected, got)
        for judges, judged in self._judged.items():
            if judges == "outputs":
                judged.add(number, expected, {"chip": got})
                continue
            if sample.label is None:
                names = ", ".join(m.name for m in self.metrics if m.judges == judges)
                raise InputError(
                    f"--metric: '{names}': judges labels, sample {number} has none; give --data "
                    "with labels"
                )
            judged.add(number, sample.label, {"chip": got[0][0], "float": expected[0][0]})
        if number == 0 and self.metrics:
            self._check_names()

    def _check_names(self) -> None:
        """Refuse a metric whose name the task's own measures have, before it costs a run."""
        taken = {score.name for score in self.judge.scores()}
        for metric in self.metrics:
            if metric.name in taken:
                raise InputError(
                    f"--metric: '{metric.name}': the task measures '{metric.name}' already; give "
                    "the metric another name"
                )

    def scores(self) -> list[Score]:
        """Return what the task measured, then the metrics in the order in which they were given."""
        extra = [s for judged in self._judged.values() for s in judged.scores(self.done)]
        order = [metric.name for metric in self.metrics]
        return [*self.judge.scores(), *sorted(extra, key=lambda score: order.index(score.name))]

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
    def identity(self) -> dict[str, object]:
        """What the answers depend on, for the result's hash."""
        return {
            "task": self.task.name, "data": self._asked.hexdigest(),
            "calibration": self._calibration.hexdigest(), "samples": self.done, "seed": self.seed,
        } | self._own_code()  # fmt: skip

    def _own_code(self) -> dict[str, object]:
        """Name the text of a task and of metrics of the user's own, which say what is measured."""
        kind, more = type(self.task), dict[str, object]()
        if self.metrics:
            more["metrics"] = digests(self.metrics)
        if kind.__module__.startswith("cimsim."):
            return more
        return more | {"task_code": f"sha256:{code_digest(kind)}"}


def measures(runs: list[list[Score]]) -> tuple[Measure, ...]:
    """Put the scores of programmed chips together; the first is the one that is reported."""
    together = []
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
        elif first.interval is not None:
            interval, of = first.interval, "samples" if first.noisy is None else "frames"
        together.append(Measure(
            first.name, first.unit, first.meaning, values, first.reference, interval, of,
            first.noisy, first.each,
        ))  # fmt: skip
    return tuple(together)


def _add(digest: hashlib._Hash, tensors: Tensors) -> None:
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
