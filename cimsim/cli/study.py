"""``cimsim study``, ``cimsim compare``, ``cimsim cache``: what studies found and what is kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cimsim.cli.checked import App
from cimsim.cli.options import JsonOption
from cimsim.cli.steps import print_json, write_out
from cimsim.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cimsim.studies.points import Row
    from cimsim.studies.store import Store
    from cimsim.studies.study import Outcome
    from cimsim.studies.table import Table

app = App(no_args_is_help=True, help="Look at a study: show, table, plot.")
cache_app = App(no_args_is_help=True, help="What is kept of earlier runs: show, clear.")


class Format(StrEnum):
    """How a table is written."""

    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


FolderArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of cimsim sweep.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--number",
        "-n",
        metavar="NAME",
        help="A number to show: psnr, fps, energy, or a full name such as energy.adc (often).",
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="LIMIT", help="Keep what holds: 'fps>=30' (SI units, often)."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME=VALUE", help="Keep one value of a setting (often)."),
]
FrontOption = Annotated[
    list[str] | None,
    typer.Option("--pareto", metavar="GOAL", help="Two goals: --pareto psnr --pareto energy."),
]


@app.command("show")
def show(
    folder: FolderArgument, number: ColumnOption = None, where: WhereOption = None,
    only: OnlyOption = None, pareto: FrontOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Print a study: what varies, its numbers with 5 .. 95 %, and what is doubtful."""
    from cimsim.display.styled import Screen
    from cimsim.studies.study import Outcome

    outcome = Outcome.load(folder)
    console = Screen()
    table = _chosen(outcome.table, where, only, pareto)
    if as_json:
        print_json(study_data(outcome, table))
        return
    print_table(table, console, f"{outcome.name}: {len(outcome.rows)} points", number)
    _print_doubts(outcome.rows, console)


@app.command("table")
def table_(
    folder: FolderArgument,
    kind: Annotated[Format, typer.Option("--format", "-f", help="How.")] = Format.csv,
    number: ColumnOption = None, where: WhereOption = None, only: OnlyOption = None,
    pareto: FrontOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it.")] = None,
) -> None:  # fmt: skip
    """Write a study's table: CSV and JSON have all numbers, markdown and LaTeX those asked for."""
    from cimsim.studies.study import Outcome

    table = _chosen(Outcome.load(folder).table, where, only, pareto)
    text = _text(table, kind, number)
    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        write_out(out, text)
        typer.echo(f"table: {out}")


@app.command("plot")
def plot(
    folder: FolderArgument,
    x: Annotated[
        str | None, typer.Option("--x", metavar="NAME", help="What varies: adc.bits.")
    ] = None,
    y: Annotated[str, typer.Option("--y", metavar="NAME", help="A number.")] = "psnr",
    where: WhereOption = None, only: OnlyOption = None, pareto: FrontOption = None,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Above it.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE",
            help="Picture: .png, .svg or .pdf; by default STUDY/study.png.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Draw a number over a setting with its band, or (--pareto, twice) what no point beats."""
    from cimsim.studies import pictures
    from cimsim.studies.study import Outcome

    out = out or folder / "study.png"
    pictures.check_name(out)
    table = _chosen(Outcome.load(folder).table, where, only, None)
    if pareto:
        pictures.pareto(table, pareto, out, title)
    else:
        varies = table.varies
        if x is None and not varies:
            raise InputError("plot: nothing varies in this study")
        pictures.over(table, x or varies[0], y, out, title)
    typer.echo(f"picture: {out}")


def compare(
    places: Annotated[
        list[Path], typer.Argument(metavar="RUN|STUDY ...", help="Folders, or a result.json.")
    ],
    number: ColumnOption = None, where: WhereOption = None, pareto: FrontOption = None,
    kind: Annotated[
        Format | None, typer.Option("--format", "-f", help="Write instead of print.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:  # fmt: skip
    """Put runs and studies beside each other: what differs, and all numbers with intervals."""
    from cimsim.display.styled import Screen
    from cimsim.studies.study import Runs
    from cimsim.studies.table import Table

    table = _chosen(Table.of(Runs.of(places).rows), where, None, pareto)
    if as_json:
        if kind not in (None, Format.json):
            raise ConfigError(f"--json: goes against --format {kind}; leave one out")
        kind = Format.json
    if kind is None:
        print_table(table, Screen(), f"{len(places)} compared", number)
        return
    text = _text(table, kind, number)
    typer.echo(text, nl=not text.endswith("\n"))


@cache_app.command("show")
def cache_show(as_json: JsonOption = False) -> None:
    """Say where results of stages are kept, how many and how large."""
    from rich.table import Table as Rich

    from cimsim.display.styled import Screen
    from cimsim.units import format_si

    store, console = _store(), Screen()
    uses = store.uses()
    if as_json:
        print_json({
            "folder": str(store.folder), "bytes": sum(use.n_bytes for use in uses),
            "limit_bytes": store.limit_bytes,
            "stages": [
                {"stage": use.stage, "entries": use.entries, "bytes": use.n_bytes} for use in uses
            ],
        })  # fmt: skip
        return
    table = Rich("stage", "entries", "size")
    for use in uses:
        table.add_row(use.stage, f"{use.entries:,}", format_si(float(use.n_bytes), "B"))
    console.print(table)
    total = format_si(float(sum(use.n_bytes for use in uses)), "B")
    limit = format_si(float(store.limit_bytes), "B")
    console.print(f"{store.folder}: {total} of at most {limit} (CIMSIM_CACHE, CIMSIM_CACHE_LIMIT)")


@cache_app.command("clear")
def cache_clear() -> None:
    """Remove all kept results of stages; nothing but time is lost."""
    typer.echo(f"{_store().clear():,} entries removed")


def _store() -> Store:
    from cimsim.studies.store import Store

    store = Store.usual()
    if store is None:
        raise ConfigError("cache: switched off by CIMSIM_CACHE=off; name a folder there")
    return store


def _chosen(
    table: Table, where: list[str] | None, only: list[str] | None, pareto: list[str] | None
) -> Table:
    from cimsim.errors import suggest
    from cimsim.studies.table import Table as Groups

    for text in only or ():
        name, _, value = text.partition("=")
        known = list({setting: 0 for group in table.groups for setting in group.settings})
        if name not in known:
            raise InputError(f"--only {text}: no setting '{name}'{suggest(name, known)}")
        table = Groups(tuple(g for g in table.groups if str(g.settings.get(name)) == value))
    table = table.where(where or ())
    return Groups(tuple(table.front(pareto))) if pareto else table


def study_data(outcome: Outcome, table: Table) -> dict[str, object]:
    """Return a study, or the part of it that a table has, as plain data in SI units."""
    return {
        "name": outcome.name, "folder": str(outcome.folder) if outcome.folder else None,
        "points": len(outcome.rows), "points_without_a_result": len(outcome.errors),
        "interrupted": outcome.interrupted, "groups": table.to_data(),
        "doubts": [{"text": text, "points": n} for text, n in _doubts(outcome.rows).items()],
    }  # fmt: skip


def print_table(
    table: Table, console: Console, title: str, numbers: list[str] | None = None
) -> None:
    """Print a table of groups, and above it what is the same in all of them."""
    from cimsim.display.styled import styled
    from cimsim.report.screen import compact

    if not table.groups:
        console.print(f"{title}: no point")
        return
    heads, lines = table.cells(numbers)
    common = ", ".join(f"{name} {value}" for name, value in table.common.items())
    chips = max((c.n for g in table.groups for c in g.cells.values()), default=1)
    told = f"; means of {chips} chips" if chips > 1 else ""
    console.print(styled("[bold]{}[/]  {}{}", title, common, told))
    varies = len(table.distinguishing)
    if sum(_widths(heads, lines)) > console.width:  # intervals below their numbers
        heads = [head.replace(" (", "\n(") for head in heads]
        lines = [[cell.replace(" (", "\n(") for cell in line] for line in lines]
    for number, columns in enumerate(_blocks(_widths(heads, lines), varies, console.width)):
        if number:
            console.print()
        shown = compact()
        for place in columns:
            side: Literal["left", "right"] = "left" if place < varies else "right"
            # names and numbers that are wider than the terminal are folded, never cut off
            shown.add_column(heads[place], justify=side, overflow="fold")
        for line in lines:
            shown.add_row(*(line[place] for place in columns))
        console.print(shown)


def _widths(heads: list[str], lines: list[list[str]]) -> list[int]:
    """Return how wide each column is, the two spaces behind it included."""
    return [
        2 + max(len(part) for cell in column for part in cell.split("\n"))
        for column in zip(heads, *lines, strict=True)
    ]


def _blocks(widths: list[int], varies: int, room: int) -> list[list[int]]:
    """Return columns of tables that fit: what varies stands in each, numbers follow."""
    first = list(range(varies))
    taken = sum(widths[:varies])
    blocks, used = [list(first)], taken
    for place in range(varies, len(widths)):
        if used + widths[place] > room + 2 and len(blocks[-1]) > varies:
            blocks.append(list(first))
            used = taken
        blocks[-1].append(place)
        used += widths[place]
    return blocks


def _doubts(rows: Sequence[Row]) -> dict[str, int]:
    """Return on how many points each doubt stands, the most frequent one first."""
    counts: dict[str, int] = {}
    for row in rows:
        for doubt in row["doubts"]:
            counts[doubt["text"]] = counts.get(doubt["text"], 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _print_doubts(rows: Sequence[Row], console: Console) -> None:
    from cimsim.display.styled import styled

    for text, n in list(_doubts(rows).items())[:10]:
        of = "" if n == len(rows) else f" ({n} of {len(rows)} points)"
        console.print(styled("[yellow]doubt:[/] {}{}", text, of))


def _text(table: Table, kind: Format, numbers: list[str] | None) -> str:
    if kind is Format.csv:
        return table.to_csv()
    if kind is Format.json:
        return table.to_json()
    return table.to_markdown(numbers) if kind is Format.markdown else table.to_latex(numbers)
