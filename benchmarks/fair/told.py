"""The comparison in words: sentences and tables in Markdown, all numbers out of the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from benchmarks.fair import decompose
from benchmarks.fair.cases import CHIPS, NETWORKS, ROWS, YARDSTICK
from benchmarks.fair.decompose import Split
from benchmarks.fair.measure import FAST, FRUGAL, HOW, IM2COL, Cell
from benchmarks.fair.quality import Judged
from benchmarks.fair.record import Record
from benchmarks.fair.stride import FORM_TITLES, FORMS, StridePoint, best_stride, steps
from benchmarks.fair.stride_db import StrideDb
from cimsim.units import format_interval, format_si

TITLES = {case.name: case.title for case in NETWORKS}
CIMNET, FOLD = "cimnet_stride8_coarse0", "foldnet_stride8_tiles3"
FOLD_SMALL = "foldnet_stride2_tiles3"  # where the chip does not hold the matrices written out
FIRST = CHIPS[0].title
ENOUGH = 1.1  # a step of the stride that gains less than this does not pay


def title(network: str) -> str:
    """Return a network's display name."""
    return TITLES.get(network, network)


def statement(record: Record, hw: str = FIRST) -> str:
    """Return the like-with-like statement of one chip: which gain is mapping, which architecture.

    Parameters
    ----------
    record : Record
    hw : str
        Title of the chip.
    """
    splits = decompose.split(_of(record.cells, hw), decompose.interval)
    fold = FOLD if any(one.network == FOLD for one in splits) else FOLD_SMALL
    told = [_sentence(record, one) for one in splits if one.network in (CIMNET, fold)]
    if not told:
        return f"Not measured on {hw} yet: `python -m benchmarks.fair --record`."
    return "\n\n".join(told)


def _sentence(record: Record, one: Split) -> str:
    name = _short(one.network)
    used = joules_of(record, one.network, one.hw, FAST)
    text = (
        f"**{name} against the block on {one.hw}, time between frames.** Both mapped plainly "
        f"(`im2col`), {name} is {_times(one.architecture_first)}. Each under the fastest mapping "
        f"that the search found for it within the chip's arrays, it is "
        f"{_times(one.architecture_then)}: that is what the architecture is worth, like with like. "
        f"The mapping alone makes the block {_times(one.mapping_first)}, and {name} "
        f"{_times(one.mapping_then)}. From the plain block to the best-mapped {name} is "
        f"{one.total:.3g} x = {one.mapping_first:.3g} x (mapping of the block) · "
        f"{one.architecture_then:.3g} x (architecture) = {one.architecture_first:.3g} x "
        f"(architecture) · {one.mapping_then:.3g} x (mapping of {name})"
    )
    share = one.architecture_share
    if math.isfinite(share) and one.total > 1:
        text += f"; over both orders, architecture is {share:.0%} of it in logarithms"
    return f"{text}.{used}"


def joules_of(record: Record, network: str, hw: str, how: str) -> str:
    """Say what the energy of a frame does, plainly mapped, fastest and at least energy."""
    table = {(c.network, c.how): c for c in _of(record.cells, hw) if c.fits}
    pairs = [((YARDSTICK.name, way), (network, way)) for way in (IM2COL, how, FRUGAL)]
    if any(place not in table for pair in pairs for place in pair):
        return ""
    told = [
        _ratio(table[block].energy_j / table[net].energy_j, table[net].block_low,
               table[net].block_high)
        for block, net in pairs
    ]  # fmt: skip
    return (
        f" Energy of a frame, block / {_short(network)}, in brackets 5 .. 95 % of what the chip's "
        f"sources allow: {told[0]} plainly mapped, {told[1]} under the fastest mappings, "
        f"{told[2]} under those of least energy."
    )


def _ratio(value: float, low: float, high: float) -> str:
    """Write a ratio with its interval, as many digits as that allows; 0 .. 0: not known."""
    if low == high == 0:
        return f"{value:.3g} x"
    return f"{format_interval(value, low, high, '1').replace('  ', ' ')} x"


def _times(factor: float) -> str:
    if factor >= 1:
        return f"{factor:.3g} times as fast"
    return f"{1 / factor:.3g} times as slow"


def _short(network: str) -> str:
    name = title(network).replace(", S = 8", " of S = 8").replace(", written out", "")
    return name.replace(", two layers", " (two layers)")


def table(record: Record, hw: str) -> str:
    """Return the table *network x mapping* of one chip."""
    lines = [
        "| network | mapping | windows | interval | first frame | energy | arrays | conversions "
        "| bottleneck | float / dB | chip / dB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    quality = {(row.network, row.how): row for row in record.judged if row.hw == hw}
    cells = {(c.network, c.how): c for c in _of(record.cells, hw)}
    for case in NETWORKS:
        for how in HOW:
            cell = cells.get((case.name, how))
            if cell is None:
                continue
            lines.append(_line(cell, quality.get((case.name, how))))
    return "\n".join(lines)


def _line(cell: Cell, judged: Judged | None) -> str:
    name = f"{title(cell.network)} | {cell.how}"
    if not cell.fits:
        return f"| {name} | does not fit | | | | | | | – | – |"
    return (
        f"| {name} ({cell.strategies}) | {cell.windows:,} | {format_si(cell.interval_s, 's')} "
        f"| {format_si(cell.latency_s, 's')} "
        f"| {format_interval(cell.energy_j, cell.energy_low_j, cell.energy_high_j, 'J')} "
        f"| {cell.arrays} "
        f"| {cell.conversions / 1e6:.3g} M | {cell.bottleneck} | {_db(judged, 'float_db')} "
        f"| {_db(judged, 'chip_db')} |"
    )


def _db(judged: Judged | None, name: str) -> str:
    if judged is None:
        return "–"
    value = f"{getattr(judged, name):.2f}"
    several = name == "chip_db" and judged.programmings > 1
    return f"{value} ± {judged.error_db:.2f}" if several else value


def trained_chips(record: Record) -> list[str]:
    """Return the titles of the chips for which networks were trained and measured."""
    known = {row.hw for row in record.judged if _is_trained(row)}
    return [hw for hw in _chips(record.cells) if hw in known]


def _is_trained(row: Judged) -> bool:
    return f"trained for {row.hw})" in row.weights


def trained_table(record: Record) -> str:
    """Return PSNR on each chip after training for it, with time, energy and arrays.

    A row for each network and chip with weights trained for that chip, under both mappings.
    """
    lines = [
        "| chip | network | float / dB | im2col: interval | energy | arrays | chip / dB "
        "| fastest: interval | energy | arrays | chip / dB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    quality = {row.place: row for row in record.judged}
    cells = {(c.network, c.hw, c.how): c for c in record.cells if c.fits}
    for hw in trained_chips(record):
        for case in NETWORKS:
            places = [(case.name, hw, how) for how in (IM2COL, FAST)]
            judged = [quality[place] for place in places if place in quality]
            if any(map(_is_trained, judged)):
                held = " | ".join(_held(cells.get(place), quality.get(place)) for place in places)
                lines.append(f"| {hw} | {case.title} | {judged[0].float_db:.2f} | {held} |")
    return "\n".join(lines)


def _held(cell: Cell | None, judged: Judged | None) -> str:
    """Return interval, energy, arrays and PSNR; a network that does not fit has none of them."""
    if cell is None:
        return "does not fit | – | – | –"
    spent = format_interval(cell.energy_j, cell.energy_low_j, cell.energy_high_j, "J")
    return f"{format_si(cell.interval_s, 's')} | {spent} | {cell.arrays} | {_db(judged, 'chip_db')}"


def split_table(record: Record, value: Callable[[Cell], float], best: str) -> str:
    """Return the table of splits over all chips, the two orders side by side."""
    lines = [
        "| chip | network | whole gain | mapping of the block, | then architecture "
        "| architecture, | then mapping of the network | share of architecture |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for hw in _chips(record.cells):
        for one in decompose.split(_of(record.cells, hw), value, best):
            share = one.architecture_share
            told = f"{share:.0%}" if one.total > 1 and math.isfinite(share) else "–"
            lines.append(
                f"| {hw} | {title(one.network)} | {one.total:.3g} x | {one.mapping_first:.3g} x "
                f"| {one.architecture_then:.3g} x | {one.architecture_first:.3g} x "
                f"| {one.mapping_then:.3g} x | {told} |"
            )
    return "\n".join(lines)


def energy_table(record: Record) -> str:
    """Return the split of energies with the intervals that shared draws give."""
    lines = [
        "| chip | network | whole gain | then architecture | architecture, | then mapping of the "
        "network |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for hw in _chips(record.cells):
        cells = {(c.network, c.how): c for c in _of(record.cells, hw) if c.fits}
        for one in decompose.split(_of(record.cells, hw), decompose.joules, FRUGAL):
            plain, best = (cells[one.network, how] for how in (IM2COL, FRUGAL))
            lines.append(
                f"| {hw} | {title(one.network)} "
                f"| {_ratio(one.total, best.whole_low, best.whole_high)} "
                f"| {_ratio(one.architecture_then, best.block_low, best.block_high)} "
                f"| {_ratio(one.architecture_first, plain.block_low, plain.block_high)} "
                f"| {_ratio(one.mapping_then, best.plain_low, best.plain_high)} |"
            )
    return "\n".join(lines)


def tables(record: Record) -> str:
    """Return the tables of all chips with what they hold for."""
    parts = []
    for hw in _chips(record.cells):
        parts += [f"### {hw}\n", table(record, hw), ""]
    parts += [*weights_told(record), ""]
    return "\n".join(parts)


def weights_told(record: Record) -> list[str]:
    """Say with which weights and on which frames quality was measured, and what has none."""
    if not record.judged:
        return ["PSNR: not measured yet; – where no weights are at hand."]
    told = []
    for clips in sorted({row.clips for row in record.judged}):
        rows = [row for row in record.judged if row.clips == clips]
        weights = sorted({f"{title(row.network)}: {row.weights}" for row in rows})
        frames = sorted({row.frames for row in rows})
        seeds = sorted({row.programmings for row in rows})
        told.append(
            f"PSNR on {clips.rpartition(' #')[0]}; {_range(frames)} of the frames, "
            f"{_range(seeds)} programming(s), σ = {rows[0].sigma:g}. Weights: {'; '.join(weights)}."
        )
    told.append(
        "– : no weights at hand or not run; windows, time, energy and arrays do not depend on "
        "weights."
    )
    return told


def _range(values: Sequence[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"


def ratios(record: Record, network: str = CIMNET) -> str:
    """Say how far one network's gain moves over chips, buses and arrays."""
    splits = decompose.split(record.cells, decompose.interval)
    found = [one for one in splits if one.network == network]
    if len(found) < 2:
        return ""
    plain = sorted(found, key=lambda one: one.architecture_first)
    best = sorted(found, key=lambda one: one.architecture_then)
    name = _short(network)
    return (
        f"Over {len(found)} chips the block takes {plain[0].architecture_first:.3g} "
        f"({plain[0].hw}) to {plain[-1].architecture_first:.3g} times ({plain[-1].hw}) the time "
        f"of {name} where both are mapped plainly, and {best[0].architecture_then:.3g} "
        f"({best[0].hw}) to {best[-1].architecture_then:.3g} times ({best[-1].hw}) where each has "
        "its best mapping."
    )


def stride_table(points: Iterable[StridePoint]) -> str:
    """Return cycles, energy, conversions and arrays over form, size of arrays and stride."""
    lines = [
        "| CIM-NET | arrays of | S | arrays | cells | activations | conversions | interval "
        "| energy | cells x interval |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {FORM_TITLES[p.model]} | {p.rows} | {p.stride} | {p.arrays:,} | {p.cells / 1e6:.3g} M "
        f"| {p.activations / 1e6:.3g} M | {p.conversions / 1e6:.3g} M "
        f"| {format_si(p.interval_s, 's')} "
        f"| {format_interval(p.energy_j, p.energy_low_j, p.energy_high_j, 'J')} "
        f"| {p.cell_seconds / 1e6:.3g} M s |"
        for p in sorted(points, key=lambda p: (list(FORMS).index(p.model), p.rows, p.stride))
    ]
    return "\n".join(lines)


def stride_told(points: Sequence[StridePoint]) -> str:
    """Say for each form and size of arrays up to which stride a larger one pays, and in what."""
    told = []
    for model, rows in sorted({(p.model, p.rows) for p in points}):
        own = sorted(
            (p for p in points if (p.model, p.rows) == (model, rows)), key=lambda p: p.stride
        )
        if len(own) < 2:
            continue
        gains = {
            "time": steps(own, lambda p: p.interval_s), "energy": steps(own, lambda p: p.energy_j),
            "conversions": steps(own, lambda p: float(p.conversions)),
            "cells times time": steps(own, lambda p: p.cell_seconds),
        }  # fmt: skip
        told.append(
            f"- **{FORM_TITLES[model].capitalize()}, arrays of {rows}**: {_least_energy(own)}, "
            f"conversions at S = {best_stride(own, lambda p: p.conversions)}, cells times time "
            f"(one frame's silicon) at S = {best_stride(own, lambda p: p.cell_seconds)}, the "
            f"interval at S = {best_stride(own, lambda p: p.interval_s)}. {_last_step(own, gains)}"
        )
    return "\n".join(told)


def stride_db_table(rows: Iterable[StrideDb], points: Iterable[StridePoint]) -> str:
    """Return PSNR over form and stride beside time, energy and arrays, a row for each weights."""
    lines = [
        "| CIM-NET | S | weights | trained | float / dB | chip / dB | arrays | conversions "
        "| interval | energy |",
        "|---|---:|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    spent = {(p.model, p.stride): p for p in points if p.rows == ROWS}
    for row in sorted(rows, key=_stride_order):
        chip, error = row.on_chip()
        at = spent.get((row.form, row.stride))
        lines.append(
            f"| {FORM_TITLES[row.form]} | {row.stride} | {row.weights} | {_training(row)} "
            f"| {row.in_float:.2f} | {chip:.2f} ± {error:.2f} | {_spent(at)} |"
        )
    return "\n".join(lines)


def _stride_order(row: StrideDb) -> tuple[object, ...]:
    """Sort by form and stride; written out before trained, in float before for the chip."""
    return (
        list(FORMS).index(row.form), row.stride, row.trained_at, row.hw, not row.shipped,
        row.weights,
    )  # fmt: skip


def _training(row: StrideDb) -> str:
    minutes = "minutes unknown" if row.minutes is None else f"{row.minutes:.0f} min"
    place = f"for {row.hw}" if row.hw else "in float"
    out = f" at S = {row.trained_at}, written out" if row.trained_at != row.stride else ""
    return f"{'shipped, ' if row.shipped else ''}{minutes}, {place}{out}"


def _spent(at: StridePoint | None) -> str:
    if at is None:
        return "– | – | – | –"
    energy = format_interval(at.energy_j, at.energy_low_j, at.energy_high_j, "J")
    return (
        f"{at.arrays} | {at.conversions / 1e6:.3g} M | {format_si(at.interval_s, 's')} | {energy}"
    )


def stride_db_told(rows: Sequence[StrideDb]) -> str:
    """Say what a larger stride with the same function loses, and what it has after training.

    Compared are two layers: a shipped weight file with itself written out, and weights that were
    given for a larger stride with the ones that were trained longest for the same chip at a smaller
    one.
    """
    told = []
    two = [row for row in rows if row.form == "cimnet_coarse0"]
    for row in sorted(two, key=_stride_order):
        for base in _bases(row, two):
            gap, error = row.on_chip(base)
            at, on = row.in_float - base.in_float, f"{gap:+.2f} ± {error:.2f} dB on the chip"
            what = "written out, untrained" if row.shipped else "each trained further"
            place = f"weights for {row.hw}" if row.hw else "float weights"
            told.append(
                f"- **S = {base.stride} to {row.stride}, {what}** ({place}: {base.weights}"
                f"{'' if row.shipped else f', {row.weights}'}): {_signed(at)} dB in float, {on}."
            )
    return "\n".join(told)


def _bases(row: StrideDb, rows: Sequence[StrideDb]) -> list[StrideDb]:
    """Return what a row is compared with: one for each smaller stride, trained at that stride."""
    fits = [
        base for base in rows if base.hw == row.hw and base.stride == base.trained_at < row.stride
    ]
    if row.shipped:
        return [base for base in fits if base.shipped and base.weights == row.weights]
    longest = {base.stride: base for base in sorted(fits, key=lambda base: base.minutes or 0.0)}
    return list(longest.values())


def strides_measured(rows: Sequence[StrideDb]) -> str:
    """Say on which frames, and what the error is."""
    first = rows[0]
    return (
        f"PSNR on {first.clips.rpartition(' #')[0]}, σ = {first.sigma:g}, "
        f"{len(first.chip_db.split())} programmings of {FIRST}, each of which sees other frames; "
        "± is the standard error over programmings, of a difference that of the differences."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def _least_energy(own: Sequence[StridePoint]) -> str:
    """Say at which stride energy is least, or between which it is a tie."""
    best = best_stride(own, lambda p: p.energy_j)
    place = next(i for i, p in enumerate(own) if p.stride == best)
    tied = [best]
    # a step whose interval holds 1 tells nothing
    if own[place].step_low < 1 < own[place].step_high:
        tied.insert(0, own[place - 1].stride)
    if place + 1 < len(own) and own[place + 1].step_low < 1 < own[place + 1].step_high:
        tied.append(own[place + 1].stride)
    if len(tied) > 1:
        return f"energy is a tie of S = {' and '.join(map(str, tied))}"
    return f"energy is least at S = {best}"


def _last_step(own: Sequence[StridePoint], gains: dict[str, list[float]]) -> str:
    """Tell what the last step gains, measure by measure; energy with its interval."""
    ends = (own[-1].step_low, own[-1].step_high)
    before, after = own[-2].stride, own[-1].stride
    told = {
        what: f"{what} {_ratio(g[-1], *ends) if what == 'energy' else f'{g[-1]:.2g} x'}"
        for what, g in gains.items()
    }
    pays = [told[what] for what, g in gains.items() if g[-1] >= ENOUGH]
    not_paid = [told[what] for what, g in gains.items() if g[-1] < ENOUGH]
    parts = []
    if pays:
        parts.append(f"gains {', '.join(pays)}")
    if not_paid:
        parts.append(f"does not pay in {', '.join(not_paid)}")
    return f"The step from S = {before} to {after} {' and '.join(parts)}."


def _chips(cells: Iterable[Cell]) -> list[str]:
    """Return the titles of the chips in the order of the cases, others behind."""
    there = dict.fromkeys(cell.hw for cell in cells)
    known = [case.title for case in CHIPS if case.title in there]
    return known + [hw for hw in there if hw not in known]


def _of(cells: Iterable[Cell], hw: str) -> list[Cell]:
    return [cell for cell in cells if cell.hw == hw]
