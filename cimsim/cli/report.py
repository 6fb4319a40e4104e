"""``cimsim report``: one HTML file of a run, of runs beside each other, or of a study."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.errors import InputError

if TYPE_CHECKING:
    from cimsim.session.result import Result


def report(
    context: typer.Context,
    places: Annotated[
        list[Path], typer.Argument(metavar="RUN|STUDY ...", help="Folders, or a result.json.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page.",
            show_default="report.html in the working folder",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Show it in the browser afterwards.")
    ] = False,
) -> None:
    """Write one page to send: everything about a run, or what differs between several.

    The file holds all that it shows and needs no network. One run gives its picture before and
    after, energy, time, layers, floor plan and the source of every number; several runs, or a
    study, give tables and pictures of what varies.

    \b
    cimsim run --out o && cimsim report o --open
    cimsim report runs/a runs/b --out compared.html
    cimsim report runs/study --out study.html
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.display.styled import Screen
    from cimsim.files import replacing
    from cimsim.studies.study import STUDY

    target = out or Path("report.html")
    if target.is_dir():
        raise InputError(
            f"--out {target}: is a folder; name a file such as {target / 'report.html'}"
        )
    one = len(places) == 1 and not (places[0] / STUDY).is_file()
    text = _run(context, places[0]) if one else _several(places)
    try:
        with replacing(target) as scratch:
            scratch.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out {target}: cannot be written: {error.strerror or error}") from None
    Screen(highlight=False).print(f"page: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    if open_:
        import webbrowser

        webbrowser.open(target.resolve().as_uri())


def _run(context: typer.Context, place: Path) -> str:
    from cimsim.report.run.page.build import run_page
    from cimsim.session.result import Result

    result = Result.load(place)
    return run_page(result, place if place.is_dir() else place.parent, _command(context, result))


def _command(context: typer.Context, result: Result) -> str:
    """Return the command that made a result; empty for one that Python made."""
    from cimsim.cli.verify import arguments_of
    from cimsim.report.run.page.parts import command_line

    words: list[str] = []
    if result.command is not None:
        with contextlib.suppress(InputError):  # of another version, with other options
            words = arguments_of(result.command, context)
    return command_line(words) if words else ""


def _several(places: list[Path]) -> str:
    from cimsim.report.run.page.parts import command_line
    from cimsim.studies.page import page
    from cimsim.studies.study import STUDY, Outcome, Runs

    if len(places) == 1:
        outcome = Outcome.load(places[0])
        words = ["sweep", str(places[0] / STUDY), "--out", str(places[0])]
        return page(f"Study {outcome.name}", outcome.rows, command_line(words))
    words = ["compare", *map(str, places)]
    return page(
        " and ".join(place.name for place in places), Runs.of(places).rows, command_line(words)
    )
