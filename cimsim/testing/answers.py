"""Contracts of what is asked of a network and of results: tasks, metrics, writers."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import SupportsFloat

import numpy as np

from cimsim.graph.ir import LayerGraph
from cimsim.report.run.folder import write
from cimsim.report.run.writers import AbstractWriter
from cimsim.session.result import Result
from cimsim.tasks.metrics import AbstractMetric, Answer, metrics_of
from cimsim.tasks.questions import Score, Task, task_of
from cimsim.tasks.sources import Arrays
from cimsim.testing.contract import (
    CHIP,
    accepted,
    chip_of,
    hold,
    path_of,
    small_inputs,
    small_network,
)

SAMPLES = 6


def check_task(
    kind: str | type[Task], options: Mapping[str, object] | None = None,
    graph: LayerGraph | None = None,
) -> None:  # fmt: skip
    """Hold a task to `cimsim.api.Task`.

    It is found by ``--task package.module:Class``; its judge gives scores with a name, a unit, a
    meaning and finite numbers, says the same of the chip as of the float network where both give
    the same answers, and details that JSON can hold. Nothing that calibrates the chip is judged.

    Parameters
    ----------
    kind : str or type
    options : mapping, optional
        Of the class; by default six samples of five classes for a network that sees pictures.
    graph : LayerGraph, optional
        A network that can be asked this, where the options are not those.

    Raises
    ------
    ContractBrokenError
    """
    import cimsim

    name = path_of(kind)
    made = accepted(name, "--task", task_of, name)
    labels = np.arange(20) % 5
    given = dict(options) if options is not None else {
        "source": Arrays((small_inputs(20),), labels), "samples": SAMPLES, "calibration": 8
    }  # fmt: skip
    task = accepted(name, f"options {sorted(given)}", made, **given)
    network = graph or small_network()
    accepted(name, "check", task.check, network)
    _check_calibration(name, task, network)
    judge = accepted(name, "judge", task.judge, network)
    for method in ("add", "scores", "details"):
        hold(callable(getattr(judge, method, None)), name, f"its judge has no method '{method}'")
    for number in range(task.count):
        sample = accepted(name, f"sample {number}", task.asked, number)
        answer = network.reference(*accepted(name, "inputs", task.inputs, sample, network))
        accepted(name, "add", judge.add, sample, answer, answer)
    scores = accepted(name, "scores", judge.scores)
    _check_scores(name, scores)
    for score in scores:
        hold(
            score.reference is None or math.isclose(score.chip, score.reference), name,
            f"score '{score.name}': the chip gave the float network's answers, and has "
            f"{score.chip:g} in place of {score.reference:g}",
        )  # fmt: skip
    placed = cimsim.map_graph(network, chip_of(CHIP))
    result = accepted(name, "a run", cimsim.run, placed, task)
    accepted(name, "details: no JSON", json.dumps, judge.details(), allow_nan=False)
    again = accepted(name, "result.json", cimsim.Result.from_json, result.to_json(), name)
    hold(again.measures == result.measures, name, "result.json does not keep what was measured")
    hold("task_code" in result.inputs, name, "its text is not part of the result's hash")


def _check_calibration(name: str, task: Task, network: LayerGraph) -> None:
    """Hold samples that calibrate to be none of those that are judged."""
    if task.calibration_source is not None:
        return
    asked = [task.inputs(task.asked(number), network)[0] for number in range(task.count)]
    for one in accepted(name, "calibration_inputs", task.calibration_inputs, network):
        hold(
            not any(one[0].equal(other) for other in asked), name,
            "calibration_inputs has a sample that is judged, too",
        )  # fmt: skip


def _check_scores(name: str, scores: list[Score]) -> None:
    hold(bool(scores), name, "scores: the judge gives none")
    names = [score.name for score in scores]
    hold(len(set(names)) == len(names), name, f"scores: a name twice: {names}")
    for score in scores:
        for field in ("name", "unit", "meaning"):
            hold(
                isinstance(getattr(score, field), str), name,
                f"score {score.name!r}: {field}: expected a text",
            )  # fmt: skip
        for value in (score.chip, score.reference):
            hold(
                value is None or math.isfinite(value), name,
                f"score '{score.name}': expected a finite number, got {value}",
            )  # fmt: skip


def check_metric(kind: str | type[AbstractMetric]) -> None:
    """Hold a metric to `cimsim.api.AbstractMetric`.

    It is found by ``--metric package.module:Class``; it has a name, a unit and a meaning; it gives
    finite numbers, the same for the same answers, in a new instance; it changes no answer; and what
    a run finds is in the result and in its JSON.

    Parameters
    ----------
    kind : str or type

    Raises
    ------
    ContractBrokenError
    """
    import cimsim

    name = path_of(kind)
    made: type[AbstractMetric] = accepted(
        name, "--metric", metrics_of, [name], ("frames", "labels", "outputs"), "a test"
    )[0]
    pairs = _pairs(made.judges)
    totals = []
    for _ in range(2):
        metric, values = accepted(name, "without arguments", made), []
        for truth, answer in pairs:
            before = _copy(truth), _copy(answer)
            values.append(_finite(name, "of", accepted(name, "of", metric.of, truth, answer)))
            hold(_same((truth, answer), before), name, "of changes what it is given")
        totals.append(_finite(name, "total", accepted(name, "total", metric.total, values)))
        _finite(name, "total", accepted(name, "total of one", metric.total, values[:1]))
    hold(
        totals[0] == totals[1], name,
        f"gives {totals[0]:g}, and {totals[1]:g} for the same answers in a new instance: keep what "
        "it has seen in the instance, not in the class",
    )  # fmt: skip
    result = _run(name, made)
    value = result.numbers().get(f"quality.{made.name}")
    hold(value is not None, name, f"the result has no number quality.{made.name}")
    again = cimsim.Result.from_json(result.to_json(), name)
    hold(again.measures == result.measures, name, "result.json does not keep what was measured")
    hold(made.name in result.inputs.get("metrics", {}), name, "is not part of the result's hash")


def check_writer(kind: str | type[AbstractWriter]) -> None:
    """Hold a writer to `cimsim.api.AbstractWriter`.

    It is found by ``--writer package.module:Class`` and made without arguments, writes two results
    into two folders, returns a line or nothing, and leaves the result and what else stands in the
    folder as they are; what it puts there is in the folder's manifest.

    Parameters
    ----------
    kind : str or type

    Raises
    ------
    ContractBrokenError
    """
    from cimsim import folders
    from cimsim.report.run.trackers import writer_of

    name = path_of(kind)
    made = accepted(name, "--writer", writer_of, name)
    result, alone = _small_result(), _files_alone()
    text = result.to_json()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(2):
            lines: list[str] = []
            place = Path(scratch) / f"run{number}"
            accepted(name, "write", write, result, place, writers=[made], say=lines.append)
            hold(
                all("\n" not in line for line in lines),
                name,
                "write: expected one line for the screen",
            )
            hold(result.to_json() == text, name, "write changes the result")
            for path, content in alone.items():
                same = place / path
                hold(
                    path.name == folders.MANIFEST or (
                        same.is_file() and same.read_bytes() == content
                    ), name, f"write changes {path}",
                )  # fmt: skip
            hold(
                folders.changes(place) == ([], []), name,
                "what it writes is not finished when write returns",
            )  # fmt: skip


def _small_result() -> Result:
    import cimsim

    return cimsim.simulate(cimsim.map_graph(small_network(), chip_of(CHIP)), None)


@functools.cache  # pictures take a second, and several writers may be asked
def _files_alone() -> Mapping[Path, bytes]:
    """Return what stands in the folder of that result where no writer adds to it."""
    with tempfile.TemporaryDirectory() as scratch:
        alone = _small_result().to_dir(Path(scratch) / "alone")
        files = [path for path in alone.rglob("*") if path.is_file()]
        return {path.relative_to(alone): path.read_bytes() for path in files}


def _finite(name: str, what: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, SupportsFloat | str) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    hold(math.isfinite(number), name, f"{what}: expected a finite number, got {value!r}")
    return number


def _pairs(judges: str) -> list[tuple[Answer, Answer]]:
    """Return truths and answers: a perfect one, then some that are not."""
    import torch

    rng = np.random.default_rng(4)
    if judges == "frames":
        clean = rng.uniform(size=(4, 16, 24, 3)).astype(np.float32)
        noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
        return [(clean[0], clean[0].copy()), *zip(clean[1:], noisy[1:], strict=True)]
    draws = [torch.from_numpy(rng.normal(size=5).astype(np.float32)) for _ in range(8)]
    if judges == "labels":
        return [(int(draws[0].argmax()), draws[0]), *((n % 5, d) for n, d in enumerate(draws[1:]))]
    return [((draws[0],), (draws[0].clone(),)),
            *(((a,), (b,)) for a, b in zip(draws[1:], draws[:-1], strict=True))]  # fmt: skip


def _copy(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_copy(part) for part in value)
    return value if isinstance(value, int) else np.array(_plain(value))


def _plain(value: object) -> object:
    """Return a tensor as an array; anything else as it is."""
    return value.numpy() if hasattr(value, "numpy") else value


def _same(values: object, before: object) -> bool:
    if isinstance(values, tuple):
        assert isinstance(before, tuple)
        return all(_same(a, b) for a, b in zip(values, before, strict=True))
    return bool(np.array_equal(np.asarray(_plain(values)), np.asarray(before)))


def _run(name: str, kind: type[AbstractMetric]) -> Result:
    """Return a small run that the metric judged."""
    import cimsim
    from cimsim.tasks.questions import Classification

    chip = chip_of(CHIP)
    if kind.judges == "frames":
        from cimsim.video.embedded import embedded_clip

        network = cimsim.load_network("cimnet", {"stride": 8}, "random")
        graph = cimsim.trace(network.module, network.example(32, 32))
        clip = embedded_clip(frames=2)[:, :32, :32]
        return accepted(name, "a run", cimsim.simulate, cimsim.map_graph(graph, chip), clip,
                        metrics=[kind])  # fmt: skip
    task = Classification(
        source=Arrays((small_inputs(20),), np.arange(20) % 5), samples=SAMPLES, calibration=8
    )
    placed = cimsim.map_graph(small_network(), chip)
    return accepted(name, "a run", cimsim.run, placed, task, metrics=[kind])
