"""Evaluate the networks and draw every figure of the paper.

python -m benchmarks.paper --quick
python -m benchmarks.paper --data clips --weights out/paper --record
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.paper import chip_table, comparison, document, on_chip, orderings
from benchmarks.paper.clips import (
    FULL_FRAMES,
    QUICK_FRAMES,
    ClipSet,
    clips_in,
    embedded_scenes,
)
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.evaluate import Evaluator
from benchmarks.paper.networks import all_weights
from benchmarks.paper.recipe import DEFAULT, Recipe, load_recipe
from benchmarks.paper.record import FLOAT, ON_CHIP, merged, read, write
from benchmarks.paper.results import Results, gather, recordable
from benchmarks.paper.style import Drawn
from cimsim.errors import ConfigError

FIGURES = ("fig04", "fig06", "fig09", "fig10", "fig11")
SEEDS = 5


def main(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Test clips: folders of images or videos.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What benchmarks.paper.train wrote.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Figures and tables.")] = Path(
        "out/figures"
    ),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A few frames, of the embedded scenes without --data."),
    ] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help=f"Frames of a clip: {FULL_FRAMES}, {QUICK_FRAMES}.")
    ] = None,
    figure: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only fig04, fig06, ...")
    ] = None,
    chip: Annotated[
        bool,
        typer.Option(
            "--chip/--no-chip", help="Measure on the chip too: 5 programmings, 1 with --quick."
        ),
    ] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda, for the float networks.")] = "cpu",
    recipe: Annotated[Path, typer.Option(metavar="FILE", help="Names the networks.")] = DEFAULT,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Write results/*.csv, docs/paper.md and its figures; needs --weights."
        ),
    ] = False,
) -> None:
    """Draw the figures from the networks at hand; the rest comes from the committed record.

    What was measured into --out before is not measured again for the same weights and clips.
    """
    console = make_console()
    names = _figures(figure or ())
    if record and (weights is None or data is None or quick):
        raise ConfigError("--record: needs --data and --weights, and no --quick")
    networks = load_recipe(recipe)
    count = frames or (QUICK_FRAMES if quick else FULL_FRAMES)
    clips = _clips(data, quick, count)
    on_chip_rows = chip_table.read(ON_CHIP)
    if chip:
        seeds = 1 if quick else SEEDS
        new_rows = _on_chip(console, clips, networks, weights, out, seeds)
        on_chip_rows = chip_table.merged(on_chip_rows, new_rows)
        if record:
            on_chip.record_rows(new_rows)
    sets = [clips, embedded_scenes()] if record else [clips]
    found = [_evaluate(console, one, networks, weights, out, device) for one in sets]
    if record:
        new = [row for results in found for row in recordable(results)]
        write(FLOAT, merged(read(FLOAT), new))
    drawn = draw(found[0], names, out)
    lines = comparison.compare(comparison.load_published(), found[0], on_chip_rows)
    comparison.save(lines, out / "comparison.csv")
    table = comparison.markdown(lines, found[0].clips)
    (out / "comparison.md").write_text(table + "\n", encoding="utf-8")
    _show(console, found[0], lines)
    if record:
        parts = document.figure_parts(drawn, out)
        parts |= {"comparison": table, "orderings": orderings.markdown(found[0])}
        document.rewrite(document.PATH, parts)
        console.print(f"recorded in {FLOAT.parent} and {document.PATH}")
    console.print(f"figures and tables: {out}")


def draw(results: Results, names: Sequence[str], out: Path) -> list[Drawn]:
    """Draw and save figures, and ``captions.md`` beside them."""
    drawn: list[Drawn] = [import_module(f"benchmarks.paper.{name}").draw(results) for name in names]
    for one in drawn:
        one.save(out)
    text = "".join(f"**{one.name}.** {one.caption}\n\n" for one in drawn)
    (out / "captions.md").write_text(text, encoding="utf-8")
    return drawn


def _figures(asked: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in FIGURES:
            raise ConfigError(f"--figure {name}: unknown; known: {', '.join(FIGURES)}")
    return [name for name in FIGURES if not asked or name in asked]


def _clips(data: Path | None, quick: bool, frames: int) -> ClipSet:
    if data is not None:
        return clips_in(data, frames)
    if not quick:
        raise ConfigError("--data: missing; name a folder of test clips, or take --quick")
    return embedded_scenes(frames)


def _evaluate(
    console: Console, clips: ClipSet, recipe: Recipe, weights: Path | None, out: Path, device: str
) -> Results:
    recorded = read(FLOAT)
    shown = {row.network for row in recorded}
    entries = [entry for entry in recipe.networks if not entry.optional or entry.stem in shown]
    out.mkdir(parents=True, exist_ok=True)
    with console.status("evaluating") as status:

        def tell(text: str) -> None:
            status.update(f"evaluating {text}")

        evaluator = Evaluator(clips, out / "float.csv", device, tell)
        return gather(evaluator, entries, weights, recorded)


def _on_chip(
    console: Console, clips: ClipSet, recipe: Recipe, weights: Path | None, out: Path, seeds: int
) -> list[chip_table.ChipRow]:
    """Measure on the chip; the programmings share the frames of a clip."""
    networks = all_weights(weights, recipe)
    step = min(seeds, *(len(clip) for clip in clips.clips.values()))
    rows, finished = on_chip.measure(console, clips, networks, out, seeds=seeds, step=step)
    on_chip.show(console, rows)
    if not finished:
        console.print("interrupted: the same command goes on from here; --no-chip leaves it out")
        raise typer.Exit(130)
    return rows


def _show(console: Console, results: Results, lines: Sequence[comparison.Line]) -> None:
    points = []
    for point in results.points:
        row = point.row
        clips = "; ".join(f"{name} {value:.2f}" for name, value in row.per_clip.items())
        origin = f"{point.origin}, shipped" if point.shipped else point.origin
        points.append((row.network, f"{row.sigma:g}", f"{row.psnr_db:.2f}", origin, clips))
    columns = ("network", "sigma", "PSNR / dB", "origin", "clips")
    print_table(console, results.clips, columns, points)
    rows = [(one.quantity, one.paper, one.ours_float, one.ours_on_chip, one.unit) for one in lines]
    columns = ("quantity", "paper", "ours, float", "ours, on eflash40nm", "unit")
    print_table(console, "Paper and ours", columns, rows)


if __name__ == "__main__":
    run_command(main)
