"""The story on one page: program, calibrate, execute, time, energise, report.

One mapping, three answers: the same `Mapping` is executed for quality, timed for cycles and charged
for energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cimsim.boundary.arguments import choice, number, whole
from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping

if TYPE_CHECKING:
    from cimsim.display.doubts import Doubt
    from cimsim.graph.ir import LayerGraph
    from cimsim.session.frames import Clip, Progress
    from cimsim.session.functional import FunctionalRun
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.session.result import Result
    from cimsim.tasks.metrics import AbstractMetric, Metrics
    from cimsim.tasks.questions import Score, Task
    from cimsim.tasks.running import TaskRun
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
    identity: dict[str, Any] | None = None,
    notes: Sequence[str] = (),
    doubts: Sequence[Doubt] = (),
    threads: int | None = None,
    progress: Progress | None = None,
    as_written: Mapping | None = None,
    programmed: ProgrammedChip | None = None,
    operands: Clip | None = None,
    frame_rate_hz: float | None = None,
    programmings: int = 1,
    command: dict[str, Any] | None = None,
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
    from cimsim.chip.ledger import left_out
    from cimsim.energy.idle import working
    from cimsim.energy.ledger import Ledger, draw, sensitivity
    from cimsim.engine.on_torch import reading_on
    from cimsim.engine.workers import one_torch_thread
    from cimsim.graph.coverage import coverage
    from cimsim.session import collect, retention
    from cimsim.session.doubts import chip_doubts, run_doubts
    from cimsim.session.environment import environment
    from cimsim.session.functional import FunctionalRun, operand_sums
    from cimsim.session.result import Result
    from cimsim.tasks.running import TaskRun, measures
    from cimsim.timing.simulate import simulate as simulate_timing

    seed = whole("seed", seed, 0, 2**63 - 1, InputError)
    programmings = whole("programmings", programmings, 1, 1_000_000, InputError)
    choice("schedule", schedule, ("pipelined", "sequential"), InputError)
    if threads is not None:
        threads = whole("threads", threads, 1, 4096, InputError)
    report = progress or (lambda stage, done, total: None)
    graph = mapping.graph
    run: FunctionalRun | None = None
    kinds = _metrics(metrics, clip, task)
    asked = None if task is None else TaskRun(mapping, task, seed, threads, kinds)
    if task is not None and (clip is not None or operands is not None or programmed is not None):
        raise InputError("task: a task brings its own inputs; leave out clip, operands, programmed")
    if as_written is not None:
        collect.check_same_network(as_written, mapping)
    if operands is not None and clip is not None:
        raise InputError("operands: a clip that runs gives the operands itself; leave one out")
    if programmed is not None and (clip is None or calibration is not None):
        what = "needs a clip to run" if clip is None else "is calibrated: leave out calibration"
        raise InputError(f"programmed: a programmed chip {what}")
    runs = clip is not None or task is not None
    if programmings > 1 and (not runs or programmed is not None):
        raise InputError(
            "programmings: expected more than 1 only with a clip and without a programmed chip, "
            f"got {programmings}"
        )
    if noise_sigma is not None:
        noise_sigma = number("noise_sigma", noise_sigma, 0, 255, InputError)
    noise_sigma, sigma_told = _noise(clip, noise_sigma, noisy, reference, programmings)
    report("timing", 0, 1)
    timeline = simulate_timing(mapping, schedule=schedule)
    report("timing", 1, 1)
    period_s = collect.frame_period_s(mapping, timeline, frame_rate_hz)
    if clip is not None:
        run = FunctionalRun(
            mapping, clip, noise_sigma, seed, threads, noisy=noisy, reference=reference,
            metrics=kinds,
        )  # fmt: skip
        with one_torch_thread(), reading_on(device):
            if programmed is None:
                run.prepare(calibration, report)
            else:
                run.take(programmed)
            run.execute(report)
    with reading_on(device):
        others, scores, learned = _others(
            run, asked, mapping, clip, noise_sigma, seed, programmings, calibration, threads,
            report, noisy, reference, kinds,
        )  # fmt: skip
    with one_torch_thread(), reading_on(device):
        kept = retention.of_clip(run, report) if run else ()
        kept = retention.of_task(asked, learned, report) if asked else kept
    did = run or asked
    sums, sums_from = did.conductance_sums if did else None, "operands"
    if operands is not None:
        sums, sums_from = (
            operand_sums(mapping, operands, noise_sigma, seed, calibration),
            "statistics",
        )
    ledger = Ledger(
        mapping, period_s, sums, working(mapping, timeline), sums_from, timeline.spilled
    )
    spent, drawn = ledger.report(), draw(ledger)
    statistics = did.statistics.by_op if did is not None and did.statistics is not None else None
    covered = coverage(graph, mapping.chip)
    written = None
    if as_written is not None:
        longer = simulate_timing(as_written, schedule=schedule)
        written = collect.as_written(as_written, longer, mapping, sums, frame_rate_hz)
    inputs = collect.resolved_inputs(mapping, schedule, identity or {"model": graph.name})
    inputs |= {"as_written": collect.mapping_hash(as_written)} if as_written else {}
    inputs |= {"programmings": programmings} if programmings > 1 else {}
    inputs |= {"arrays": "torch"} if device is not None and did else {}
    inputs |= {"frame_rate_hz": frame_rate_hz} if frame_rate_hz is not None else {}
    height, width = graph.inputs[0].output.grid
    quality = run.quality() if run else None
    return Result(
        model=title or graph.name,
        frame=(len(run.chip) if run else asked.done if asked else 0, height, width),
        quality=quality,
        programmings=(quality.psnr_db, *others) if quality else (),
        timing=collect.timing(mapping, timeline),
        energy=collect.energies(
            mapping, spent, did.pulses_per_cell if did else None, frame_rate_hz
        ),
        hardware=collect.hardware(mapping),
        layers=collect.rows(mapping, timeline, spent, statistics, drawn.by_layer),
        inputs=inputs | (did.identity if did else {}),
        notes=(
            *(asked.notes if asked else ()),
            *notes,
            *sigma_told,
            *(run.notes if run else ()),
            *((why,) if did and (why := retention.why(mapping.chip)) else ()),
            *collect.remarks(mapping, spent, timeline),
        ),
        frames=run.frames if run else {},
        doubts=(
            *doubts,
            *chip_doubts(mapping.chip),
            *(run_doubts(mapping.chip, statistics) if statistics else ()),
            *collect.coverage_doubts(covered),
            *collect.cost_doubts(graph, mapping.chip),
        ),
        intervals=drawn.intervals(),
        sensitivity=tuple(sensitivity(ledger)),
        as_written=written,
        programmed=None if programmed is None else programmed.told,
        environment=environment(device if did else None),
        outputs=run.digests if run else {},
        command=command,
        left_out=left_out(mapping.chip),
        measures=(*(measures(scores) if scores else ()), *kept),
        details={"task": asked.task.name, "samples": asked.done, "shapes": _shapes(graph)}
        | asked.judge.details()
        if asked
        else {},
        coverage=covered,
    )


def _noise(
    clip: Clip | LongClip | None, sigma: float | None, noisy: bool,
    reference: Clip | LongClip | None, programmings: int,
) -> tuple[float, tuple[str, ...]]:  # fmt: skip
    """Check what goes with a noisy clip; return sigma and, where it was estimated, a note."""
    if noisy and clip is None:
        raise InputError("noisy: there is no clip; give one, or leave noisy out")
    if reference is not None and not noisy:
        raise InputError("reference: the clip itself is clean; give noisy=True with a noisy one")
    if programmings > 1 and noisy and reference is None:
        raise InputError("programmings: the PSNR of several chips needs a clean reference")
    if sigma is not None or not noisy:
        return 15.0 if sigma is None else sigma, ()
    return estimated_sigma(clip)


def run(mapping: Mapping, task: Task, **options: Any) -> Result:
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


def _shapes(graph: LayerGraph) -> list[list[int]]:
    return [list(op.output.shape) for op in graph.inputs]


def _others(
    run: FunctionalRun | None, asked: TaskRun | None, mapping: Mapping,
    clip: Clip | LongClip | None, sigma: float, seed: int, programmings: int,
    calibration: Clip | None, threads: int | None, report: Progress, noisy: bool,
    reference: Clip | LongClip | None, metrics: Sequence[type[AbstractMetric]],
) -> tuple[list[float], list[list[Score]], dict[str, Any]]:  # fmt: skip
    """Run the further chips.

    Returns
    -------
    list of float
        Their PSNR where a clip is denoised, dB.
    list of list of Score
        Scores of every chip, the first one's first; empty without task and metrics.
    dict
        What chips that are asked a task share.
    """
    if asked is not None:
        return [], *_asked(asked, programmings, report)
    if run is None or clip is None:
        return [], [], {}
    found = _repeated(
        mapping, clip, sigma, seed, programmings, calibration, threads, report, noisy, reference,
        metrics,
    )  # fmt: skip
    scores = [run.scores(), *(scores for _, scores in found)] if metrics else []
    return [psnr for psnr, _ in found], scores, {}


def _asked(
    first: TaskRun, programmings: int, report: Progress
) -> tuple[list[list[Score]], dict[str, Any]]:
    """Program and ask one chip after another; return the scores of each, and what all share."""
    from cimsim.engine.workers import one_torch_thread
    from cimsim.tasks.running import TaskRun

    found, learned = [], None
    for chip in range(programmings):
        run = first if chip == 0 else TaskRun(
            first.mapping, first.task, first.seed + chip, first.threads, first.metrics
        )  # fmt: skip
        with one_torch_thread():
            learned = run.prepare(report, learned)
            run.execute(report)
        found.append(run.scores())
        if run.done < run.task.count:
            break
    return found, learned or {}


def _repeated(
    mapping: Mapping, clip: Clip | LongClip, sigma: float, seed: int, programmings: int,
    calibration: Clip | None, threads: int | None, report: Progress,
    noisy: bool = False, reference: Clip | LongClip | None = None,
    metrics: Sequence[type[AbstractMetric]] = (),
) -> list[tuple[float, list[Score]]]:  # fmt: skip
    """Return the mean PSNR of further chips on the same noisy frames, dB, and their metrics."""
    from cimsim.engine.workers import one_torch_thread
    from cimsim.session.functional import FunctionalRun

    found = []
    for chip in range(1, programmings):
        run = FunctionalRun(
            mapping, clip, sigma, seed + chip, threads, noise_seed=seed, noisy=noisy,
            reference=reference, metrics=metrics,
        )  # fmt: skip
        with one_torch_thread():
            run.prepare(calibration, report)
            run.execute(report)
        quality = run.quality()
        assert quality is not None
        found.append((quality.psnr_db, run.scores()))
    return found


def _metrics(
    asked: Metrics, clip: Clip | LongClip | None, task: Task | None
) -> tuple[type[AbstractMetric], ...]:
    """Return the classes of metrics, checked for what there is to judge."""
    from cimsim.tasks.metrics import metrics_of

    if not asked:
        return ()
    if clip is None and task is None:
        raise InputError("metrics: nothing runs that they could judge; give a clip or a task")
    if task is None:
        return metrics_of(asked, ("frames",), "a clip")
    return metrics_of(asked, ("labels", "outputs"), "a task")


def estimated_sigma(clip: Clip | LongClip | None) -> tuple[float, tuple[str, ...]]:
    """Estimate the noise of a noisy clip, in 8-bit steps, and say so.

    Returns
    -------
    float
    tuple of str
        A note for the result.
    """
    from cimsim.session.frames import as_float
    from cimsim.video.clip import Clip as Opened
    from cimsim.video.sigma import estimate_sigma

    sigma = clip.sigma() if isinstance(clip, Opened) else estimate_sigma(as_float(clip, noisy=True))
    return sigma, (
        f"sigma {sigma:.1f} estimated from the clip's finest wavelet coefficients (--sigma says "
        "otherwise): texture raises it, compression lowers it",
    )
