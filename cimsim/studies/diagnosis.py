"""Which layer hurts, and why: the loss at the output, shared among all layers and causes.

Beside the run of the chip, layer by layer: what the layer adds to the error of its input, cut into
the parts that bits, cells, wires and converters have in it (`cimsim.engine.error_parts`); and what
a part at this place does to the output (`cimsim.graph.secant`). Both together say what each layer
and cause gives, whatever the network and the measure, without a run for each of them.

What mending a cause gives depends on which others are mended already: squared errors do not add up,
and errors that point alike cost more together. Reported is the Shapley value: the mean over all
orders in which layers and causes could be mended. It adds up to the loss but for what the network
bends between both runs where no secant says it (softmax, maxima), which is told.
`cimsim.studies.switching` runs the chip with each cause switched off, and with it alone, beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cimsim.boundary.arguments import whole
from cimsim.engine.error_parts import CAUSES, ErrorParts
from cimsim.engine.execute import execute
from cimsim.engine.written import written
from cimsim.errors import InputError
from cimsim.graph.ir import MatrixOp
from cimsim.graph.reference import apply_matrix
from cimsim.graph.secant import Matrices, all_values, as_vectors, pulled_back
from cimsim.mapping.mapping import Mapping
from cimsim.studies.diagnosis_result import Attribution, Diagnosis, LayerErrors, decibels
from cimsim.studies.losses import Asked as Question
from cimsim.studies.losses import Loss, OutputError, Psnr, Top1

if TYPE_CHECKING:
    from torch import Tensor

    from cimsim.session.frames import Clip, Progress
    from cimsim.tasks.contract import Tensors
    from cimsim.tasks.questions import Task

DETAILED = 8  # samples that are looked at cause by cause; of more every n-th
ENOUGH = 20  # turned samples: fewer say too little about single layers to rank by accuracy


def diagnose(
    mapping: Mapping,
    clip: Clip | None = None,
    *,
    task: Task | None = None,
    noise_sigma: float = 15.0,
    seed: int = 0,
    calibration: Clip | None = None,
    detailed: int = DETAILED,
    name: str = "clip",
    title: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Find out what each layer loses on the chip, and by what.

    Parameters
    ----------
    mapping : Mapping
    clip : uint8 or float32 [T, H, W, 3], optional
        Clean frames for a denoiser: what is lost is PSNR.
    task : Task, optional
        Anything else: what is lost is top-1 accuracy where samples have labels, and the outputs'
        signal-to-error ratio.
    noise_sigma : float
        Of a clip, in 8-bit steps.
    seed : int
        Of noise, programming and reads.
    calibration : frames like ``clip``, optional
        See `cimsim.simulate`.
    detailed : int
        Samples, evenly spread, that are looked at cause by cause; layers are told apart on all.
    name, title : str, optional
        Of the clip and the network, for headings.
    threads, progress
        See `cimsim.simulate`.

    Raises
    ------
    InputError
        Neither clip nor task or both, or a network that keeps results from frame to frame.
    GraphError
        An operation through which errors cannot be followed.
    """
    from cimsim.engine.workers import one_torch_thread

    seed = whole("seed", seed, 0, 2**63 - 1, InputError)
    detailed = whole("detailed", detailed, 1, 1_000_000, InputError)
    asked = asked_of(mapping, clip, task, noise_sigma, seed, calibration, name)
    report = progress or (lambda stage, done, total: None)
    with one_torch_thread():
        return _Run(mapping, asked, seed, threads, report, detailed).go(title)


def asked_of(
    mapping: Mapping, clip: Clip | None, task: Task | None, sigma: float, seed: int,
    calibration: Clip | None, name: str,
) -> Asked:  # fmt: skip
    """Return what a network is asked and how answers are judged; see `diagnose`."""
    if (clip is None) == (task is None):
        raise InputError(
            "diagnose: give a clip for a denoiser, or a task (cimsim.tasks) for anything else"
        )
    if task is not None:
        return _task(mapping, task)
    assert clip is not None
    return _clip(mapping, clip, sigma, seed, calibration, name)


@dataclass(frozen=True, eq=False)
class Asked:
    """Inputs, what they are judged by, and how.

    Attributes
    ----------
    count : int
    inputs : callable
        ``inputs(number)`` returns what the losses take, and the network's inputs.
    calibration : list of tuple of torch.Tensor
    losses : list of Loss
    what : str
    """

    count: int
    inputs: Callable[[int], tuple[Question, Tensors]]
    calibration: list[Tensors]
    losses: list[Loss]
    what: str


def _clip(
    mapping: Mapping,
    clip: Clip,
    sigma: float,
    seed: int,
    calibration: Clip | None,
    name: str,
) -> Asked:
    from cimsim.session.frames import as_float
    from cimsim.studies.measures import denoising
    from cimsim.tasks.contract import Contract

    measure = denoising(mapping, clip, sigma, seed, calibration, name)
    clean = as_float(clip, Contract.of(mapping.graph).channels)
    return Asked(
        len(measure.inputs), lambda n: (clean[n], measure.inputs[n]), list(measure.calibration),
        [Psnr()], measure.name,
    )  # fmt: skip


def _task(mapping: Mapping, task: Task) -> Asked:
    from cimsim.tasks.own import held

    graph, task = mapping.graph, held(task)
    task.check(graph)

    def inputs(number: int) -> tuple[Question, Tensors]:
        sample = task.asked(number)
        return sample, task.inputs(sample, graph)

    losses: list[Loss] = [OutputError()]
    classes = hasattr(task.judge(graph), "confusion")
    if classes and task.asked(0).label is not None:
        losses.append(Top1())
    what = f"{task.name}, {task.count} samples of {task.source.name}"
    return Asked(task.count, inputs, task.calibration_inputs(graph), losses, what)


@dataclass(eq=False)
class _Ledger:
    """Sums of one loss: by layer over all samples, by cause over some."""

    all: dict[str, float] = field(default_factory=dict)
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    taken: int = 0  # samples that the loss had weights for
    looked_at: int = 0

    def gives(self, scale: float) -> dict[str, dict[str, float]]:
        """Return layer -> cause -> part of the loss.

        What was seen of the causes is scaled to all samples; what then lacks of the layer's sum is
        spread over its causes by their size.
        """
        given = {}
        for name, total in self.all.items():
            seen = self.parts.get(name, {})
            factor = self.taken / self.looked_at if self.looked_at else 0.0
            parts = {cause: value * factor for cause, value in seen.items()}
            left, size = total - sum(parts.values()), sum(abs(v) for v in parts.values())
            if size > 0:
                parts = {c: v + left * abs(v) / size for c, v in parts.items()}
            given[name] = {cause: value * scale for cause, value in parts.items()}
        return given


@dataclass(eq=False)
class _Powers:
    """Sums of squares of one layer."""

    chip: float = 0.0  # of the exact layer on the chip's input
    own: float = 0.0
    exact: float = 0.0  # of the float network
    whole: float = 0.0
    looked_at: float = 0.0  # of `chip`, where causes were told apart
    causes: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class _Run:
    mapping: Mapping
    asked: Asked
    seed: int
    threads: int | None
    report: Progress
    detailed: int

    def go(self, title: str | None) -> Diagnosis:
        """Program the chip, run it, and look at every layer."""
        begun = time.process_time()
        graph = self.mapping.graph
        chip, learned = written(
            self.mapping, self.asked.calibration, self.seed, self.threads, self.report
        )
        run_s = time.process_time() - begun
        self.parts = ErrorParts(chip, self.seed, learned)
        self.matrices = Matrices(graph)
        self.ledgers = [_Ledger() for _ in self.asked.losses]
        self.powers = {layer.name: _Powers() for layer in self.mapping.layers}
        count, every = self.asked.count, max(1, -(-self.asked.count // self.detailed))
        looked_at, done, notes = 0, 0, []
        self.report("diagnosing", 0, count)
        try:
            for number in range(count):
                sample, inputs = self.asked.inputs(number)
                held: dict[str, tuple[Tensor, Tensor]] = {}
                start = time.process_time()
                got = execute(
                    chip, inputs, number, self.seed, self.threads,
                    partial(_keep, held),
                )  # fmt: skip
                before = all_values(graph, inputs, matrices=self.matrices)
                run_s += time.process_time() - start
                clips = {n: s.saturations > 0 for n, s in got.statistics.by_op.items()}
                expected = tuple(before[name] for name in graph.outputs)
                in_detail = number % every == 0
                looked_at += in_detail
                self._look(number, sample, expected, got.outputs, before, held, clips, in_detail)
                done += 1
                self.report("diagnosing", done, count)
        except KeyboardInterrupt:
            if not done:
                raise
            notes.append(f"interrupted after {done} of {count}")
        all_s = time.process_time() - begun
        return Diagnosis(
            title or graph.name, self.mapping.chip.label, self.asked.what, done, looked_at,
            self.parts.causes, tuple(self._layers()), tuple(self._attributions(notes)),
            run_s=run_s, all_s=all_s, notes=tuple(notes),
        )  # fmt: skip

    def _look(
        self, number: int, sample: Question, expected: Tensors, got: Tensors,
        before: dict[str, Tensor], held: dict[str, tuple[Tensor, Tensor]],
        clips: dict[str, bool], in_detail: bool,
    ) -> None:  # fmt: skip
        """Add up what one sample says."""
        graph = self.mapping.graph
        given = {n: value for n, value in before.items() if n not in self.matrices.behind}
        given |= {name: y for name, (_, y) in held.items()}
        asked = tuple(before[op.name] for op in graph.inputs)
        after = all_values(graph, asked, given, self.matrices)
        at_layers: list[dict[str, Tensor]] = []
        detail: list[bool] = []
        for loss, ledger in zip(self.asked.losses, self.ledgers, strict=True):
            at_outputs = loss.weights(number, sample, expected, got)
            # a sample whose answer turns is rare: each of them is looked at
            wanted = at_outputs is not None and (in_detail or isinstance(loss, Top1))
            ledger.taken += at_outputs is not None
            ledger.looked_at += wanted
            detail.append(wanted)
            at_layers.append(
                {}
                if at_outputs is None
                else pulled_back(graph, before, after, at_outputs, self.matrices)
            )
        for op in graph.matrix_ops:
            x, y = held[op.name]
            own = y - apply_matrix(op, x, self.matrices[op])
            errors = own.double()
            self._add_powers(op, y - own, y - before[op.name], errors, before[op.name])
            for ledger, weights in zip(self.ledgers, at_layers, strict=True):
                if op.name in weights:
                    total = float((weights[op.name].double() * errors).sum())
                    layer = self._name(op)
                    ledger.all[layer] = ledger.all.get(layer, 0.0) + total
            if any(detail):
                chosen = [w if d else {} for w, d in zip(at_layers, detail, strict=True)]
                self._add_causes(op, x, y, own, number, clips[op.name], chosen, in_detail)

    def _name(self, op: MatrixOp) -> str:
        return self.mapping.layer_of[op.name].name

    def _add_powers(
        self, op: MatrixOp, on_chip: Tensor, whole: Tensor, own: Tensor, exact: Tensor
    ) -> None:
        powers = self.powers[self._name(op)]
        powers.chip += float(on_chip.double().square().sum())
        powers.own += float(own.square().sum())
        powers.exact += float(exact.double().square().sum())
        powers.whole += float(whole.double().square().sum())

    def _add_causes(
        self, op: MatrixOp, x: Tensor, y: Tensor, own: Tensor, number: int, clips: bool,
        at_layers: list[dict[str, Tensor]], in_detail: bool,
    ) -> None:  # fmt: skip
        errors = as_vectors(op, own).numpy()
        errors_of = self.parts.of_frame(op, x, lambda windows: errors[windows], number, clips)
        layer = self._name(op)
        if in_detail:
            powers = self.powers[layer]
            exact = as_vectors(op, y - own).numpy()[errors_of.windows]
            powers.looked_at += float(np.square(exact, dtype=np.float64).sum())
            for cause, part in errors_of.by_cause.items():
                power = float(np.square(part, dtype=np.float64).sum())
                powers.causes[cause] = powers.causes.get(cause, 0.0) + power
        for ledger, weights in zip(self.ledgers, at_layers, strict=True):
            if op.name not in weights:
                continue
            weight = as_vectors(op, weights[op.name]).numpy()[errors_of.windows].astype(np.float64)
            row = ledger.parts.setdefault(layer, {})
            for cause, part in errors_of.by_cause.items():
                row[cause] = row.get(cause, 0.0) + float((weight * part).sum()) / errors_of.share

    def _layers(self) -> Iterator[LayerErrors]:
        for layer in self.mapping.layers:
            op, powers = self.mapping.graph[layer.ops[0]], self.powers[layer.name]
            yield LayerErrors(
                layer.name, op.kind if isinstance(op, MatrixOp) else "",
                decibels(powers.chip, powers.own), decibels(powers.exact, powers.whole),
                {cause: decibels(powers.looked_at, powers.causes[cause])
                 for cause in CAUSES if cause in powers.causes},
            )  # fmt: skip

    def _attributions(self, notes: list[str]) -> list[Attribution]:
        attributions: list[Attribution] = []
        for loss, ledger in zip(self.asked.losses, self.ledgers, strict=True):
            reference, on_chip, lost = loss.measured()
            one = Attribution(
                loss.name, loss.unit, reference, on_chip, lost, ledger.gives(loss.scale)
            )
            if isinstance(loss, Top1) and loss.turned >= ENOUGH:
                attributions.insert(0, one)
                continue
            if isinstance(loss, Top1):
                notes.append(
                    f"{loss.turned} of {loss.samples} answers turn between float network and chip: "
                    "too few to rank layers by accuracy, so the outputs' error is ranked"
                )
            attributions.append(one)
        return attributions


def _keep(held: dict[str, tuple[Tensor, Tensor]], op: MatrixOp, x: Tensor, y: Tensor) -> None:
    held[op.name] = x, y
