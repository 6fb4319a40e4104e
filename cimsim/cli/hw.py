"""``cimsim hw``: the chips that are shipped, what is in them, and whether a file is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.checked import App

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.energy.ledger import Ledger

app = App(no_args_is_help=True, help="Hardware descriptions: list, show, check.")

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field first: --set adc.bits=6 (often)."
    ),
]
ChipArgument = Annotated[str, typer.Argument(help="A shipped name or the path of a YAML file.")]


@app.command("list")
def list_chips() -> None:
    """List the shipped hardware descriptions."""
    from rich.console import Console
    from rich.table import Table

    from cimsim.chip.load import load_hw, shipped

    table = Table(title="Chips", title_justify="left", title_style="bold cyan")
    for name in ("name", "arrays", "node", "device", "what it is"):
        table.add_column(name, no_wrap=name == "name")
    for name in shipped():
        chip = load_hw(name)
        table.add_row(
            name, f"{chip.n_arrays} of {chip.array.rows} x {chip.array.cols}",
            f"{chip.process.node_m * 1e9:g} nm", chip.device.kind, chip.summary,
        )  # fmt: skip
    Console().print(table)


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
) -> None:
    """Print every number with its kind and source, and trees of area and energy.

    Numbers that follow a --set are marked as rescaled, with what they were.

    \b
    cimsim hw show eflash40nm
    cimsim hw show eflash40nm --set adc.bits=6
    cimsim hw show wtm2101 --sensitivity --model fastdvdnet-block
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from cimsim.chip.cells import device_of
    from cimsim.chip.load import described
    from cimsim.report.chip_trees import area_tree, energy_tree
    from cimsim.report.provenance import rows

    chip, origin, raw = described(hw, overrides)
    device_of(chip, origin)
    console = Console(highlight=False)
    console.print(f"[bold]{escape(chip.label)}[/]: {escape(chip.summary)}")
    if sensitivity:
        from cimsim.report.chip_trees import print_sensitivity

        print_sensitivity(*_ledger(chip, model, size), console)
        return
    # a narrow terminal has no room for a column of sources: they go below their fields
    wide = console.width >= 110
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
        value, source = escape(row.value), escape(row.source)
        if wide:
            table.add_row(row.path, value, row.kind, source)
        else:
            below = f"\n  [dim]{source}[/]" if source else ""
            table.add_row(f"{row.path}{below}", value, row.kind)
    console.print(table)
    console.print(area_tree(chip))
    console.print(energy_tree(chip))


def _ledger(chip: Chip, model: str, size: str) -> tuple[str, Ledger]:
    """Return the title of a network and its energy on a chip, arrays by their activity."""
    import cimsim
    from cimsim.cli.options import parse_size
    from cimsim.cli.steps import trace
    from cimsim.energy.idle import working
    from cimsim.energy.ledger import Ledger
    from cimsim.loading import RANDOM, load_network
    from cimsim.timing.simulate import simulate

    frame = parse_size(size)
    network = load_network(model, {}, RANDOM)
    mapping = cimsim.map_graph(trace(network, frame), chip)
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
) -> None:
    """Check a description: errors end with code 2, doubts are listed.

    \b
    cimsim hw check my_chip.yaml
    cimsim hw check eflash40nm --set array.rows=512 --strict
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from rich.console import Console
    from rich.markup import escape

    from cimsim.chip.load import described
    from cimsim.report.provenance import findings

    chip, origin, raw = described(hw, overrides)
    found = findings(chip, raw, origin)
    console = Console(highlight=False)
    for line in found:
        console.print(f"[yellow]doubt:[/] {escape(line)}")
    count = "no doubts" if not found else f"{len(found)} doubt{'s' if len(found) > 1 else ''}"
    console.print(f"{escape(chip.label)}: valid, {count}")
    if strict and found:
        raise typer.Exit(2)
