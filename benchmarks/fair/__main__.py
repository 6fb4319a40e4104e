"""Compare networks like with like: each plainly mapped, and each under its best mapping.

python -m benchmarks.fair --size 960x540 --test DIR --weights DIR --out out/fair --record
python -m benchmarks.fair --hw eflash40nm --hw eflash40nm:interconnect.bytes_per_cycle=16
python -m benchmarks.fair --quick --out /tmp/fair
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.fair import page, told
from benchmarks.fair.cases import CHIPS, ChipCase, NetworkCase, find_networks
from benchmarks.fair.measure import Table
from benchmarks.fair.quality import Judge
from benchmarks.fair.record import Record
from benchmarks.fair.stride import FORMS, StridePoint, read_points, study
from benchmarks.fair.stride_db import StrideDb, measure
from benchmarks.paper.clips import FULL_FRAMES, ClipSet, clips_in, embedded_scenes
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.networks import Weights, weights_in
from cimsim.cli.options import parse_size
from cimsim.errors import ConfigError
from cimsim.units import format_si

QUICK_SIZE = (64, 128)
Jobs = list[tuple[NetworkCase, ChipCase]]


def main(
    size: Annotated[str, typer.Option(metavar="WxH", help="Frame of time and energy.")] = "960x540",
    hw: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHIP",
            help="NAME or NAME:field=value,field=value; several times. The first one gets all "
            "networks, the others the main ones.",
            show_default="seven, see benchmarks/fair/cases.py",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="cimnet_stride8_coarse0 or 'foldnet*'; on all chips; repeatable."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Weight files with cards; they win over shipped ones."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Test clips: PSNR under both mappings, on the first chip and where weights are "
            "trained for a chip.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames read of each clip.")] = FULL_FRAMES,
    stride_frames: Annotated[
        int, typer.Option(min=1, metavar="K", help="A programming sees every K-th frame.")
    ] = 10,
    crop: Annotated[
        str | None, typer.Option(metavar="WxH", help="PSNR on the middle of the clips alone.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Programmings of the chip.")] = 1,
    strides: Annotated[
        bool,
        typer.Option(
            "--strides/--no-strides",
            help="The study of stride and array size, with --test of stride and PSNR.",
        ),
    ] = True,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Small frames, two chips, four networks, embedded scenes."),
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Finished cells, mappings, frames, tables.")
    ] = Path("out/fair"),
    record: Annotated[
        bool,
        typer.Option("--record", help="Write results/, docs/like_with_like.md and its quotations."),
    ] = False,
) -> None:
    """Fill the table network x mapping on several chips, and say what is architecture in it.

    Everything finished is kept in --out, so the same command goes on after an interruption and with
    more chips or weights. A new version of cimsim needs a new --out. --record also takes what an
    interrupted run left there.
    """
    if record and quick:
        raise ConfigError("--record: not with --quick, whose frames are small")
    console = make_console()
    frame = QUICK_SIZE if quick else parse_size(size)
    chips = [ChipCase.parse(text) for text in hw or ()] or list(CHIPS[: 2 if quick else None])
    jobs = jobs_of(find_networks(only or ()), chips, every=bool(only), quick=quick)
    for chip in chips:
        _ = chip.chip  # an unknown name is told at once
    given = [] if weights is None else weights_in(weights)
    clips = _clips(test, frames, crop, quick)

    def tell(text: str) -> None:
        console.print(text, highlight=False)

    table = Table(frame, out, tell)
    judge = (
        Judge(table, clips, given, seeds, 1 if quick else stride_frames, progress=tell)
        if clips is not None
        else None
    )
    found, finished = _measured(jobs, table, judge, out / "stride.csv" if strides else None)
    show(console, found)
    found.write(out / "tables")
    if record:
        kept = Record.read().merged(found.cells, found.judged, found.points, found.strides)
        kept.write()
        page.write(kept)
        console.print(f"recorded: {page.PAGE}")
    if not finished:
        console.print("interrupted: the same command goes on from here")
        raise typer.Exit(130)


def jobs_of(
    networks: Sequence[NetworkCase], chips: Sequence[ChipCase], *, every: bool, quick: bool
) -> Jobs:
    """Return what to measure, the main networks first.

    Parameters
    ----------
    networks : sequence of NetworkCase
    chips : sequence of ChipCase
    every : bool
        All networks on all chips; else only the main ones on all but the first.
    quick : bool
        The main networks alone.
    """
    main_ones = [network for network in networks if network.main or every]
    rest = [] if every or quick else [network for network in networks if not network.main]
    jobs = [(network, chip) for chip in chips for network in main_ones]
    return jobs + [(network, chips[0]) for network in rest]


def to_judge(jobs: Jobs, given: Sequence[Weights]) -> Jobs:
    """Return the jobs whose quality is measured.

    All of the first chip; of another chip, as it is shipped, the networks that have weights trained
    for it, since what is lost without training tells nothing of a network.

    Parameters
    ----------
    jobs : list of (NetworkCase, ChipCase)
    given : sequence of Weights
        Beside the shipped ones.
    """
    first = jobs[0][1]
    return [
        (network, chip)
        for network, chip in jobs
        if chip == first or (not chip.changes and network.is_trained_for(chip.chip.name, given))
    ]


def _clips(test: Path | None, frames: int, crop: str | None, quick: bool) -> ClipSet | None:
    if test is not None:
        return clips_in(test, frames, parse_size(crop, "--crop") if crop else None)
    return embedded_scenes(1, QUICK_SIZE[0]) if quick else None


def _measured(
    jobs: Jobs, table: Table, judge: Judge | None, study_file: Path | None
) -> tuple[Record, bool]:
    """Measure what is missing; after Ctrl-C return what there is, and False."""
    points: list[StridePoint] = []
    strides: list[StrideDb] = []
    try:
        if study_file is not None:
            for model in FORMS:
                points += study(table.size, study_file, model=model, progress=table.progress)
            if judge is not None:
                strides = measure(
                    judge.clips, judge.given, table.kept / "strides",
                    seeds=judge.seeds, step=judge.step, sigma=judge.sigma, progress=judge.progress,
                )  # fmt: skip
        cells = table.fill(jobs)
        judged = [] if judge is None else judge.run(to_judge(jobs, judge.given))
    except KeyboardInterrupt:
        points = [] if study_file is None else read_points(study_file)
        kept = [] if judge is None else judge.done(to_judge(jobs, judge.given))
        return Record().merged(table.done(jobs), kept, points, strides), False
    return Record().merged(cells, judged, points, strides), True


def show(console: Console, record: Record) -> None:
    """Print the table and the statement of every chip."""
    columns = ("network", "mapping", "interval", "first frame", "energy", "arrays", "chip / dB")
    quality = {row.place: row for row in record.judged}
    rows = []
    for cell in record.cells:
        judged = quality.get((cell.network, cell.hw, cell.how))
        times = [
            format_si(value, unit) if cell.fits else "does not fit"
            for value, unit in ((cell.interval_s, "s"), (cell.latency_s, "s"), (cell.energy_j, "J"))
        ]
        told_db = "–" if judged is None else f"{judged.chip_db:.2f}"
        name = f"{cell.hw}: {told.title(cell.network)}"
        rows.append((name, cell.how, *times, str(cell.arrays), told_db))
    print_table(console, "Like with like", columns, rows)
    for hw in dict.fromkeys(cell.hw for cell in record.cells):
        console.print(told.statement(record, hw).replace("**", ""), highlight=False)
    console.print(told.stride_told(record.points).replace("**", ""), highlight=False)
    console.print(told.stride_db_told(record.strides).replace("**", ""), highlight=False)


if __name__ == "__main__":
    run_command(main)
