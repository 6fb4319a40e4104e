"""The story on one page: program, calibrate, execute, time, energise, report.

One mapping, three answers: the same `Mapping` is executed for quality, timed for cycles and charged
for energy.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from cimsim.display.doubts import Doubt
    from cimsim.energy.ledger import Ledger
    from cimsim.engine.statistics import OpStatistics
    from cimsim.graph.ir import LayerGraph
    from cimsim.session.asked import Asked, Told
    from cimsim.session.chips import Ran
    from cimsim.session.frames import Clip, Progress
    from cimsim.session.parts import AsWritten
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.session.result import Result
    from cimsim.tasks.metrics import Metrics
    from cimsim.tasks.questions import Task
    from cimsim.timing.timeline import Timeline
    from cimsim.video.clip import Clip as LongClip


def simulate(
    mapping: Mapping,
    clip: Clip | LongClip | None,
    *,
    noise_sigma: float | None = None,
    seed: int = 0,
    schedule: Literal["pipelined", "sequential"] = "pipelined",
    calibration: Clip | None = None,
    title: str | None = None,
    identity: MappingABC[str, object] | None = None,
    notes: Sequence[str] = (),
    doubts: Sequence[Doubt] = (),
    threads: int | None = None,
    progress: Progress | None = None,
    as_written: Mapping | None = None,
    programmed: ProgrammedChip | None = None,
    operands: Clip | None = None,
    frame_rate_hz: float | None = None,
    programmings: int = 1,
    command: MappingABC[str, object] | None = None,
    noisy: bool = False,
    reference: Clip | LongClip | None = None,
    task: Task | None = None,
    metrics: Metrics = (),
    device: str | None = None,
) -> Result:
    """Run a mapped network on a noisy clip and report quality, cycles and energy.

    Parameters
    ----------
    mapping : Mapping
        From `cimsim.map_graph`. The graph's first input is [1, n_frames * 3, H, W] noisy frames, an
        optional second one [1, 1, H, W] holds sigma / 255; its output is the clean centre frame.
        A cascade that streams reads results that it kept, too: see
        `cimsim.tasks.contract.Contract`.
    clip : uint8 or float32 [T, H, W, 3], Clip, or None
        Clean frames; ``None`` leaves quality out and charges arrays by the activity factor. Grey
        frames, [T, H, W] or [T, H, W, 1], are given three equal channels; a grey network gets the
        luma of colour. Of a `cimsim.load_clip` of any length only a few frames are in memory; the
        result's frames are then kept as 8 bit on disk.
    noise_sigma : float, optional
        Standard deviation of the added noise in 8-bit steps, 15 when not given; noise is not
        clipped. With ``noisy``: of the noise that the clip has, estimated when not given.
    seed : int
        Of noise, programming and reads; the same seed gives the same bits.
    schedule : {"pipelined", "sequential"}
    calibration : frames like ``clip``, optional
        What ranges and column corrections are calibrated on; by default two embedded scenes
        of other subjects, so that a chip is never tuned to the clip that it is judged on.
    title, identity, notes, doubts : optional
        Name of the network for tables; where it came from; remarks and doubts to pass on.
    threads : int, optional
        Worker threads; they never change a bit of the result.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.
    as_written : Mapping, optional
        With a streaming ``mapping``: that of the same network as it is written. Its cycles and
        energy are reported beside, so that one sees what reuse saves.
    programmed : ProgrammedChip, optional
        From `cimsim.program` or a file: nothing is written or calibrated. With its seed and sigma
        the result has the bits and the hash of a run without it; with others its cells stay, reads
        and frames differ, and the hash names the two.

    operands : frames like ``clip``, optional
        Without a clip: array energy from statistics of the float network's operands on these frames
        instead of the activity factor, a hundred times faster than a functional run.
    frame_rate_hz : float, optional
        Frames come at this rate instead of back to back: energy and power are those of a chip that
        waits in between, as ``tile.idle`` says.
    programmings : int
        Chips that are programmed and read one after another on the same frames, with the seeds
        ``seed``, ``seed + 1`` ...: the result is that of the first one, with the mean and the
        interval of all.
    command : dict, optional
        Options of the command that asks for it, kept for ``cimsim verify``.
    noisy : bool
        The clip is noisy as it is; nothing is added.
    reference : frames like ``clip``, optional
        With ``noisy``: clean frames to judge by. Without them the result has frames, cycles and
        energy, but no quality.
    task : Task, optional
        Instead of a clip: what the network is asked (`cimsim.tasks`). See also `run`.
    metrics : sequence of str or type, optional
        Further numbers for its answers: `cimsim.tasks.metrics.AbstractMetric` by name or class.
    device : str, optional
        ``cpu``, ``cuda``, ``mps`` ...: read the arrays with torch's operators there, where whole
        numbers and noise are those of the compiled kernels, and what is left differs by last bits
        of float32 at most. What torch does not read stays with the kernels.

    Raises
    ------
    InputError
        If torch cannot compute on ``device``, the frame rate is not positive or beyond what the
        chip reaches, the clip does not fit the graph, ``as_written`` is the mapping of another
        network, or ``programmed`` does not fit or is given without a clip or with calibration
        frames.
    """
    from cimsim.session.asked import Asked, Told
    from cimsim.session.chips import run_chips
    from cimsim.session.collect import frame_period_s
    from cimsim.timing.simulate import simulate as simulate_timing

    told = Told(title=title, identity=identity, notes=notes, doubts=doubts, command=command)
    asked = Asked(
        mapping=mapping, clip=clip, task=task, noise_sigma=noise_sigma, seed=seed,
        schedule=schedule, calibration=calibration, threads=threads,
        report=progress or (lambda stage, done, total: None), as_written=as_written,
        programmed=programmed, operands=operands, frame_rate_hz=frame_rate_hz,
        programmings=programmings, noisy=noisy, reference=reference, metrics=metrics,
        device=device,
    ).checked()  # fmt: skip
    asked.report("timing", 0, 1)
    timeline = simulate_timing(mapping, schedule=schedule)
    asked.report("timing", 1, 1)
    period_s = frame_period_s(mapping, timeline, frame_rate_hz)
    ran = run_chips(asked)
    return _result(asked, told, timeline, ran, _charged(asked, timeline, period_s, ran))


@dataclass(frozen=True)
class _Charged:
    """What a frame costs, and what it would without reuse."""

    ledger: Ledger
    as_written: AsWritten | None


def _charged(asked: Asked, timeline: Timeline, period_s: float, ran: Ran) -> _Charged:
    """Charge the arrays by the operands that ran, by estimated ones, or by the activity factor."""
    from cimsim.energy.idle import working
    from cimsim.energy.ledger import Ledger
    from cimsim.session.collect import as_written
    from cimsim.session.functional import operand_sums
    from cimsim.timing.simulate import simulate as simulate_timing

    mapping, longer = asked.mapping, asked.as_written
    sums, sums_from = ran.first.conductance_sums if ran.first else None, "operands"
    if asked.operands is not None:
        sums_from = "statistics"
        sums = operand_sums(mapping, asked.operands, asked.sigma, asked.seed, asked.calibration)
    ledger = Ledger(
        mapping, period_s, sums, working(mapping, timeline), sums_from, timeline.spilled
    )
    written = None
    if longer is not None:
        cycles = simulate_timing(longer, schedule=asked.schedule)
        written = as_written(longer, cycles, mapping, sums, asked.frame_rate_hz)
    return _Charged(ledger, written)


def _result(asked: Asked, told: Told, timeline: Timeline, ran: Ran, charged: _Charged) -> Result:
    """Put together what was found."""
    from cimsim.chip.ledger import left_out
    from cimsim.energy.ledger import draw, sensitivity
    from cimsim.graph.coverage import coverage
    from cimsim.session import collect
    from cimsim.session.doubts import loss_doubts
    from cimsim.session.environment import environment
    from cimsim.session.result import Result
    from cimsim.tasks.running import measures

    mapping, graph, clip, first = asked.mapping, asked.mapping.graph, ran.clip, ran.first
    spent, drawn = charged.ledger.report(), draw(charged.ledger)
    statistics = first.statistics.by_op if first and first.statistics is not None else None
    quality = clip.quality() if clip else None
    covered = coverage(graph, mapping.chip)
    pulses = first.pulses_per_cell if first else None
    samples = asked.task.calibration if asked.task else None
    scores = measures(ran.scores) if ran.scores else ()
    return Result(
        model=told.title or graph.name,
        frame=(_count(ran), *graph.inputs[0].output.grid),
        quality=quality,
        programmings=(quality.psnr_db, *ran.others) if quality else (),
        timing=collect.timing(mapping, timeline),
        energy=collect.energies(mapping, spent, pulses, asked.frame_rate_hz, samples),
        hardware=collect.hardware(mapping),
        layers=collect.rows(mapping, timeline, spent, statistics, drawn),
        inputs=_inputs(asked, told, ran),
        notes=_notes(asked, told, ran, collect.remarks(mapping, spent, timeline)),
        frames=clip.frames if clip else {},
        doubts=(
            *_doubts(asked, told, statistics, collect.coverage_doubts(covered)),
            *loss_doubts(quality, scores, (told.identity or {}).get("weights")),
        ),
        intervals=drawn.intervals(),
        sensitivity=tuple(sensitivity(charged.ledger)),
        as_written=charged.as_written,
        programmed=None if asked.programmed is None else asked.programmed.provenance,
        environment=environment(asked.device if first else None),
        outputs=clip.digests if clip else {},
        command=told.command,
        left_out=left_out(mapping.chip),
        measures=(*scores, *ran.retained),
        details=_details(ran, graph),
        coverage=covered,
    )


def _count(ran: Ran) -> int:
    """Return how many frames or samples were done."""
    return len(ran.clip.chip) if ran.clip else ran.task.done if ran.task else 0


def _inputs(asked: Asked, told: Told, ran: Ran) -> dict[str, object]:
    """Return all that was executed, for the hash."""
    from cimsim.session.collect import mapping_hash, resolved_inputs

    first, written, rate = ran.first, asked.as_written, asked.frame_rate_hz
    identity = told.identity or {"model": asked.mapping.graph.name}
    inputs = resolved_inputs(asked.mapping, asked.schedule, identity)
    inputs |= {"as_written": mapping_hash(written)} if written else {}
    inputs |= {"programmings": asked.programmings} if asked.programmings > 1 else {}
    inputs |= {"arrays": "torch"} if asked.device is not None and first else {}
    inputs |= {"frame_rate_hz": rate} if rate is not None else {}
    return inputs | (first.identity if first else {})


def _notes(asked: Asked, told: Told, ran: Ran, remarks: list[str]) -> tuple[str, ...]:
    from cimsim.session.retention import why

    aged = why(asked.mapping.chip) if ran.first else ""
    return (
        *(ran.task.notes if ran.task else ()), *told.notes, *asked.notes,
        *(ran.clip.notes if ran.clip else ()), *((aged,) if aged else ()), *remarks,
    )  # fmt: skip


def _doubts(
    asked: Asked, told: Told, statistics: dict[str, OpStatistics] | None, uncovered: list[Doubt]
) -> tuple[Doubt, ...]:
    from cimsim.session.collect import cost_doubts
    from cimsim.session.doubts import chip_doubts, run_doubts

    chip = asked.mapping.chip
    return (
        *told.doubts, *chip_doubts(chip), *(run_doubts(chip, statistics) if statistics else ()),
        *uncovered, *cost_doubts(asked.mapping.graph, chip),
    )  # fmt: skip


def _details(ran: Ran, graph: LayerGraph) -> dict[str, object]:
    """Return more of a task: its name, samples, shapes, and what its judge tells."""
    if ran.task is None:
        return {}
    shapes = [list(op.output.shape) for op in graph.inputs]
    about = {"task": ran.task.task.name, "samples": ran.task.done, "shapes": shapes}
    return about | ran.task.judge.details()


class Options(TypedDict, total=False):
    """What `run` passes on to `simulate`, which tells what it means."""

    seed: int
    schedule: Literal["pipelined", "sequential"]
    title: str | None
    identity: MappingABC[str, object] | None
    notes: Sequence[str]
    doubts: Sequence[Doubt]
    threads: int | None
    progress: Progress | None
    frame_rate_hz: float | None
    programmings: int
    command: MappingABC[str, object] | None
    metrics: Metrics
    device: str | None


def run(mapping: Mapping, task: Task, **options: Unpack[Options]) -> Result:
    """Ask a mapped network what a task asks: quality, cycles and energy per sample.

    Parameters
    ----------
    mapping : Mapping
    task : Task
        `cimsim.tasks.questions.Classification`, `Comparison`, or one of your own.
    **options
        Of `simulate`: ``seed``, ``programmings``, ``schedule``, ``threads``, ``progress`` ...

    Raises
    ------
    InputError
        Samples do not fit the network, or there are too few of them.

    Examples
    --------
    >>> from cimsim.tasks.questions import Classification  # doctest: +SKIP
    >>> from cimsim.tasks.sources import Arrays  # doctest: +SKIP
    >>> data = Arrays((images,), labels)  # doctest: +SKIP
    >>> result = cimsim.run(mapping, Classification(source=data))  # doctest: +SKIP
    >>> result.numbers()["quality.top1"].value  # doctest: +SKIP
    """
    return simulate(mapping, None, task=task, **options)
