"""The screen of `cimsim run`: four small tables and the notes, as rich renderables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleRenderable
from rich.table import Table

from cimsim.display.styled import styled
from cimsim.energy.model import COMPONENTS, number_of
from cimsim.report.numbers import MEASURES, measured, rate, with_interval
from cimsim.report.run.against_float import classes_against_float, frames_against_float
from cimsim.report.screen import print_coverage, print_doubts
from cimsim.session.result import Result
from cimsim.tasks.measures import Measure
from cimsim.units import format_si


def print_result(result: Result, console: Console) -> None:
    """Print quality, time, energy and hardware, side by side where the terminal is wide enough."""
    frames, height, width = result.frame
    what, size = "frame", f"{width} x {height}"
    if result.details:
        what = "sample"
        size = " and ".join("x".join(map(str, shape)) for shape in result.details["shapes"])
    console.print(
        styled("[bold]{}[/] on [bold]{}[/], ", result.model, result.chip_label)
        + f"{frames} {what}{'' if frames == 1 else 's'} of {size}"
    )
    tables = [table for table in _tables(result) if table is not None]
    pairs = [tables[start : start + 2] for start in range(0, len(tables), 2)]
    for pair in pairs:
        row = Table.grid(padding=(0, 2))
        row.add_row(*pair)
        # as wide as it would like to be: a narrower one cuts its cells
        if (
            console.measure(row, options=console.options.update(width=1000)).maximum
            <= console.width
        ):
            console.print(row)
        else:
            for table in pair:
                console.print(table)
    if result.left_out:
        console.print(f"not counted: {'; '.join(result.left_out)}", highlight=False, markup=False)
    print_coverage(result.coverage, console)
    print_doubts(result.doubts, console)
    for note in result.notes:
        console.print(styled("[yellow]note:[/] {}", note))


def _tables(result: Result) -> Iterator[ConsoleRenderable | None]:
    yield _quality(result)
    yield _measures(result)
    yield _aged(result)
    yield _time(result)
    yield _energy(result)
    yield _hardware(result)
    yield _streaming(result)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold cyan", expand=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table


def _measures(result: Result) -> Table | None:
    """Return what a task or metrics measured; of a clip, aged cells have a table of their own."""
    measures = [m for m in result.measures if result.quality is None or m.interval_of != _AGED]
    if not measures:
        return None
    return _measured("Quality" if result.quality is None else "Metrics", measures)


def _aged(result: Result) -> Table | None:
    measures = [m for m in result.measures if m.interval_of == _AGED]
    if result.quality is None or not measures:
        return None
    return _measured("Quality of aged cells", measures)


def _measured(title: str, measures: Sequence[Measure]) -> Table:
    noisy = any(m.noisy is not None for m in measures)
    table = _table(title, "", *(["noisy input"] if noisy else []), "float32", "on the chip")
    for m in measures:
        text, low, high = measured(m.mean, m.interval)
        told = f" ({low}..{high})" if m.interval else ""
        others = [m.noisy, m.reference] if noisy else [m.reference]
        texts = ["" if value is None else measured(value)[0] for value in others]
        cells = [f"{one} {_unit(m)}".strip() if one else "" for one in (*texts, text)]
        table.add_row(MEASURES.get(m.name, m.name), *cells[:-1], cells[-1] + told)
    lines = []
    of = {m.interval_of for m in measures if m.interval} - {_AGED}
    if of:
        chips = len(measures[0].chip)
        one = "frames" if "frames" in of else "samples"
        text = f"mean of {chips} chips" if "programmings" in of else f"one chip, by its {one}"
        lines.append(f"in brackets: 5..95 % of the {text}")
    against = classes_against_float(measures)
    if against is not None:
        lines.append(against.line("points"))
    lines += [m.meaning for m in measures if m.interval_of == _AGED][:1]
    return _captioned(table, lines)


def _captioned(table: Table, told: Sequence[str]) -> Table:
    if told:
        table.caption, table.caption_justify = "\n".join(told), "left"
    return table


def _unit(measure: Measure) -> str:
    return "" if measure.unit == "1" else measure.unit


_AGED = "retention"


def _quality(result: Result) -> Table | None:
    quality = result.quality
    if quality is None:
        return None
    table = _table("Quality", "mean over frames", "PSNR / dB", "SSIM", "gain / dB")
    noisy = quality.mean("noisy_psnr")
    for name, label in (("noisy", "noisy input"), ("float", "float32"), ("chip", "on the chip")):
        psnr = quality.mean(f"{name}_psnr")
        if name == "noisy" and not quality.is_noisy:
            table.add_row("input", "without noise", "", "")
            continue
        gain = "" if name == "noisy" or not quality.is_noisy else f"{psnr - noisy:+.2f}"
        table.add_row(label, f"{psnr:.2f}", f"{quality.mean(f'{name}_ssim'):.4f}", gain)
    if len(result.programmings) > 1:
        chips = result.programmings
        table.add_row(f"mean of {len(chips)} chips", f"{sum(chips) / len(chips):.2f}", "", "")
    told = []
    if result.psnr_interval is not None:
        of = "programmings" if len(result.programmings) > 1 else "frames of one chip, not chips"
        _, low, high = measured(quality.psnr_db, result.psnr_interval)
        told.append(f"5..95 % of the mean over {of}: {low}..{high} dB")
    found = frames_against_float(result)
    table.add_row(found.label, found.amount, "", "", style="bold")
    return _captioned(table, [*told, *([found.told] if found.told else [])])


def _time(result: Result) -> Table:
    time = result.timing
    table = _table(
        f"Time ({time.schedule}, {format_si(time.clock_hz, 'Hz')})", "", "cycles", "time"
    )
    table.add_row("per frame", f"{time.cycles_per_frame:,}", format_si(time.seconds_per_frame, "s"))
    table.add_row(
        "latency, first frame", f"{time.latency_cycles:,}", format_si(time.latency_s, "s")
    )
    table.add_row("frames per second", "", rate(time.frames_per_second))
    table.add_row("bottleneck", "", f"{100 * time.bottleneck_busy:.0f} % busy")
    table.caption, table.caption_justify = f"bottleneck: {time.bottleneck}", "left"
    return table


def _energy(result: Result) -> Table:
    energy = result.energy
    table = _table("Energy per frame", "component", "energy", "share")
    for name, value in energy.by_component.items():
        if value == 0:  # left out, or included elsewhere: a line below says which
            continue
        share = 100 * value / energy.total_j if energy.total_j else 0.0
        label = COMPONENTS[name]
        table.add_row(label, _told(result, number_of(name), value, "J"), f"{share:.0f} %")
    table.add_section()
    total = _told(result, "energy.per_frame", energy.total_j, "J")
    table.add_row("total", total, "", style="bold")
    at = "" if energy.frame_rate_hz is None else f" at {rate(energy.frame_rate_hz)} frames/s"
    table.add_row(
        f"average power{at}",
        _told(result, "energy.average_power", energy.average_power_w, "W"),
        "",
    )
    table.add_row("TOPS/W", _told(result, "energy.tops_per_w", energy.tops_per_w, "TOPS/W"), "")
    if result.intervals:
        table.caption = "in brackets: 5..95 % of what the chip's sources allow"
        table.caption_justify = "left"
    return table


def _told(result: Result, name: str, value: float, unit: str) -> str:
    """Write a number with its interval, if it has one."""
    ends = result.intervals.get(name)
    return with_interval(value, ends, unit)


def _hardware(result: Result) -> Table:
    h = result.hardware
    table = _table("Hardware and work", "quantity", "value")
    table.add_row("arrays used", f"{h.arrays_used} of {h.arrays}")
    table.add_row("cells used in them", f"{100 * h.utilisation:.1f} %")
    table.add_row("weights", f"{h.weights:,}")
    table.add_row("area of used tiles", _told(result, "hardware.area_used", h.area_used_m2, "m2"))
    table.add_row("area of the chip", _told(result, "hardware.area", h.area_m2, "m2"))
    table.add_section()
    table.add_row("windows (MVMs) per frame", f"{h.windows:,}")
    table.add_row("array activations", f"{h.activations:,}")
    table.add_row("ADC conversions", f"{h.conversions:,}")
    table.add_row("MACs", f"{h.macs:,}")
    table.add_section()
    often = "each frame" if result.energy.by_component.get("programming") else "once"
    if result.energy.programming_s or result.energy.programming_j:
        table.add_row(f"programming, {often}", format_si(result.energy.programming_s, "s"))
        table.add_row("", format_si(result.energy.programming_j, "J"))
    else:
        table.add_row("programming", "not given")
    if result.energy.compensation_s > 0:
        table.add_row("compensation, each time", format_si(result.energy.compensation_s, "s"))
        table.add_row("", format_si(result.energy.compensation_j, "J"))
    return table


def _streaming(result: Result) -> Table | None:
    written = result.as_written
    if written is None:
        return None
    time, work = result.timing, result.hardware
    table = _table("Streaming saves", "per frame", "as written", "streaming", "ratio")
    before, after = written.energy_j, result.energy.total_j
    energies = format_si(before, "J"), format_si(after, "J")
    _compare(table, "cycles", written.cycles_per_frame, time.cycles_per_frame)
    table.add_row("energy", *energies, f"{before / after:.2f}")
    _compare(table, "latency, cycles", written.latency_cycles, time.latency_cycles)
    _compare(table, "windows (MVMs)", written.windows, work.windows)
    _compare(table, "ADC conversions", written.conversions, work.conversions)
    _compare(table, "arrays used", written.arrays_used, work.arrays_used)
    table.caption_justify = "left"
    table.caption = f"as written: {written.reused} matrices are used {written.uses} times per frame"
    return table


def _compare(table: Table, label: str, before: int, after: int) -> None:
    table.add_row(label, f"{before:,}", f"{after:,}", f"{before / after:.2f}")
