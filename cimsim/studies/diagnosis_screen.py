"""The screen of `cimsim diagnose`: what hurts most, by pair, by layer and by cause."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cimsim.display.styled import styled
from cimsim.report.screen import compact, folded
from cimsim.studies.diagnosis_result import DECIBELS, WITHIN, Attribution, Diagnosis
from cimsim.studies.switching import GROUPS

_SHOWN = 10  # pairs of layer and cause
_WIDE = 110  # columns of a terminal that has room for SNRs by cause
_ROOMY = 100  # columns of one that has room for a second measure
_DOUBT = "doubt: "
_LABEL = 26  # columns of a layer's name


def print_diagnosis(diagnosis: Diagnosis, console: Console, top: int = _SHOWN) -> None:
    """Print what was lost, what of it each pair, layer and cause gives, and how sure that is."""
    console.print(
        styled("[bold]{}[/] on [bold]{}[/]: {}", diagnosis.network, diagnosis.chip, diagnosis.asked)
    )
    for one in diagnosis.attributions:
        console.print(lost(one), highlight=False, markup=False)
    console.print(_pairs(diagnosis, top, console.width))
    console.print(_layers(diagnosis, console.width))
    console.print(_causes(diagnosis, console.width))
    if diagnosis.switched:
        console.print(_switched(diagnosis))
    for line in words(diagnosis):
        doubt, told = line.startswith(_DOUBT), line.removeprefix(_DOUBT)
        console.print(styled("[yellow]doubt:[/] {}" if doubt else "{}", told))
    for note in diagnosis.notes:
        console.print(styled("[yellow]note:[/] {}", note))


def _telling(diagnosis: Diagnosis, width: int) -> list[Attribution]:
    """Return what has a column: the first, and others that hold."""
    first, *others = diagnosis.attributions
    return [first, *(one for one in others if one.loss and one.holds and width >= _ROOMY)]


def lost(one: Attribution) -> str:
    """Say in a sentence what was lost."""
    if one.name == "output error":
        return f"signal to error of the outputs, chip against float32: {_db(one.on_chip or 0)} dB"
    unit = "%" if one.unit == "points" else one.unit
    return (
        f"{one.name}: float32 {one.reference:.2f} {unit}, on the chip {one.on_chip:.2f} {unit}, "
        f"lost {one.loss:.2f} {one.unit}"
    )


def words(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield in plain sentences how the numbers are to be read."""
    first = diagnosis.first
    off = first.unexplained
    share = abs(off / first.loss) if first.loss else 0.0
    yield (
        f"Sum over layers and causes: {first.total:.3g} {first.unit} of {first.loss:.3g} "
        f"({share:.1%} off). Gives: what mending one is worth, mean over all orders of mending."
    )
    if not first.holds:
        yield (
            f"{_DOUBT}the sum is more than {WITHIN:.0%} off: operations between the "
            "layers bend what the errors do; read the order of the rows, not their size"
        )
    if any(value < 0 for value in first.by_cause.values()):
        yield "Negative: this error happens to take back some of another one."
    if diagnosis.detailed < diagnosis.samples:
        yield (
            f"Causes were told apart on {diagnosis.detailed} of {diagnosis.samples} samples, "
            "layers on all."
        )
    if diagnosis.run_s > 0:
        yield (
            f"Processor time: {diagnosis.run_s:.1f} s to program, calibrate and run, "
            f"{diagnosis.all_s:.1f} s with all of this "
            f"({diagnosis.all_s / diagnosis.run_s:.1f} times)."
        )


def _pairs(diagnosis: Diagnosis, top: int, width: int) -> Table:
    ranked = diagnosis.first.ranked
    shown = [pair for pair in ranked[:top] if pair[2] != 0]
    table = compact(f"What hurts most ({len(shown)} of {len(ranked)} pairs of layer and cause)")
    table.add_column("layer", no_wrap=True)
    table.add_column("cause", no_wrap=True)
    _add_gives(table, diagnosis, width)
    table.add_column("SNR / dB", justify="right", no_wrap=True)
    snr = {layer.name: layer.snr_by_cause_db for layer in diagnosis.layers}
    for name, cause, _ in shown:
        gives = [_number(a.gives.get(name, {}).get(cause, 0.0)) for a in _telling(diagnosis, width)]
        ratio = snr[name].get(cause)
        table.add_row(
            Text(folded(name, _LABEL)), cause, *gives, "" if ratio is None else _db(ratio)
        )
    return table


def _layers(diagnosis: Diagnosis, width: int) -> Table:
    table = compact("By layer")
    table.add_column("layer", no_wrap=True)
    _add_gives(table, diagnosis, width)
    table.add_column("SNR / dB\nalone", justify="right", no_wrap=True)
    table.add_column("with all\nbefore", justify="right", no_wrap=True)
    causes = list(diagnosis.first.by_cause) if width >= _WIDE else []
    causes = causes[: max(0, (width - 80) // 11)]
    for cause in causes:
        first, _, second = cause.partition(" ")
        table.add_column(f"{first}\n{second}", justify="right", no_wrap=True)
    if not causes:
        table.add_column("worst cause", no_wrap=True)
    by_layer = [one.by_layer for one in _telling(diagnosis, width)]
    layers = sorted(diagnosis.layers, key=lambda layer: -by_layer[0].get(layer.name, 0.0))
    for layer in layers:
        gives = [_number(sums.get(layer.name, 0.0)) for sums in by_layer]
        row = diagnosis.first.gives.get(layer.name, {})
        worst = max(row, key=lambda cause: row[cause]) if row else ""
        texts = [_db(layer.snr_by_cause_db[c]) if c in layer.snr_by_cause_db else ""
                for c in causes] or [worst]  # fmt: skip
        table.add_row(
            Text(folded(layer.name, _LABEL)), *gives, _db(layer.snr_alone_db),
            _db(layer.snr_db), *texts,
        )  # fmt: skip
    return table


def _causes(diagnosis: Diagnosis, width: int) -> Table:
    table = compact("By cause, all layers")
    table.add_column("cause", no_wrap=True)
    _add_gives(table, diagnosis, width)
    by_cause = [one.by_cause for one in _telling(diagnosis, width)]
    for cause in by_cause[0]:
        table.add_row(cause, *(_number(sums.get(cause, 0.0)) for sums in by_cause))
    table.add_section()
    table.add_row("sum", *(_number(one.total) for one in _telling(diagnosis, width)))
    return table


def _switched(diagnosis: Diagnosis) -> Table:
    unit, by_cause = diagnosis.first.unit, diagnosis.first.by_cause
    table = compact("Measured: the whole chip without a cause, and with it alone")
    table.add_column("switched", no_wrap=True)
    for head in (f"gives\n{unit}", "gained\nwithout it", "lost to it\nalone", "mean of\nboth"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in diagnosis.switched:
        gives = sum(by_cause.get(cause, 0.0) for cause in GROUPS[one.cause])
        table.add_row(one.cause, *map(_number, (gives, one.off, one.on, (one.off + one.on) / 2)))
    return table


def _add_gives(table: Table, diagnosis: Diagnosis, width: int) -> None:
    """Add a column for what each measure that has one gives."""
    for one in _telling(diagnosis, width):
        table.add_column(_head(one), justify="right", no_wrap=True)


def _head(one: Attribution) -> str:
    return f"gives\n{one.unit} {one.name}" if one.name != "output error" else "of the\nerror / %"


def _number(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _db(value: float) -> str:
    return "exact" if value >= DECIBELS else f"{value:.1f}"
