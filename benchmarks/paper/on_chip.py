"""PSNR of the shipped networks in float and on the chip, over several programmings.

python -m benchmarks.paper.on_chip --data clips --seeds 5 --frames 20 --stride-frames 5
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.paper import chip_table, document
from benchmarks.paper.chip import ChipRuns, FrameRow, read_frames
from benchmarks.paper.clips import FULL_FRAMES, ClipSet, clips_in, embedded_scenes
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.networks import Weights, all_weights, shipped_hashes
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.record import ON_CHIP
from cimsim.errors import ConfigError, suggest

FRAMES = "frames.csv"


def main(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Test clips; without: the embedded scenes."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Programmings of the chip.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = FULL_FRAMES,
    stride_frames: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Seed s looks at the frames s, s+K, s+2K, ...; 1: every seed sees every frame. "
            "K = seeds uses each frame once: compare the losses then, not the PSNRs.",
        ),
    ] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="cimnet_s8 or 'cimnet*'; several times."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Networks trained by benchmarks.paper.train as well."),
    ] = None,
    hw: Annotated[str, typer.Option(help="The chip.")] = "eflash40nm",
    sigma: Annotated[float, typer.Option(help="Noise in 8-bit steps.")] = 15.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Finished frames and tables.")] = Path(
        "out/on_chip"
    ),
    threads: Annotated[int | None, typer.Option(help="Threads of the engine.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the table into results/ and docs/paper.md.")
    ] = False,
) -> None:
    """Measure the networks, frame by frame; what is done is kept and never computed again.

    Frames of --stride-frames 5 count for a later full run: the noise, the programming and the
    reads of a frame depend on the seed and the frame alone.
    """
    console = make_console()
    clips = embedded_scenes(frames) if data is None else clips_in(data, frames)
    networks = choose(all_weights(weights, load_recipe()), only or ())
    rows, finished = measure(
        console, clips, networks, out, seeds=seeds, step=stride_frames, hw=hw, sigma=sigma,
        threads=threads,
    )  # fmt: skip
    show(console, rows)
    if not finished:
        console.print("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    if record:
        record_rows(rows)
        console.print(f"recorded in {ON_CHIP} and {document.PATH}")


def choose(networks: Sequence[Weights], only: Sequence[str]) -> list[Weights]:
    """Return the networks whose stem fits a pattern, all without patterns."""
    stems = [w.stem for w in networks]
    for name in only:
        if not any(fnmatchcase(stem, name) for stem in stems):
            raise ConfigError(f"--only {name}: no such weights{suggest(name, stems)}")
    return [w for w in networks if not only or any(fnmatchcase(w.stem, name) for name in only)]


def measure(
    console: Console,
    clips: ClipSet,
    networks: Sequence[Weights],
    out: Path,
    *,
    seeds: int,
    step: int,
    hw: str = "eflash40nm",
    sigma: float = 15.0,
    threads: int | None = None,
) -> tuple[list[chip_table.ChipRow], bool]:
    """Run what is missing, write ``on_chip.csv`` and ``on_chip.md``; return the table.

    The second value is False after Ctrl-C; the table then holds what there is.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    out.mkdir(parents=True, exist_ok=True)
    bars = Bars(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, speed_estimate_period=600,
    )  # fmt: skip
    finished = True
    with bars:
        task = bars.add_task("on chip", total=None)

        def tell(row: FrameRow, done: int, total: int) -> None:
            text = f"{row.network} seed {row.seed} {row.clip} frame {row.frame}"
            bars.update(task, description=text, completed=done, total=total)
            if not console.is_terminal:
                loss = row.float_db - row.chip_db
                console.print(f"{done}/{total} {text}: loss {loss:.3f} dB", highlight=False)

        runs = ChipRuns(clips, out / FRAMES, hw, sigma, step, threads, tell)
        try:
            frames = runs.run(networks, seeds)
        except KeyboardInterrupt:
            finished = False
            wanted = {w.card.sha256 for w in networks}
            frames = [
                row
                for row in read_frames(out / FRAMES)
                if row.sha256 in wanted
                and (row.chip, row.clips, row.sigma) == (runs.chip_id, clips.name, sigma)
            ]
    rows = chip_table.summarise(frames)
    chip_table.write(out / "on_chip.csv", rows)
    (out / "on_chip.md").write_text(
        chip_table.markdown(rows, shipped_hashes()) + "\n", encoding="utf-8"
    )
    return rows, finished


def show(console: Console, rows: Sequence[chip_table.ChipRow]) -> None:
    """Print the table."""
    columns = ("network", "clip", "seeds x frames", "noisy", "float", "on chip", "loss / dB")
    lines = [
        (
            row.network, row.clip, f"{row.seeds} x {row.frames_per_seed}", f"{row.noisy_db:.2f}",
            f"{row.float_db:.2f}", f"{row.chip_db:.2f} ± {row.chip_sd_db:.2f}",
            f"{row.loss_db:.3f} ± {row.loss_sd_db:.3f}",
        )
        for row in rows
    ]  # fmt: skip
    print_table(console, "PSNR / dB, ± over programmings", columns, lines)


def record_rows(rows: Sequence[chip_table.ChipRow]) -> None:
    """Merge the table into the committed record and rewrite it in the document."""
    kept = chip_table.merged(chip_table.read(ON_CHIP), rows)
    chip_table.write(ON_CHIP, kept)
    table = chip_table.markdown(kept, shipped_hashes())
    document.rewrite(document.PATH, {"on_chip": table})


if __name__ == "__main__":
    run_command(main)
