"""What does each layer give: every part of a network in turn is taken away.

A layer is replaced by its mean, per channel, over the calibration inputs; a branch (an operand of
an addition) by its mean and by nothing. What the network loses is measured in float32 and on the
chip, always on the same cells: a chip is programmed once, and a part's place is taken by a constant
in the run. Reads have the same noise as in the run of the whole network, so differences are paired.

A run without a part begins where its values first differ: what comes before is taken from the run
of the whole network. What the chip would save is no estimate from shares: the network that is left
is mapped, timed and energised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from cimsim.chip.spec import Chip
from cimsim.errors import InputError
from cimsim.graph.cutting import (
    Cut,
    Part,
    changed,
    find,
    gone,
    matrices,
    parts,
    rest_of,
    without,
)
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.mapping import Mapping, matrix_name
from cimsim.placing.by_name import map_graph
from cimsim.report.run.contributions import THRESHOLD
from cimsim.studies.contributions import Ablation, Contribution, Costs, Instead, Loss, Variant
from cimsim.studies.machines import Float, Machine, Programmed, Sums
from cimsim.studies.measures import Measure, denoising

if TYPE_CHECKING:
    from torch import Tensor

    from cimsim.engine.written import Learned
    from cimsim.session.frames import Clip, Progress


def ablate(
    graph: LayerGraph,
    chip: Chip,
    clip: Clip | None = None,
    *,
    measure: Measure | None = None,
    noise_sigma: float = 15.0,
    seed: int = 0,
    programmings: int = 1,
    on_chip: bool = True,
    only: Iterable[str] = (),
    threshold: float = THRESHOLD,
    place: Callable[[LayerGraph], Mapping] | None = None,
    calibration: Clip | None = None,
    clip_name: str = "clip",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Ablation:
    """Find out what each layer and each branch of a network gives.

    Parameters
    ----------
    graph : LayerGraph
    chip : Chip
        What costs are worked out for, and what the network runs on.
    clip : uint8 or float32 [T, H, W, 3], optional
        Clean frames for a denoiser: the measure is the PSNR of each frame.
    measure : Measure, optional
        For any other task; ``clip``, ``noise_sigma``, ``calibration`` are not read then.
    noise_sigma : float
        In 8-bit steps.
    seed : int
        Of noise, programming and reads; the further programmings have the seeds behind it.
    programmings : int
        Chips that are programmed and measured.
    on_chip : bool
        False: float32 alone; costs are worked out all the same.
    only : iterable of str
        Parts to look at, see `cimsim.graph.cutting.find`; all by default.
    threshold : float
        In the unit of the measure: what gives less could go.
    place : callable, optional
        Maps the network, and every network that is left of it, on ``chip``; by default
        ``cimsim.map_graph(graph, chip)``.
    calibration, threads, progress
        See `cimsim.simulate`.
    clip_name : str
        For tables.

    Returns
    -------
    Ablation
        After Ctrl-C: of the frames that were measured for all parts.

    Raises
    ------
    InputError
        No clip and no measure, a network that is no denoiser, or an unknown part.
    """
    from cimsim.engine.workers import one_torch_thread

    report = progress or (lambda stage, done, total: None)
    if measure is None and clip is None:
        raise InputError(
            f"network '{graph.name}' has no measure: give a clip for a denoiser, or measure= with "
            "inputs and a score for any other task (cimsim.studies.measures.Measure)"
        )
    if programmings < 1:
        raise InputError(f"programmings: expected at least 1, got {programmings}")
    chosen = find(graph, only) if only else parts(graph)
    place = place or (lambda graph: map_graph(graph, chip))
    mapping = place(graph)
    if measure is None:
        assert clip is not None
        measure = denoising(mapping, clip, noise_sigma, seed, calibration, clip_name)
    removals = [removal for part in chosen for removal in _removals(part)]
    seeds = [seed + number for number in range(programmings if on_chip else 0)]
    with one_torch_thread():
        study = _Study(mapping, measure, place, threads, report)
        done = study.passes(seeds, removals)
        whole = study.summed_up(done, removals, threshold)
        going = whole.could_go
        if len(going) < 2 or done.interrupted:
            return whole
        at_once = [_together(going)]
        again = study.passes(seeds, at_once)
        return replace(
            whole,
            together=study.contributions(again, at_once)[0],
            notes=(*whole.notes, *again.notes),
        )


@dataclass(frozen=True, eq=False)
class _Removal:
    """A part that is taken away, and what comes in the place of its values."""

    part: Part
    instead: dict[Cut, Instead]

    @property
    def kind(self) -> Instead:
        """What comes in the place of all of them."""
        ways = set(self.instead.values())
        return ways.pop() if len(ways) == 1 else "mixed"

    def without(self, graph: LayerGraph, means: dict[str, Tensor]) -> LayerGraph:
        """Return the network that is left."""
        replaced = {
            cut: means[cut.value] if how == "mean" else None for cut, how in self.instead.items()
        }
        return without(graph, replaced)


def _removals(part: Part) -> list[_Removal]:
    ways: tuple[Instead, ...] = ("mean",) if part.kind == "layer" else ("zero", "mean")
    return [_Removal(part, dict.fromkeys(part.cuts, way)) for way in ways]


def _together(going: Sequence[Contribution]) -> _Removal:
    instead = {cut: each.best.instead for each in going for cut in each.part.cuts}
    name = ", ".join(each.part.label for each in going)
    return _Removal(Part("together", name, tuple(instead)), instead)


@dataclass(eq=False)
class _Pass:
    """What one machine measured: each list has an entry for each frame."""

    scores: list[float] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)  # in each, one for each removal
    sums_left: list[list[Sums]] = field(default_factory=list)


@dataclass(eq=False)
class _Passes:
    """What all machines measured."""

    frames: int
    plain: _Pass = field(default_factory=_Pass)
    chips: list[_Pass] = field(default_factory=list)
    interrupted: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return (self.interrupted,) if self.interrupted else ()

    @property
    def sums(self) -> Sums | None:
        """Mean operand sums of a frame; None where no chip ran."""
        return _mean_sums([sums for each in self.chips for sums in each.sums])

    def sums_left(self, removal: int) -> Sums | None:
        """Mean operand sums of a frame without a part; those before it are as they were."""
        left = _mean_sums([frame[removal] for each in self.chips for frame in each.sums_left])
        return None if left is None or self.sums is None else self.sums | left

    def loss(self, removal: int) -> Loss:
        """Return what the float network loses without a part."""
        return self._loss([self.plain], removal)

    def chip_loss(self, removal: int) -> Loss | None:
        """Return what the chip loses without a part."""
        return self._loss(self.chips, removal) if self.chips else None

    def _loss(self, done: list[_Pass], removal: int) -> Loss:
        table = np.full((len(done), self.frames), np.nan)
        for row, each in zip(table, done, strict=True):
            row[: len(each.losses)] = [frame[removal] for frame in each.losses]
        return Loss.of(table)


@dataclass(eq=False)
class _Study:
    mapping: Mapping
    measure: Measure
    place: Callable[[LayerGraph], Mapping]
    threads: int | None
    report: Progress
    made: list[Machine] = field(default_factory=lambda: [Float()])
    learned: Learned | None = None
    float_means: dict[str, Tensor] = field(default_factory=dict)

    def passes(self, seeds: Sequence[int], removals: Sequence[_Removal]) -> _Passes:
        """Measure what is lost, in float32 and on one chip for each seed; Ctrl-C ends it early."""
        done = _Passes(len(self.measure.inputs))
        try:
            self._measure(self.made[0], "float32", removals, done.plain)
            for number, seed in enumerate(seeds):
                machine = self._programmed(number, seed)
                done.chips.append(_Pass())
                title = f"on the chip, {number + 1} of {len(seeds)}"
                self._measure(machine, title, removals, done.chips[-1])
        except KeyboardInterrupt:
            done.chips = [each for each in done.chips if each.losses]
            if not done.plain.losses:
                raise
            last = done.chips[-1] if done.chips else done.plain
            where = f"programming {len(done.chips)} of {len(seeds)}" if done.chips else "float32"
            done.interrupted = (
                f"interrupted at {where}, after {len(last.losses)} of {done.frames} frames"
            )
        return done

    def _programmed(self, number: int, seed: int) -> Machine:
        """Return a chip, written when it is first asked for."""
        from cimsim.engine.written import written

        if len(self.made) == number + 1:
            cells, self.learned = written(
                self.mapping, list(self.measure.calibration), seed, self.threads, self.report,
                self.learned,
            )  # fmt: skip
            self.made.append(Programmed(cells, seed, self.threads))
        return self.made[number + 1]

    def _measure(
        self, machine: Machine, title: str, removals: Sequence[_Removal], into: _Pass
    ) -> None:
        """Run all frames, whole and without each part."""
        graph, frames = self.mapping.graph, self.measure.inputs
        means = self._means(machine, removals)
        if isinstance(machine, Float):
            self.float_means |= means
        rests = [_rest(graph, removal, means) for removal in removals]
        # where a part is missing values differ from some place on; what is read there is kept
        kept = tuple(dict.fromkeys(op.name for rest in rests for op in rest.inputs))
        whole = graph.with_ops(graph, (*graph.outputs, *kept))
        steps, done = len(frames) * (len(rests) + 1), 0
        self.report(title, done, steps)
        for index, inputs in enumerate(frames):
            outputs, sums = machine.run(whole, inputs, index)
            n_outputs = len(graph.outputs)
            score = self.measure.score(index, outputs[:n_outputs])
            values = dict(zip(kept, outputs[n_outputs:], strict=True))
            losses, left = [], []
            self.report(title, done := done + 1, steps)
            for rest in rests:
                inner = tuple(values[op.name] for op in rest.inputs)
                outputs, sums_left = machine.run(rest, inner, index)
                other = self.measure.score(index, outputs)
                losses.append(0.0 if score == other else score - other)  # inf - inf is 0 here
                left.append(sums_left)
                self.report(title, done := done + 1, steps)
            into.scores.append(score)
            into.losses.append(losses)
            if sums:
                into.sums.append(sums)
                into.sums_left.append(left)

    def _means(self, machine: Machine, removals: Sequence[_Removal]) -> dict[str, Tensor]:
        """Return the mean per channel of all values that are replaced by it, in their shapes."""
        graph = self.mapping.graph
        names = dict.fromkeys(
            cut.value for removal in removals for cut, how in removal.instead.items()
            if how == "mean"
        )  # fmt: skip
        if not names:
            return {}
        totals: dict[str, Tensor] = {}
        probe = graph.with_ops(graph, names)
        for number, inputs in enumerate(self.measure.calibration):
            # other read noise than that of the frames
            outputs, _ = machine.run(probe, inputs, len(self.measure.inputs) + number)
            for name, value in zip(names, outputs, strict=True):
                mean = channel_mean(value)
                totals[name] = totals[name] + mean if name in totals else mean
        count = len(self.measure.calibration)
        return {
            name: (total / count).float().expand(graph[name].output.shape)
            for name, total in totals.items()
        }

    def contributions(
        self, done: _Passes, removals: Sequence[_Removal]
    ) -> tuple[Contribution, ...]:
        """Put together what each part gives and what goes with it."""
        graph, by_part = self.mapping.graph, dict[Part, list[Variant]]()
        for index, removal in enumerate(removals):
            self.report("costs", index, len(removals))
            left = removal.without(graph, self.float_means)
            variant = Variant(
                removal.kind, done.loss(index), done.chip_loss(index),
                self.costs(left, done.sums_left(index)),
            )  # fmt: skip
            by_part.setdefault(removal.part, []).append(variant)
        self.report("costs", len(removals), len(removals))
        contributions = []
        for part, variants in by_part.items():
            lost = gone(graph, part.cuts)
            contributions.append(
                Contribution(part, lost, tuple(matrices(graph, lost)), tuple(variants))
            )
        return tuple(contributions)

    def summed_up(self, done: _Passes, removals: Sequence[_Removal], threshold: float) -> Ablation:
        """Put everything together."""
        scores = [score for each in done.chips for score in each.scores]
        return Ablation(
            self.mapping.graph.name, self.mapping.chip.name, self.measure.name, self.measure.unit,
            float(np.mean(done.plain.scores)), float(np.mean(scores)) if scores else None,
            len(done.chips), len((done.chips or [done.plain])[0].scores), threshold,
            self.costs(self.mapping.graph, done.sums), "operands" if scores else "activity",
            self.contributions(done, removals), interrupted=bool(done.interrupted),
            notes=done.notes,
        )  # fmt: skip

    def costs(self, graph: LayerGraph, sums: Sums | None) -> Costs:
        """Map, time and energise a network."""
        from cimsim.energy.idle import working
        from cimsim.energy.model import energy
        from cimsim.graph.signs import mark_signs
        from cimsim.timing.simulate import simulate

        names = {matrix_name(op) for op in graph.matrix_ops}
        if not names:
            return Costs(0, 0, 0.0, 0, 0)
        # another network than the chip was made for: lines need a sign where values have one
        mapping = self.place(mark_signs(graph))
        timeline = simulate(mapping)
        spent = energy(
            mapping, timeline.interval_s(mapping.chip.process.clock_hz), sums,
            working(mapping, timeline), spilled=timeline.spilled,
        )  # fmt: skip
        return Costs(
            len(names), mapping.arrays_used, spent.total_j, timeline.interval,
            timeline.cycles_first_frame,
        )  # fmt: skip


def channel_mean(value: Tensor) -> Tensor:
    """Return the mean over all positions, float64, one per channel and to be expanded.

    Parameters
    ----------
    value : torch.Tensor [B, C, H, W] or [B, ..., C]
    """
    images = value.dim() == 4
    axes = (0, 2, 3) if images else tuple(range(value.dim() - 1))
    return value.double().mean(axes, keepdim=True)


def _rest(graph: LayerGraph, removal: _Removal, means: dict[str, Tensor]) -> LayerGraph:
    """Return what has to run anew without a part; the values that it reads are its inputs."""
    return rest_of(removal.without(graph, means), changed(graph, removal.instead))


def _mean_sums(frames: Sequence[Sums]) -> Sums | None:
    """Mean over frames, operation by operation."""
    if not frames:
        return None
    return {name: sum(sums[name] for sums in frames) / len(frames) for name in frames[0]}
