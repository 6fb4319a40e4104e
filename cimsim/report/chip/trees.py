"""A chip as trees: where its area is, and where the energy of one full array goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cimsim.chip.area import area
from cimsim.chip.ledger import left_out
from cimsim.chip.spec import Chip
from cimsim.display.styled import styled
from cimsim.energy.activation import Activation, full_activation, full_array
from cimsim.energy.idle import static_power_w
from cimsim.energy.ledger import Ledger, draw, interval, sensitivity
from cimsim.energy.model import COMPONENTS, activity
from cimsim.units import format_interval, format_si

_IN_ARRAY = ("cells", "array periphery", "dac", "adc")
_IN_TILE = ("adder", "vector", "matmul", "buffer", "tile other")


def area_tree(chip: Chip) -> Tree:
    """Return chip -> tiles -> arrays -> components, each with its area and share of the chip."""
    parts = area(chip)
    total = sum(parts.values())

    def text(name: str, value: float) -> Text:
        return styled("{}  [bold]{}[/]", name, format_si(value, "m2")) + _share(value, total)

    head = styled("[bold cyan]Area[/] of the chip  [bold]{}[/]", format_si(total, "m2"))
    tree = Tree(head, guide_style="dim")
    shared = chip.adc.shared == "tile"
    in_array = {n: parts[n] for n in _IN_ARRAY if not (shared and n == "adc")}
    in_tile = {n: parts[n] for n in _IN_TILE} | ({"adc, shared": parts["adc"]} if shared else {})
    central = [
        name for name, unit in (("vector", chip.vector), ("matmul", chip.matmul))
        if unit is not None and unit.scope == "chip"
    ]  # fmt: skip
    for name in central:
        in_tile.pop(name)
    tiles = tree.add(
        text(f"{_times(chip.tile.count, 'tile')}", sum(in_array.values()) + sum(in_tile.values()))
    )
    arrays = tiles.add(
        text(
            f"{_times(chip.n_arrays, 'array')} of {chip.array.rows} x {chip.array.cols}",
            sum(in_array.values()),
        )
    )
    _leaves(arrays, in_array, text)
    _leaves(tiles, in_tile, text)
    rest = {n: v for n, v in parts.items() if n not in (*_IN_ARRAY, *_IN_TILE)}
    rest |= {name: parts[name] for name in central}
    _leaves(tree, rest, text)
    return tree


def energy_tree(chip: Chip) -> Tree:
    """Return the energy of one activation of a full array by component, and what it amounts to."""
    full = full_activation(chip)
    tree = Tree(
        styled(
            "[bold cyan]Energy[/] of one full array, activity {}  [bold]{}[/]",
            f"{activity(chip):g}",
            format_si(full.total_j, "J"),
        ),
        guide_style="dim",
    )
    for name, value in full.energy_j.items():
        if value:
            tree.add(
                styled("{}  [bold]{}[/]", COMPONENTS[name], format_si(value, "J"))
                + _share(value, full.total_j)
            )
    for line in _summary(full, chip):
        tree.add(styled("[dim]{}[/]", line))
    return tree


def to_data(chip: Chip) -> dict[str, object]:
    """Return the numbers of both trees in SI units."""
    full, parts = full_activation(chip), area(chip)
    return {
        "area_m2": sum(parts.values()),
        "area_by_component_m2": {name: value for name, value in parts.items() if value},
        "full_array": {
            "activity": activity(chip), "energy_j": full.total_j,
            "energy_by_component_j": {name: v for name, v in full.energy_j.items() if v},
            "pulses": full.pulses, "conversions": full.conversions, "macs": full.macs,
            "interval_s": full.interval_s, "tops": full.tops,
            "tops_per_w": 2 * full.macs / full.total_j / 1e12 if full.total_j else None,
        },
        "static_power_w": static_power_w_of(chip), "not_counted": list(left_out(chip)),
    }  # fmt: skip


def sensitivity_data(title: str, ledger: Ledger) -> dict[str, object]:
    """Return the numbers of `print_sensitivity`, of all fields that have an effect."""
    low, high = interval(draw(ledger).total_j)
    effects = [one for one in sensitivity(ledger) if one.high_j > one.low_j]
    spans = sum(one.high_j - one.low_j for one in effects)
    return {
        "network": title, "energy_per_frame_j": ledger.report().total_j, "low_j": low,
        "high_j": high,
        "numbers": [
            {"field": one.path, "low_j": one.low_j, "high_j": one.high_j,
             "share": (one.high_j - one.low_j) / spans}
            for one in effects
        ],
    }  # fmt: skip


def _summary(full: Activation, chip: Chip) -> list[str]:
    power, missing = static_power_w_of(chip), left_out(chip)
    return [
        f"{_times(full.pulses, 'pulse')}, {full.conversions:,} conversions, {full.macs:,} MACs",
        f"one every {format_si(full.interval_s, 's')}: {full.tops:.4g} TOPS per array",
        f"{2 * full.macs / full.total_j / 1e12:.4g} TOPS/W without what goes with time",
        f"power that goes with time, all tiles working: {format_si(power, 'W')}",
        *([f"not counted: {'; '.join(missing)}"] if missing else []),
    ]


def print_sensitivity(title: str, ledger: Ledger, console: Console, most: int = 15) -> None:
    """Print what each number's range does to the energy of a frame, the largest effect first."""
    whole, drawn = ledger.report().total_j, draw(ledger)
    told = format_interval(whole, *interval(drawn.total_j), "J")
    console.print(f"{title}: {told} per frame; one number at its 5 and 95 % point, others as given")
    table = Table(title="Sensitivity", title_justify="left", title_style="bold cyan")
    for name in ("number", "energy per frame", "share of the span"):
        table.add_column(name, justify="left" if name == "number" else "right", no_wrap=True)
    effects = [one for one in sensitivity(ledger) if one.high_j > one.low_j]
    spans = sum(one.high_j - one.low_j for one in effects)
    for one in effects[:most]:
        ends = f"{format_si(one.low_j, 'J', 2)} .. {format_si(one.high_j, 'J', 2)}"
        table.add_row(one.path, ends, f"{100 * (one.high_j - one.low_j) / spans:.0f} %")
    console.print(table)


def static_power_w_of(chip: Chip) -> float:
    """Power that goes with time with every tile at work, W."""
    tile = chip.tile.model_copy(update={"gated": False})
    return static_power_w(full_array(chip.model_copy(update={"tile": tile})))


def _leaves(tree: Tree, parts: Mapping[str, float], text: Callable[[str, float], Text]) -> None:
    for name, value in parts.items():
        if value:
            tree.add(text(name, value))


def _share(value: float, total: float) -> Text:
    return styled(f"  [dim]{100 * value / total:.1f} %[/]" if total else "")


def _times(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
