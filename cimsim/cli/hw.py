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
    """Print every number with its kind and source, and trees of area and energy."""
    from rich.console import Console
    from rich.table import Table

    from cimsim.hw.load import load_hw, raw_mapping
    from cimsim.report.chip_trees import area_tree, energy_tree
    from cimsim.report.provenance import rows

    chip = load_hw(hw)
    console = Console(highlight=False)
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
    console.print(area_tree(chip))
    console.print(energy_tree(chip))


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
    count = "no doubts" if not found else f"{len(found)} doubt{'s' if len(found) > 1 else ''}"
    console.print(f"{chip.name}: valid, {count}")
