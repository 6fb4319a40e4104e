"""``cimsim hw``: the shipped chips, what is in them, a new one, and whether a file is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.checked import App
from cimsim.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from cimsim.chip.spec import Chip
    from cimsim.energy.ledger import Ledger

app = App(no_args_is_help=True, help="Hardware descriptions: list, show, check, new.")

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field first: --set adc.bits=6 (often)."
    ),
]
ChipArgument = Annotated[str, typer.Argument(help="A shipped name or the path of a YAML file.")]


@app.command("list")
def list_chips(as_json: JsonOption = False) -> None:
    """List the shipped hardware descriptions."""
    from cimsim.chip.load import load_hw, shipped
    from cimsim.cli.steps import print_json
    from cimsim.display.styled import Screen
    from cimsim.report.screen import compact

    if as_json:
        print_json([_brief(name, load_hw(name)) for name in shipped()])
        return
    table = compact("Chips")
    for name in ("name", "arrays", "node", "device", "what it is"):
        table.add_column(name, no_wrap=name != "what it is")
    for name in shipped():
        chip = load_hw(name)
        table.add_row(
            name, f"{chip.n_arrays} of {chip.array.rows} x {chip.array.cols}",
            f"{chip.process.node_m * 1e9:g} nm", chip.device.kind, chip.summary,
        )  # fmt: skip
    Screen().print(table)


def _brief(name: str, chip: Chip) -> dict[str, object]:
    return {
        "name": name, "arrays": chip.n_arrays, "rows": chip.array.rows, "cols": chip.array.cols,
        "node_m": chip.process.node_m, "device": chip.device.kind, "summary": chip.summary,
    }  # fmt: skip


@app.command("show")
def show(
    hw: ChipArgument,
    overrides: SetOption = None,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity", help="Which number matters most for the energy of a frame, instead."
        ),
    ] = False,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Network for --sensitivity.")
    ] = "cimnet",
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size for --sensitivity.")
    ] = "256x256",
    as_json: JsonOption = False,
) -> None:
    """Print every number with its kind and source, and trees of area and energy.

    Numbers that follow a --set are marked as rescaled, with what they were.

    \b
    cimsim hw show eflash40nm
    cimsim hw show eflash40nm --set adc.bits=6
    cimsim hw show wtm2101 --sensitivity --model fastdvdnet-block
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.chip.cells import device_of
    from cimsim.chip.load import described
    from cimsim.display.styled import Screen, styled
    from cimsim.report.chip.trees import area_tree, energy_tree

    chip, origin, raw = described(hw, overrides)
    device_of(chip, origin)
    if as_json:
        _show_json(chip, raw, (model, size) if sensitivity else None)
        return
    console = Screen(highlight=False)
    console.print(styled("[bold]{}[/]: {}", chip.label, chip.summary))
    if sensitivity:
        from cimsim.report.chip.trees import print_sensitivity

        print_sensitivity(*_ledger(chip, model, size), console)
        return
    console.print(_fields(chip, raw, console.width))
    console.print(area_tree(chip))
    console.print(energy_tree(chip))


def _fields(chip: Chip, raw: Mapping[str, object], width: int) -> Table:
    """Return the table of all numbers with their kinds and sources."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table

    from cimsim.display.styled import styled
    from cimsim.report.chip.provenance import rows

    # a narrow terminal has no room for a column of sources: they go below their fields
    wide = width >= 110
    table = Table(show_lines=False)
    table.add_column("field" if wide else "field, source", no_wrap=wide)
    table.add_column("value", no_wrap=True, justify="right")
    table.add_column("kind", no_wrap=True)
    if wide:
        table.add_column("source", overflow="fold")
    section = None
    for row in rows(chip, raw):
        head = row.path.partition(".")[0]
        if section not in (None, head):
            table.add_section()
        section = head
        value, source = row.value, row.source
        if wide:
            table.add_row(row.path, value, row.kind, source)
        else:
            below = [Padding(styled("[dim]{}[/]", source), (0, 0, 0, 2))] if source else []
            table.add_row(Group(row.path, *below), value, row.kind)
    return table


def _show_json(chip: Chip, raw: Mapping[str, object], network: tuple[str, str] | None) -> None:
    from cimsim.cli.steps import print_json
    from cimsim.report.chip import provenance, trees

    data: dict[str, object] = {"chip": chip.label, "summary": chip.summary}
    if network is not None:
        print_json(data | trees.sensitivity_data(*_ledger(chip, *network)))
        return
    print_json(data | {"fields": provenance.to_data(chip, raw)} | trees.to_data(chip))


def _ledger(chip: Chip, model: str, size: str) -> tuple[str, Ledger]:
    """Return the title of a network and its energy on a chip, arrays by their activity."""
    import cimsim
    from cimsim.cli.options import parse_size
    from cimsim.cli.steps import exported
    from cimsim.energy.idle import working
    from cimsim.energy.ledger import Ledger
    from cimsim.session.loading import RANDOM, load_network
    from cimsim.timing.simulate import simulate

    frame = parse_size(size)
    network = load_network(model, {}, RANDOM)
    mapping = cimsim.map_graph(exported(network, frame), chip)
    timeline = simulate(mapping)
    period_s = timeline.interval_s(chip.process.clock_hz)
    ledger = Ledger(
        mapping, period_s, working_s=working(mapping, timeline), spilled=timeline.spilled
    )
    return f"{network.title}, {frame[1]} x {frame[0]}", ledger


@app.command("check")
def check(
    hw: ChipArgument,
    overrides: SetOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Doubts are errors, too: exit code 2.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a description: errors end with code 2, doubts are listed.

    \b
    cimsim hw check my_chip.yaml
    cimsim hw check eflash40nm --set array.rows=512 --strict
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.chip.load import described
    from cimsim.cli.steps import print_json
    from cimsim.display.styled import Screen, styled
    from cimsim.report.chip.provenance import findings

    chip, origin, raw = described(hw, overrides)
    found = findings(chip, raw, origin)
    if as_json:
        print_json({"chip": chip.label, "valid": True, "doubts": found})
    else:
        console = Screen(highlight=False)
        for line in found:
            console.print(styled("[yellow]doubt:[/] {}", line))
        count = "no doubts" if not found else f"{len(found)} doubt{'s' if len(found) > 1 else ''}"
        console.print(f"{chip.label}: valid, {count}")
    if strict and found:
        raise typer.Exit(2)


@app.command("new")
def new(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")],
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="What is known: --set adc.bits=7 (often)."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What tables call it.", show_default="of the file")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="Where the given numbers come from: a data sheet.")
    ] = "",
    kind: Annotated[
        str,
        typer.Option("--kind", help="Of that source: measured, vendor, model, estimate."),
    ] = "vendor",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take defaults for all else.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Write the commented description of a new chip, which loads and runs as it is.

    In a terminal each number that a data sheet tells is asked for; Enter takes the default. In a
    script nothing is asked. What was not given is marked as assumed in the file. The schema is laid
    beside it, so that editors complete and check it.

    \b
    cimsim hw new my_chip.yaml
    cimsim hw new my_chip.yaml --set array.rows=256 --set 'adc.energy=1.2 pJ' --source 'ISSCC 14.3'
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.chip import new as making
    from cimsim.chip.cells import device_of
    from cimsim.chip.schema import NAME
    from cimsim.display.styled import Screen, styled
    from cimsim.errors import ConfigError, InputError
    from cimsim.files import replacing

    if out.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"{out}: expected a name that ends in .yaml")
    if out.exists() and not force:
        raise InputError(f"{out}: is there already; take another name, or --force")
    given = {}
    for pair in values or ():
        path, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: expected PATH=VALUE such as adc.bits=7")
        given[path.strip()] = making.answer(path.strip(), text)
    name = name or out.stem
    if not yes and _is_terminal():
        source = _asked(name, given, source, kind)
    text, chip = making.written(name, given, source, kind, str(out))
    device_of(chip, str(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as scratch:
            scratch.write_text(text, encoding="utf-8")
        _lay_schema(out.parent / NAME)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error}") from None
    console = Screen(highlight=False, soft_wrap=True)
    console.print(styled("written: [bold]{}[/], and {} for your editor", out, NAME))
    console.print(f"next: cimsim hw check {out}")
    console.print(f"      cimsim run --hw {out}")


def _is_terminal() -> bool:
    import sys

    return sys.stdin.isatty()


def _asked(name: str, given: dict[str, object], source: str, kind: str) -> str:
    """Ask for what was not given, each answer checked at once; return the source."""
    from cimsim.chip import new as making
    from cimsim.chip.cells import device_of
    from cimsim.errors import ConfigError

    typer.echo("Enter takes the value in brackets.")
    for question in making.QUESTIONS:
        usual = making.following(given).get(question.path, making.default(question.path))
        while question.path not in given:
            text = typer.prompt(f"{question.text} ({question.path})", default=str(usual))
            if text == str(usual):
                break
            try:
                value = making.answer(question.path, text)
                device_of(making.written(name, {**given, question.path: value}, source, kind)[1])
            except ConfigError as error:
                typer.echo(f"  {error}", err=True)
            else:
                given[question.path] = value
    if given and not source:
        source = typer.prompt("Where the given numbers come from", default="", show_default=False)
    return source


def _lay_schema(path: Path) -> None:
    """Write the schema of chips for an editor, unless one of somebody else's is there."""
    import json

    from cimsim.chip.schema import chip_schema

    if path.exists() and '"cimsim: a computing-in-memory chip"' not in path.read_text("utf-8"):
        return
    text = json.dumps(chip_schema(), indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
