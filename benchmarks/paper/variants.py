"""Train readings of CIM-NET and of the baselines, and measure what the coarse path gives in each.

python -m benchmarks.paper.variants --data clips --out out/variants --budget-steps 120 --seeds 3
python -m benchmarks.paper.variants --data clips --out out/variants --budget-minutes 30 --record
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.paper import document
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.contribution import PATHS, contribution
from benchmarks.paper.job import Budget
from benchmarks.paper.progress import train_all
from benchmarks.paper.recipe import Entry, Recipe, load_recipe
from benchmarks.paper.record import RESULTS, read_plain, write_csv
from benchmarks.paper.runner import Done, Outcome, Runner
from benchmarks.paper.spread import shown
from cimsim.zoo import registry

if TYPE_CHECKING:
    from torch import Tensor

    from cimsim.training.data import Dataset

RECIPE = Path(__file__).with_name("variants.yaml")
RECORD = RESULTS / "variants.csv"
TABLES = {"variants": ("cimnet",), "baseline_variants": ("baseline-o1", "baseline-o2")}


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One training of one variant.

    Attributes
    ----------
    model, variant, label : str
        Name in the zoo; stem; what tables call it.
    stride : int
    budget : str
        ``120 steps`` or ``3 min``.
    seed : int
    steps, crops : int
        Spent in the last stage.
    minutes : float
        Of training, all stages.
    stages : int
        1, or more where it starts from another variant's weights; each has the budget.
    noisy_db, psnr_db : float
        On the held-out crops: the input, the network.
    constant_db, zero_db : float, optional
        With the strided path's output replaced, see `benchmarks.paper.contribution`; None without
        such a path.
    """

    model: str
    variant: str
    label: str
    stride: int
    budget: str
    seed: int
    steps: int
    crops: int
    minutes: float
    stages: int
    noisy_db: float
    psnr_db: float
    constant_db: float | None
    zero_db: float | None

    @property
    def place(self) -> tuple[str, str, int]:
        """What the row is about."""
        return self.budget, self.variant, self.seed

    @property
    def gives(self) -> float | None:
        """What the strided path gives beyond a constant, dB."""
        return None if self.constant_db is None else self.psnr_db - self.constant_db


COLUMNS = tuple(field.name for field in fields(VariantRow))


def read_rows(path: Path) -> list[VariantRow]:
    """Read rows; none when there is no file."""
    return read_plain(path, VariantRow)


def write_rows(path: Path, rows: Iterable[VariantRow], new: Iterable[VariantRow]) -> None:
    """Write rows in their order, a new one in the place of an old one about the same."""
    found = {row.place: row for row in (*rows, *new)}
    lines = [
        {name: "" if value is None else value for name, value in asdict(row).items()}
        for row in found.values()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, lines)


@dataclass(frozen=True)
class Series:
    """The trainings of one seed: the recipe with that seed, what trains it, the budget of each."""

    recipe: Recipe
    runner: Runner
    budget: Budget


def measure(
    entry: Entry, series: Series, done: Done, held_out: tuple[Tensor, Tensor, Tensor]
) -> VariantRow:
    """Measure a finished network from its weight file."""
    import cimsim

    resolved = registry.info(entry.model).resolve(entry.options)
    path = PATHS.get(entry.model) if resolved.get("coarse") != 0 else None
    parts = None
    if path is not None:
        job = series.recipe.job(entry, series.budget)
        network = cimsim.load_network(entry.model, entry.options, series.runner.weights(job))
        parts = contribution(network.module, path, entry.stride or 1, held_out)
    minutes, stages, before = done.minutes, 1, entry.after
    while before is not None:
        earlier = series.recipe.named(before)
        note = Done.read(series.runner.out / earlier.stem)
        minutes, stages = minutes + (note.minutes if note else 0), stages + 1
        before = earlier.after
    return VariantRow(
        model=entry.model, variant=entry.stem, label=entry.label or entry.stem,
        stride=entry.stride or 1, budget=budget_name(series.budget), seed=done.seed,
        steps=done.steps, crops=done.crops, minutes=round(minutes, 2), stages=stages,
        noisy_db=done.noisy_db,
        psnr_db=done.psnr_db if parts is None else round(parts.whole, 4),
        constant_db=None if parts is None else round(parts.constant, 4),
        zero_db=None if parts is None else round(parts.zero, 4),
    )  # fmt: skip


def budget_name(budget: Budget) -> str:
    """Return ``120 steps``, ``3 min`` or both."""
    parts = [] if budget.steps is None else [f"{budget.steps} steps"]
    parts += [] if budget.minutes is None else [f"{budget.minutes:g} min"]
    return ", ".join(parts)


def table(rows: Sequence[VariantRow]) -> list[tuple[str, ...]]:
    """Return the cells of the table, one line for each budget and variant."""
    groups: dict[tuple[str, str], list[VariantRow]] = {}
    for row in rows:
        groups.setdefault((row.budget, row.variant), []).append(row)
    lines = []
    for group in groups.values():
        gives = [row.gives for row in group if row.gives is not None]
        first = group[0]
        budget = first.budget if first.stages == 1 else f"{first.stages} x {first.budget}"
        lines.append(
            (
                first.label, str(first.stride), budget, f"{first.crops:,}", str(len(group)),
                shown([row.psnr_db for row in group]),
                shown([row.psnr_db - row.noisy_db for row in group], sign="+"),
                shown(gives, sign="+"),
            )
        )  # fmt: skip
    return lines


HEAD = ("variant", "S", "budget", "crops", "seeds", "PSNR / dB", "gain / dB", "path gives / dB")


def markdown(rows: Sequence[VariantRow]) -> str:
    """Return the table in Markdown."""
    if not rows:
        return "(None is recorded yet.)"
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *table(rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rewrite(rows: Sequence[VariantRow], path: Path = document.PATH) -> None:
    """Write the tables into the document."""
    parts = {
        name: markdown([row for row in rows if row.model in models])
        for name, models in TABLES.items()
    }
    document.rewrite(path, parts)


def all_series(
    recipe: Recipe, data: Path, out: Path, budget: Budget, seeds: int, dataset: Dataset
) -> list[Series]:
    """Return the trainings of each seed, each with a folder of its own under that of the budget."""
    folder = out / budget_name(budget).replace(", ", "_").replace(" ", "")
    return [
        Series(recipe.seeded(seed), Runner(data, folder / f"seed{seed}", dataset=dataset), budget)
        for seed in range(seeds)
    ]


def run(
    series: Series, entries: Sequence[Entry], held_out: tuple[Tensor, Tensor, Tensor], kept: Path,
    train: Callable[..., list[Outcome]],
) -> list[Outcome]:  # fmt: skip
    """Train and measure the variants of one seed; every row is kept as soon as it is there."""

    def done(outcome: Outcome) -> None:
        rows = read_rows(kept)
        entry = series.recipe.named(outcome.network)
        place = budget_name(series.budget), entry.stem, series.recipe.common.seed
        known = outcome.state == "done before" and any(row.place == place for row in rows)
        if outcome.done is not None and not known:
            write_rows(kept, rows, [measure(entry, series, outcome.done, held_out)])

    jobs = [series.recipe.job(entry, series.budget) for entry in entries]
    return train(series.runner, jobs, done=done)


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets variants.csv and every run.")],
    budget_minutes: Annotated[
        float | None, typer.Option(help="Minutes for each training (and stage).")
    ] = None,
    budget_steps: Annotated[
        int | None, typer.Option(help="Steps for each: the same on every machine.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="cimnet_s8, 'cimnet_*' or cimnet; several times."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The optional variants of the recipe too.")
    ] = False,
    recipe: Annotated[Path, typer.Option(metavar="FILE", help="The variants.")] = RECIPE,
    record: Annotated[
        bool, typer.Option("--record", help="Write results/variants.csv and docs/paper.md.")
    ] = False,
) -> None:
    """Train each variant with each seed, one after the other; the same command goes on.

    A variant that starts from another one's weights needs that one in the same call or in --out.
    Exit code 1: a training failed; 130: interrupted.
    """
    from cimsim.training.data import load_dataset, validation_batch

    console = make_console()
    chosen = load_recipe(recipe)
    entries = chosen.select(only or (), everything=everything)
    budget = Budget(budget_minutes, budget_steps)
    common = chosen.common
    dataset = load_dataset(data, validation_scenes=common.validation_scenes)
    low, high = common.sigma or (15.0, 15.0)
    held_out = validation_batch(
        dataset, n_frames=3, sigma=(low + high) / 2, crop=common.validation_crop or 192
    )
    kept = out / "variants.csv"
    failed = interrupted = False
    for series in all_series(chosen, data, out, budget, seeds, dataset):
        outcomes = run(series, entries, held_out, kept, partial(train_all, console))
        failed = failed or any(outcome.state == "failed" for outcome in outcomes)
        if any(outcome.state == "interrupted" for outcome in outcomes):
            interrupted = True
            break
    rows = read_rows(kept)
    print_table(console, "Variants on held-out scenes", HEAD, table(rows))
    if record:
        write_rows(RECORD, read_rows(RECORD), rows)
        rewrite(read_rows(RECORD))
        console.print(f"recorded in {RECORD} and {document.PATH}")
    if interrupted:
        console.print("interrupted: the same command goes on from here")
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(main)
