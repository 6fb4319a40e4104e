"""Rows of a study as a table: chips on the same frames put together, with intervals.

A mean over chips has the interval of Student's t-distribution, 5 .. 95 %. A number that no chip
changes has its own: that of the ranges of the chip description (`cimsim.energy.ledger`).
"""

from __future__ import annotations

import csv
import io
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from cimsim.boundary import json_text
from cimsim.boundary.limits import shown
from cimsim.errors import InputError, suggest
from cimsim.report.numbers import MEASURES, figures, rate, with_interval
from cimsim.stats import mean_interval
from cimsim.studies.points import NumberData, Row, Value
from cimsim.units import format_si

SHORT = {
    "psnr": "quality.chip_psnr", "ssim": "quality.chip_ssim", "loss": "quality.loss",
    "fps": "timing.frames_per_second", "latency": "timing.latency_s",
    "cycles": "timing.cycles_per_frame", "energy": "energy.per_frame",
    "power": "energy.average_power", "efficiency": "energy.tops_per_w",
    "arrays": "hardware.arrays_used", "area": "hardware.area",
    "utilisation": "hardware.utilisation",
}  # fmt: skip
USUAL = ("psnr", "energy", "fps", "efficiency", "arrays", "area")
GROUPS = ("quality", "timing", "energy", "hardware", "work", "coverage", "as_written", "streaming")
"""What stands before the dot of a number's full name."""
_REFERENCES = ("quality.float_", "quality.noisy_")  # what the chip's quality is held against
_ALWAYS = ("psnr", "energy")  # others are shown where they are not all the same
_LARGER = ("psnr", "ssim", "top1", "frames_per_second", "tops_per_w", "utilisation", "snr",
           "speedup", "accuracy")  # fmt: skip
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_CONSTRAINT = re.compile(r"\s*([\w.]+)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*")
_SEED = "seed"
_LEAST = 1e-9  # of a limit: what reaches it where it must be passed


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a group.

    Attributes
    ----------
    value : float, int, str or None
    interval : (float, float) or None
        5 .. 95 %.
    unit : str
    n : int
        Chips that it is the mean of.
    """

    value: float | int | str | None
    interval: tuple[float, float] | None
    unit: str
    n: int

    @property
    def text(self) -> str:
        """The number for a reader."""
        if self.value is None or isinstance(self.value, str):
            return str(self.value or "")
        if isinstance(self.value, int) and self.unit not in ("s", "J", "W", "m2"):
            return f"{self.value:,}"
        if not math.isfinite(self.value):
            return str(self.value)
        if self.interval is not None:
            return with_interval(self.value, self.interval, self.unit)
        if self.unit == "1/s":
            return rate(self.value)
        if self.unit in ("dB", "1", "", "%", "TOPS/W") or "/" in self.unit:
            return f"{self.value:,.0f}" if 1e4 <= abs(self.value) < 1e9 else f"{self.value:.4g}"
        return format_si(self.value, self.unit)


@dataclass(frozen=True)
class Group:
    """What differs in the seed alone.

    Attributes
    ----------
    settings : dict
    cells : dict of str to Cell
    error : str or None
    """

    settings: dict[str, Value]
    cells: dict[str, Cell]
    error: str | None = None

    def number(self, name: str) -> float:
        """Return a number that the group has by its full name."""
        value = self.cells[name].value
        assert isinstance(value, int | float)
        return value


@dataclass(frozen=True, slots=True)
class Limit:
    """A constraint.

    Attributes
    ----------
    name : str
        Full name of a number.
    sign : {">=", "<=", ">", "<"}
    value : float
        SI unit.
    """

    name: str
    sign: str
    value: float

    def holds(self, group: Group) -> bool:
        """Whether a group that has the number keeps to it."""
        return _COMPARISONS[self.sign](group.number(self.name), self.value)

    def missed_by(self, group: Group) -> float:
        """Return by which share of the limit a group misses it; 0 or less: it holds."""
        value = float(group.number(self.name))
        short = self.value - value if self.sign.startswith(">") else value - self.value
        if self.holds(group):
            return min(0.0, short)
        return max(short / (abs(self.value) or 1.0), _LEAST)

    def __str__(self) -> str:
        return f"{title(self.name)}{self.sign}{self.value:g}"


@dataclass(frozen=True)
class Table:
    """The groups of a study, in its order."""

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Table:
        """Put rows together that differ in the seed alone."""
        alike: dict[str, list[Row]] = {}
        for row in rows:
            own = {name: value for name, value in row["settings"].items() if name != _SEED}
            alike.setdefault(repr(sorted(own.items())), []).append(row)
        return cls(tuple(_group(part) for part in alike.values()))

    @property
    def varies(self) -> list[str]:
        """Settings that are not the same in all groups."""
        found = dict.fromkeys(name for group in self.groups for name in group.settings)
        names = sorted(found, key=lambda name: not name.startswith("network"))  # options beside it
        return [n for n in names if len({repr(g.settings.get(n)) for g in self.groups}) > 1]

    @property
    def distinguishing(self) -> list[str]:
        """Settings that tell groups apart: weights that the network's options say are left out."""
        varies = self.varies
        options = [name for name in varies if name.startswith("network")]
        return [n for n in varies if n != "weights" or not self.follows(n, options)]

    def follows(self, name: str, others: Sequence[str]) -> bool:
        """Whether a setting has one value wherever some others have theirs."""
        found: dict[str, set[str]] = {}
        for group in self.groups:
            key = repr([group.settings.get(other) for other in others])
            found.setdefault(key, set()).add(repr(group.settings.get(name)))
        return all(len(values) == 1 for values in found.values())

    def label(self, group: Group, names: Sequence[str] | None = None) -> str:
        """Name a group by what tells it apart; a bare number says of what it is."""
        parts = []
        for name in self.distinguishing if names is None else names:
            value = group.settings.get(name)
            if value is not None:
                plain = _real(value) or str(value)[:1].isdigit()
                short = name.removeprefix("network.")
                parts.append(f"{short} {value}" if plain else str(value))
        return ", ".join(parts)

    @property
    def common(self) -> dict[str, Value]:
        """Settings that are the same in all groups, and are something."""
        first = self.groups[0].settings if self.groups else {}
        varies = self.varies
        return {n: v for n, v in first.items() if n not in varies and v is not None}

    @property
    def numbers(self) -> list[str]:
        """Names of all numbers."""
        return list(dict.fromkeys(name for group in self.groups for name in group.cells))

    def named(self, name: str) -> str:
        """Return the full name of a number.

        Raises
        ------
        InputError
            No such number in this study.
        """
        full = SHORT.get(name, name)
        if full not in self.numbers:
            known = [short for short, long in SHORT.items() if long in self.numbers]
            known += [one for one in self.numbers if one not in SHORT.values()]
            judged = not known or any(one.startswith("quality.") for one in self.numbers)
            why = ": no frame ran" if full.startswith("quality.") and not judged else ""
            raise InputError(f"no number '{name}' in this study{why}{suggest(name, known)}")
        return full

    def shown(self, names: Sequence[str] | None) -> list[str]:
        """Return the full names of the columns to show; the usual ones that there are.

        What another task than denoising measured always stands first.
        """
        if names:
            return [self.named(name) for name in names]
        there = self.numbers
        clips = {SHORT[name] for name in ("psnr", "ssim", "loss")}
        measured = [
            name for name in there if name not in clips and name.startswith("quality.")
            and not name.startswith(_REFERENCES)
        ]  # fmt: skip
        return measured + [
            SHORT[name] for name in USUAL
            if SHORT[name] in there and (name in _ALWAYS or self._differs(SHORT[name]))
        ]  # fmt: skip

    def _differs(self, name: str) -> bool:
        return len({g.cells[name].value for g in self.groups if name in g.cells}) != 1 or (
            len(self.groups) == 1
        )

    def where(self, constraints: Sequence[str]) -> Table:
        """Return the groups that keep to constraints such as ``fps>=30`` (SI units).

        Raises
        ------
        InputError
            No constraint, or no number of this study.
        """
        groups = list(self.groups)
        for limit in map(self.limit, constraints):
            groups = [g for g in groups if _is_number(g, limit.name) and limit.holds(g)]
        return Table(tuple(groups))

    def limit(self, text: str) -> Limit:
        """Return a constraint such as ``fps>=30``.

        Raises
        ------
        InputError
            No constraint, or no number of this study.
        """
        limit = read_limit(text)
        return Limit(self.named(limit.name), limit.sign, limit.value)

    def objective(self, text: str) -> tuple[str, float]:
        """Return the full name of ``max psnr``, ``min energy`` or ``psnr``, and +1 for smaller.

        Raises
        ------
        InputError
            No such objective.
        """
        way, name = read_objective(text)
        full = self.named(name)
        larger = way == "max" or (way == "" and full.rpartition(".")[2].endswith(_LARGER))
        return full, -1.0 if larger else 1.0

    def pareto(self, objectives: Sequence[str]) -> list[dict[str, Value]]:
        """Return settings and numbers of the groups that no other one beats, best first.

        Parameters
        ----------
        objectives : sequence of str
            ``max psnr``, ``min energy``; without ``max`` or ``min`` as one would want it.

        Raises
        ------
        InputError
            Fewer than one objective, or none of this study.
        """
        return [
            {**g.settings, **{name: cell.value for name, cell in g.cells.items()}}
            for g in self.front(objectives)
        ]

    def front(self, objectives: Sequence[str]) -> list[Group]:
        """Return the groups that no other one beats, by the first objective."""
        if not objectives:
            raise InputError("pareto: expected at least one objective, such as 'max psnr'")
        if not self.groups:
            return []
        goals = [self.objective(text) for text in objectives]
        able = [g for g in self.groups if all(_is_number(g, name) for name, _ in goals)]
        costs = [tuple(sign * g.number(name) for name, sign in goals) for g in able]
        best = [
            (cost, g) for cost, g in zip(costs, able, strict=True)
            if not any(_beats(other, cost) for other in costs)
        ]  # fmt: skip
        return [g for _, g in sorted(best, key=lambda pair: pair[0])]

    def cells(self, names: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
        """Return heads and lines of text for a reader."""
        columns, varies = self.shown(names), self.distinguishing
        heads = [*varies, *(_head(name, self._unit(name)) for name in columns)]
        lines = []
        for group in self.groups:
            first = [_setting(group.settings.get(name)) for name in varies]
            texts = [group.cells[n].text if n in group.cells else "" for n in columns]
            if group.error is not None and texts:
                texts = [f"- {group.error}", *[""] * (len(texts) - 1)]
            lines.append([*first, *texts])
        return heads, lines

    def _unit(self, name: str) -> str:
        return next((g.cells[name].unit for g in self.groups if name in g.cells), "")

    def to_csv(self) -> str:
        """Return all numbers of all groups; ends of intervals in columns of their own."""
        lines = []
        for group in self.groups:
            line: dict[str, object] = dict(group.settings)
            n = max((cell.n for cell in group.cells.values()), default=0)
            line["chips"] = n
            for name, cell in group.cells.items():
                line[name] = cell.value
                if cell.interval is not None:
                    line[f"{name}.low"], line[f"{name}.high"] = cell.interval
            lines.append(line | {"error": group.error})
        return csv_text(lines)

    def to_json(self) -> str:
        """Return all numbers of all groups."""
        return json_text.dump(self.to_data())

    def to_data(self) -> list[dict[str, object]]:
        """Return all numbers of all groups as plain data, in SI units."""
        return [
            {
                "settings": g.settings, "error": g.error,
                "numbers": {
                    name: {"value": _finite(c.value), "unit": c.unit, "chips": c.n}
                    | ({"interval": list(c.interval)} if c.interval else {})
                    for name, c in g.cells.items()
                },
            }
            for g in self.groups
        ]  # fmt: skip

    def to_markdown(self, names: Sequence[str] | None = None) -> str:
        """Return a table in markdown."""
        heads, lines = self.cells(names)
        rows = [heads, ["---"] * len(heads), *lines]
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in escaped)

    def to_latex(self, names: Sequence[str] | None = None) -> str:
        """Return a table in LaTeX, for the packages booktabs and siunitx."""
        columns, varies = self.shown(names), self.distinguishing
        scaled = [_scale([g.cells[n] for g in self.groups if n in g.cells]) for n in columns]
        heads = [_escape(name) for name in varies]
        heads += [
            _escape(short) + (f" / {_unit_latex(unit)}" if unit not in ("", short) else "")
            for short, (_, unit) in zip(map(title, columns), scaled, strict=True)
        ]
        lines = []
        for group in self.groups:
            texts = [_escape(_setting(group.settings.get(name))) for name in varies]
            for name, (factor, _) in zip(columns, scaled, strict=True):
                texts.append(_latex(group.cells.get(name), factor))
            lines.append(f"    {' & '.join(texts)} \\\\\n")
        kinds = "l" * len(varies) + "r" * len(columns)
        return (
            "% \\usepackage{booktabs,siunitx}; brackets: 5 .. 95 %\n"
            f"\\begin{{tabular}}{{{kinds}}}\n    \\toprule\n    {' & '.join(heads)} \\\\\n"
            f"    \\midrule\n{''.join(lines)}    \\bottomrule\n\\end{{tabular}}\n"
        )


def read_limit(text: str) -> Limit:
    """Return a constraint as it was written, its name not looked for.

    Raises
    ------
    InputError
        No constraint.
    """
    match = _CONSTRAINT.fullmatch(text)
    if match is None:
        raise InputError(
            f"constraint {shown(text)}: expected such as fps>=30 or energy<=1e-3 (SI units)"
        )
    try:
        return Limit(match[1], match[2], float(match[3]))
    except ValueError:
        raise InputError(f"constraint {shown(text)}: '{match[3]}' is no number") from None


def read_objective(text: str) -> tuple[str, str]:
    """Return ``max``, ``min`` or nothing, and the name of what is looked for.

    Raises
    ------
    InputError
        No objective.
    """
    way, _, name = text.strip().rpartition(" ")
    if way not in ("", "max", "min"):
        raise InputError(f"objective {shown(text)}: expected such as 'max psnr' or 'min energy'")
    return way, name


def check_name(name: str) -> None:
    """Refuse a name that no result has a number for, whatever is run.

    Raises
    ------
    InputError
    """
    group, dot, _ = name.partition(".")
    if name not in SHORT and not (dot and group in GROUPS):
        known = [*SHORT, *(f"{one}..." for one in GROUPS)]
        raise InputError(f"no number {shown(name)} in any result{suggest(name, known)}")


def csv_text(lines: Sequence[Mapping[str, object]]) -> str:
    """Return mappings as CSV, a column for each key of any of them."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _group(rows: Sequence[Row]) -> Group:
    settings = {name: value for name, value in rows[0]["settings"].items() if name != _SEED}
    good = [row for row in rows if row["error"] is None]
    if not good:
        return Group(settings, {}, rows[0]["error"])
    names = [name for name in good[0]["numbers"] if all(name in row["numbers"] for row in good)]
    cells = {name: _cell([row["numbers"][name] for row in good]) for name in names}
    failed = next((row["error"] for row in rows if row["error"] is not None), None)
    return Group(settings, cells, failed)


def _cell(numbers: Sequence[NumberData]) -> Cell:
    first = numbers[0]
    values, unit = [number["value"] for number in numbers], first["unit"]
    ends = [number["interval"] for number in numbers]
    own = None if ends[0] is None else (ends[0][0], ends[0][1])
    reals = [value for value in values if _real(value)]
    if len(values) == 1 or len(reals) < len(values):
        return Cell(values[0], own, unit, len(values))
    same = all(value == reals[0] for value in reals)
    mean = reals[0] if same else sum(reals) / len(reals)
    known = [end for end in ends if end is not None]
    if len(known) < len(ends) or unit in ("dB", "%"):
        # of a measure: what chips of one description differ in
        return Cell(mean, None if same else mean_interval(reals), unit, len(values))
    low, high = (sum(end[i] for end in known) / len(known) for i in (0, 1))
    return Cell(mean, (low, high), unit, len(values))


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_number(group: Group, name: str) -> bool:
    return name in group.cells and _real(group.cells[name].value)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _setting(value: Value) -> str:
    return "" if value is None else str(value)


def title(name: str) -> str:
    """Return the short name of a number, or what tables call a measure; else its full one."""
    short = {f"quality.{one}": told for one, told in MEASURES.items()}
    short |= {long: one for one, long in SHORT.items()}
    return short.get(name, name)


def _head(name: str, unit: str) -> str:
    short = title(name)
    plain = unit in ("s", "J", "W", "m2", "", "1", short)  # said by the cells, or by the title
    return short if plain else f"{short} ({unit})"


_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def _scale(cells: Sequence[Cell]) -> tuple[float, str]:
    """Return what values of a column are multiplied by, and the unit that they have then."""
    unit = cells[0].unit if cells else ""
    values = [abs(c.value) for c in cells if _real(c.value) and c.value]
    if unit == "m2":
        return 1e6, "mm^2"
    if unit not in ("s", "J", "W") or not values:
        return 1.0, "" if unit == "1" else unit
    factor, prefix = next((p for p in _PREFIXES if max(values) >= p[0]), _PREFIXES[-1])
    return 1 / factor, f"{prefix}{unit}"


def _latex(cell: Cell | None, factor: float) -> str:
    if cell is None or cell.value is None:
        return "--"
    if not _real(cell.value):
        return _escape(str(cell.value))
    if cell.interval is None:
        value = cell.value * factor
        return f"\\num{{{value:.5g}}}" if isinstance(value, float) else f"\\num{{{value}}}"
    text, low, high = figures(cell.value, cell.interval, cell.unit, factor)
    return f"\\num{{{text}}} [\\num{{{low}}}, \\num{{{high}}}]"


def _unit_latex(unit: str) -> str:
    known = {"mm^2": "\\milli\\metre\\squared", "dB": "\\decibel", "1/s": "\\per\\second"}
    names = {"J": "\\joule", "W": "\\watt", "s": "\\second"}
    prefixes = {"": "", "m": "\\milli", "u": "\\micro", "n": "\\nano", "p": "\\pico"}
    known |= {
        f"{p}{n}": f"{long}{name}" for p, long in prefixes.items() for n, name in names.items()
    }
    return f"\\unit{{{known.get(unit, unit)}}}"


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
