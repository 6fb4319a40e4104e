"""``cimsim device``: from what a laboratory measured on cells to the device of a chip file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.checked import App
from cimsim.cli.groups import grouped
from cimsim.cli.options import JsonOption
from cimsim.cli.steps import print_json

if TYPE_CHECKING:
    from rich.console import Console

    from cimsim.measured.fit import Asked, Fit

app = App(no_args_is_help=True, help="Cells that you measured: fit them.")


class Kind(StrEnum):
    """Devices that readings can become."""

    table = "table"
    eflash = "eflash"


class DriftLaw(StrEnum):
    """Courses over time."""

    power = "power"
    log = "log"
    charge = "charge"


class Conduction(StrEnum):
    """How a read draws current."""

    ohmic = "ohmic"
    gate = "gate"


@app.callback()
def _group() -> None:
    """Cells that you measured."""


@dataclass(frozen=True)
class Target:
    """What is written."""

    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the results; default: FILE-fit."),
    ] = None
    chip: Annotated[
        str | None,
        typer.Option(
            "--hw",
            metavar="CHIP",
            help="Also write DIR/chip.yaml: this chip (a name or a YAML) with the fitted cells.",
        ),
    ] = None


@dataclass(frozen=True)
class Form:
    """What the cells become, and how their files are read."""

    kind: Annotated[
        Kind | None,
        typer.Option(
            help="The measured states themselves (table), or the form of a floating-gate cell "
            "(eflash).",
            show_default="table; eflash where write-verify was logged",
        ),
    ] = None
    law: Annotated[
        DriftLaw | None,
        typer.Option(
            help="Of drift: a power of time, the logarithm of time, or the loss of charge.",
            show_default="power or log, which leaves less; charge for eflash",
        ),
    ] = None
    read_voltage: Annotated[
        str | None,
        typer.Option(metavar="V", help="Of cells whose file has currents, such as 0.1V."),
    ] = None
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Of conductances without one: uS.")
    ] = None
    time_unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Of times without one: h.")
    ] = None
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a workbook with several tables.")
    ] = None
    cells: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, help="Cells that each state averages, where no column n says."
        ),
    ] = None
    conduction: Annotated[
        Conduction,
        typer.Option(help="Whether inputs drive the cell's own voltage or its gate."),
    ] = Conduction.ohmic
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the resampling behind intervals.")
    ] = 0

    def asked(self) -> Asked:
        """Return what is asked of the fit.

        Raises
        ------
        ConfigError
            A voltage that is none, or not positive.
        """
        from cimsim.measured.fit import Asked

        return Asked(
            kind=self.kind.value if self.kind else None, law=self.law.value if self.law else None,
            volts=self._volts(), unit=self.unit, time_unit=self.time_unit, sheet=self.sheet,
            cells=self.cells, conduction=self.conduction.value, seed=self.seed,
        )  # fmt: skip

    def _volts(self) -> float | None:
        from cimsim.errors import ConfigError
        from cimsim.units import parse_quantity

        if self.read_voltage is None:
            return None
        try:
            volts = parse_quantity(self.read_voltage, "V")
        except ValueError as error:
            raise ConfigError(f"--read-voltage: {error}") from None
        if volts <= 0:
            raise ConfigError(f"--read-voltage: expected more than 0 V, got {self.read_voltage}")
        return volts


@app.command("fit")
@grouped
def fit(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="CSV or .xlsx: a row for each reading, or for each state of many cells.",
        ),
    ],
    target: Target,
    form: Form,
    as_json: JsonOption = False,
) -> None:
    """Fit mean, spread, drift, noise spectrum and write-verify of cells to a device.

    Columns, in any order: cell (or row and col), target, read, and as measured time and pulse; or
    target, mean, sigma, and time and n. Units stand in the header: target [uS], read [nA], time
    [h]. A cell that is read twice at one time tells reading from writing; 64 readings at equal
    distances tell the spectrum of its noise; a column pulse is a log of write-verify.

    DIR gets device.yaml (a section for your chip file), states.csv, fit.json with every number and
    its interval, and fit.png.

    \b
    cimsim device fit cells.csv
    cimsim device fit retention.xlsx --kind eflash --hw eflash40nm --out my_cells
    cimsim device fit states.csv --cells 128
    cimsim run --hw my_cells/chip.yaml
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.chip.load import described
    from cimsim.display.styled import Screen, styled
    from cimsim.folders import check_target
    from cimsim.measured.fit import fit_files
    from cimsim.measured.write import numbers, write_fit

    chip = target.chip
    place = target.out or files[0].with_name(f"{files[0].stem}-fit")
    check_target(place, "fit.json")
    asked = form.asked()
    base = dict(described(chip)[2]) if chip else None
    found = fit_files(files, asked)
    _check(found, chip)
    folder = write_fit(found, place, base)
    if as_json:
        print_json(numbers(found) | {"folder": str(folder)})
        return
    console = Screen(highlight=False)
    _print(found, console)
    inside = "device.yaml, states.csv, fit.json, fit.png"
    console.print(styled("fit: [bold]{}/[/]  ({})", folder, inside))
    if chip:
        console.print(f"chip: cimsim run --hw {folder}/chip.yaml")


def _check(found: Fit, chip: str | None) -> None:
    """Build the device once, so that no file is written that a chip could not read."""
    import tempfile

    from cimsim.chip.cells import build
    from cimsim.errors import ConfigError, InputError
    from cimsim.measured.write import STATES, states_csv

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / STATES
        place.write_text(states_csv(found), encoding="utf-8")
        told = found.device(str(place))
        try:
            build(str(told.pop("kind")), told)
        except ConfigError as error:
            text = str(error).replace(str(place), STATES)
            raise InputError(
                f"{', '.join(found.files)}: the fit is no device: {text}; are units and targets "
                "right?"
            ) from None


def _print(found: Fit, console: Console) -> None:
    from rich.table import Table

    from cimsim.display.styled import styled
    from cimsim.measured.write import told

    cells = f"{found.cells} cells" if found.cells else "an unknown number of cells"
    what = f"{cells}, {len(found.states)} states and times"
    console.print(styled("[bold]{}[/]: {}", ", ".join(found.files), what))
    table = Table()
    for name in ("number", "value (5 .. 95 %)", "meaning"):
        table.add_column(name, overflow="fold")
    for one in found.estimates:
        table.add_row(one.name, told(one.value, one.low, one.high, one.unit), one.meaning)
    console.print(table)
    fits = Table()
    for name in ("goodness of fit", "value", "p", "meaning"):
        fits.add_column(name, overflow="fold")
    for test in found.goodness:
        p = "" if test.p != test.p else f"{test.p:.2g}"
        fits.add_row(test.name, f"{test.value:.4g}", p, test.meaning)
    if found.goodness:
        console.print(fits)
    for note in found.all_notes:
        console.print(f"note: {note}")
