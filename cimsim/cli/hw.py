"""``cimsim hw``: the chips that are shipped, what is in them, and whether a file is right."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Hardware descriptions: list, show, check.")

ChipArgument = Annotated[str, typer.Argument(help="A shipped name or the path of a YAML file.")]


@app.command("list")
def list_chips() -> None:
    """List the shipped hardware descriptions."""
    from rich.console import Console
    from rich.table import Table

    from cimsim.hw.load import load_hw, shipped

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
def show(hw: ChipArgument) -> None:
    """Print every number of a description with its kind and source."""
    from rich.console import Console
    from rich.table import Table

    from cimsim.energy.area import area
    from cimsim.hw.load import load_hw, raw_mapping
    from cimsim.report.provenance import rows
    from cimsim.units import format_si

    chip = load_hw(hw)
    console = Console()
    console.print(f"[bold]{chip.name}[/]: {chip.summary}")
    table = Table(show_lines=False)
    table.add_column("field", no_wrap=True)
    table.add_column("value", no_wrap=True, justify="right")
    table.add_column("kind", no_wrap=True)
    table.add_column("source")
    section = None
    for row in rows(chip, raw_mapping(hw)[1]):
        head = row.path.partition(".")[0]
        if section not in (None, head):
            table.add_section()
        section = head
        table.add_row(row.path, row.value, row.kind, row.source)
    console.print(table)
    areas = area(chip)
    total = Table(title="Area", title_justify="left", title_style="bold cyan")
    total.add_column("component")
    total.add_column("area", justify="right")
    for name, value in areas.items():
        if value == 0:
            continue  # nothing of the kind, or no figure: `hw check` tells
        total.add_row(name, format_si(value, "m2"))
    total.add_section()
    total.add_row("chip", format_si(sum(areas.values()), "m2"), style="bold")
    console.print(total)


@app.command("check")
def check(hw: ChipArgument) -> None:
    """Check a description: errors end with code 2, doubts are listed."""
    from rich.console import Console

    from cimsim.hw.load import load_hw, raw_mapping
    from cimsim.report.provenance import findings

    chip = load_hw(hw)
    found = findings(chip, raw_mapping(hw)[1])
    console = Console(highlight=False)
    for line in found:
        console.print(f"[yellow]doubt:[/] {line}")
    console.print(
        f"{chip.name}: valid, {len(found)} doubts" if found else f"{chip.name}: valid, no doubts"
    )
