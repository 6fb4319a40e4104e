"""What a task of the user's own and its judge must return."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cimsim.boundary.own import Rule, Unfit, guarded, is_own, located, number, require, text, whole
from cimsim.errors import CimsimError, InputError
from cimsim.graph.ir import LayerGraph
from cimsim.tasks.questions import Judge, Score, Task

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]

PLACE = "--task"
_METHODS = ("add", "scores", "details")


def task_made(kind: type[Task], **options: object) -> Task:
    """Return a task whose answers are held to what a task can give.

    Raises
    ------
    InputError
        Its own code failed.
    """
    try:
        task = kind(**options)  # type: ignore[arg-type] # the options of any task
    except CimsimError:
        raise
    except Exception as why:  # the user's own code may raise anything
        if not is_own(kind):
            raise
        raise InputError(
            f"{PLACE}: '{kind.__module__}:{kind.__qualname__}' cannot be built: "
            f"{located(why, kind)}"
        ) from why
    return held(task)


def held(task: Task) -> Task:
    """Return a task whose answers are held to what a task can give; a built-in one as it is."""
    return guarded(task, PLACE, _TASK, InputError)


def judge_of(task: Task, graph: LayerGraph) -> Judge:
    """Return who takes the answers of a network, held to what a judge can give."""
    return guarded(held(task).judge(graph), PLACE, _JUDGE, InputError)


def _judge(value: object, graph: LayerGraph) -> None:
    for method in _METHODS:
        require(
            callable(getattr(value, method, None)),
            f"expected a judge with {', '.join(_METHODS)}; its judge has no method '{method}' "
            f"(got {type(value).__name__})",
        )


def _inputs(value: object, sample: object, graph: LayerGraph) -> None:
    _tensors(value, graph)


def _calibration(value: object, graph: LayerGraph) -> None:
    require(isinstance(value, list | tuple) and bool(value),
            f"expected a list of inputs, got {type(value).__name__}")  # fmt: skip
    assert isinstance(value, list | tuple)
    for inputs in value:
        _tensors(inputs, graph)


def _tensors(value: object, graph: LayerGraph) -> None:
    """Hold inputs to be a tensor of the right shape for each input of the network."""
    import torch

    wanted = [tuple(op.output.shape) for op in graph.inputs]
    fits = isinstance(value, tuple) and all(isinstance(one, torch.Tensor) for one in value)
    require(fits, f"expected a tuple of tensors, got {type(value).__name__}")
    assert isinstance(value, tuple)
    got = [tuple(one.shape) for one in value]
    require(got == wanted, f"expected tensors of {wanted}, as the network takes, got {got}")


def _notes(value: object) -> None:
    require(
        isinstance(value, tuple | list) and all(isinstance(line, str) for line in value),
        f"expected a tuple of texts, got {type(value).__name__}",
    )


def _scores(value: object) -> None:
    require(isinstance(value, list | tuple) and all(isinstance(one, Score) for one in value),
            f"expected a list of Score, got {type(value).__name__}")  # fmt: skip
    assert isinstance(value, list | tuple)
    require(value, "the judge gives none")
    names = [score.name for score in value]
    require(len(set(names)) == len(names), f"a name twice: {names}")
    for score in value:
        for field in ("name", "unit", "meaning"):
            require(isinstance(getattr(score, field), str),
                    f"score {score.name!r}: {field}: expected a text")  # fmt: skip
        for one in (score.chip, score.reference):
            if one is not None:
                try:
                    number(-1e300)(one)
                except Unfit:
                    raise Unfit(
                        f"score '{score.name}': expected a finite number, got {one!r}"
                    ) from None
        require(score.chip is not None, f"score '{score.name}': expected a number, got None")


def _details(value: object) -> None:
    require(isinstance(value, dict), f"expected a dict, got {type(value).__name__}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as why:
        raise Unfit(f"no JSON: {why}") from None


_TASK: dict[str, Rule | None] = {
    "name": text, "count": whole(1), "asked": None, "inputs": _inputs,
    "calibration_inputs": _calibration, "notes": _notes, "check": None, "judge": _judge,
}  # fmt: skip
_JUDGE: dict[str, Rule | None] = {"add": None, "scores": _scores, "details": _details}
