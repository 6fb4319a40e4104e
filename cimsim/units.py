"""Quantities with units: strings of a YAML file to SI floats and back.

Inside cimsim every physical value is an SI float whose name carries the unit (``energy_j``,
``t_read_s``). Strings exist only at the border: ``"2.61 pJ"`` in, ``"2.61 pJ"`` out.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator
from quantiphy import InvalidNumber, Quantity

from cimsim.boundary.limits import DIGITS, shown

# Powers of a length do not scale like the prefix alone, so areas get a table of their own.
_AREAS = {"m2": 1.0, "cm2": 1e-4, "mm2": 1e-6, "um2": 1e-12, "µm2": 1e-12, "nm2": 1e-18}
_BYTES = {
    "B": 1,
    "kB": 1000,
    "KB": 1024,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
# Longer than a second: no SI prefixes, and none of "m", which would be a metre or a thousandth.
_TIMES = {
    "min": 60.0,
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("y", "yr", "year", "years"), 365.25 * 86400.0),
}
ZERO_CELSIUS_K = 273.15
# Kelvin stands here too: to a parser of SI prefixes "300 K" is 300,000 without a unit.
_TEMPERATURES = {"K": 0.0, **dict.fromkeys(("C", "degC", "°C"), ZERO_CELSIUS_K)}
_PREFIXES = dict(
    zip(range(-6, 5), ("a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T"), strict=True)
)
# What a number of a chip can be at all: beyond that it is a slip of units or prefixes, and products
# of a few such numbers would leave float64. Zero is always possible.
_POSSIBLE = {
    "J": (1e-24, 1e3), "J/B": (1e-24, 1e3), "s": (1e-16, 1e11), "A": (1e-20, 1e4), "V": (1e-9, 1e4),
    "S": (1e-20, 1e3), "Hz": (1e-3, 1e13), "m": (1e-10, 1e-3), "m2": (1e-20, 1.0),
    "W": (1e-20, 1e6), "ohm": (1e-9, 1e15), "B": (1.0, 2.0**50), "1": (0.0, 1e6),
    "K": (1e-3, 1e4), "F": (1e-22, 1.0),
}  # fmt: skip
_LONGEST = 100  # characters of a quantity
# how editors and spreadsheets write the same: Greek mu, a raised 2, a true minus, a fixed blank
_ALIKE = str.maketrans({"\u03bc": "µ", "\u2212": "-", "\u00a0": " ", "\u202f": " "})
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(?![\d.,:_])")
_NOT_FINITE = re.compile(r"[-+]?(nan|inf|infinity)(?![a-z])", re.IGNORECASE)
_METRES = re.compile(rf"({_NUMBER.pattern})\s*m")
# beyond, products of a few numbers would leave float64
_READABLE = (1e-30, 1e30)
_EXAMPLES = {
    "J": "2.61 pJ", "J/B": "0.51 pJ/B", "s": "6.2 us", "A": "1.95 nA", "V": "1.1 V", "S": "1.95 nS",
    "Hz": "148 MHz", "m": "40 nm", "m2": "438 um2", "W": "17 uW", "ohm": "5.3 ohm", "B": "8 KiB",
    "1": "1.75 %", "K": "25 C", "F": "2 fF",
}  # fmt: skip


def parse_quantity(value: object, unit: str) -> float:
    """Turn a quantity string into an SI float, checking its dimension.

    Parameters
    ----------
    value : str, int or float
        ``"2.61 pJ"``; a bare number is accepted only for ``unit == "1"`` and for zero (which is no
        temperature). Times also in ``min``, ``h``, ``d`` and ``y`` (of 365.25 days), temperatures
        also in ``C`` or ``degC``: ``"30 d"``, ``"85 C"``.
    unit : str
        The SI unit that is expected: ``J``, ``s``, ``A``, ``V``, ``S``, ``Hz``, ``m``, ``m2``,
        ``W``, ``ohm``, ``B``, ``J/B``, ``K`` or ``1`` (a plain number or a percentage).

    Returns
    -------
    float
        The value in SI units.

    Raises
    ------
    ValueError
        If the text is no number or has another dimension; the message shows a right example.
    """
    example = _EXAMPLES.get(unit, f"1 {unit}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a quantity in {unit} such as '{example}', got {shown(value)}")
    if isinstance(value, str) and (len(value) > _LONGEST or not value.isascii()):
        value = _plain_text(value, unit, example)
    elif isinstance(value, int) and abs(value) >= 10**DIGITS:
        raise ValueError(f"expected a quantity in {unit} such as '{example}', got {shown(value)}")
    if isinstance(value, str):
        _check_digits(value.strip(), unit, example)
        number, got = _split(value, unit, example)
    else:
        # 0 is 0 in any unit, but for a temperature: 0 K or 0 C
        number, zero = float(value), value == 0 and unit != "K"
        got = unit if zero else "1" if unit == "1" else ""
    if got != unit:
        what = f"'{value}' has no unit" if got == "" else f"'{value}' is in {got}"
        if got == "" and isinstance(value, str) and value.strip()[-1:].isalpha():
            what += f" ('{value.strip()[-1]}' alone is a prefix)"
        raise ValueError(f"expected a quantity in {unit} such as '{example}', {what}")
    if not math.isfinite(number):
        raise ValueError(f"expected a finite quantity in {unit} such as '{example}', got '{value}'")
    return number


def check_possible(number: float, unit: str, told: object) -> None:
    """Refuse a quantity that nothing on a chip can have.

    Parameters
    ----------
    number : float
        In SI units.
    unit : str
    told : object
        How it was written, for the message.

    Raises
    ------
    ValueError
        The message shows what is possible.
    """
    low, high = _POSSIBLE.get(unit, (0.0, math.inf))
    if number and not low <= abs(number) <= high:
        raise ValueError(
            f"expected 0 or a quantity of {low:g} .. {high:g}{'' if unit == '1' else f' {unit}'} "
            f"such as '{_EXAMPLES.get(unit, f'1 {unit}')}', got '{told}'; is it another unit or "
            "prefix?"
        )


def _plain_text(text: str, unit: str, example: str) -> str:
    """Return a text in plain letters; refuse what is too long or has digits of other scripts."""
    text = re.sub("(?<=m)²", "2", text[: _LONGEST + 1].translate(_ALIKE))
    foreign = [letter for letter in text if letter.isnumeric() and not letter.isascii()]
    if len(text) > _LONGEST or foreign:
        raise ValueError(f"expected a quantity in {unit} such as '{example}', got {shown(text)}")
    return text


def _check_digits(text: str, unit: str, example: str) -> None:
    """Refuse a decimal comma, which a parser may drop (0,2 V as 2 V), and other odd numbers.

    So are numbers that are not finite or beyond all prefixes: what follows them would be blamed.
    """
    if _NOT_FINITE.match(text):
        raise ValueError(
            f"expected a finite quantity in {unit} such as '{example}', got {shown(text)}"
        )
    if text[:1] in ("+", "-", ".") or text[:1].isdigit():
        found = _NUMBER.match(text)
        if found is None:
            comma = "," in text
            why = "; write a decimal point and no separators of thousands" if comma else ""
            raise ValueError(
                f"expected a quantity in {unit} such as '{example}', got {shown(text)}{why}"
            )
        number = abs(float(found[0]))
        low, high = _READABLE
        is_zero = not found[0].lower().partition("e")[0].strip("+-0.")
        if unit != "1" and not (is_zero or low <= number <= high or math.isinf(number)):
            raise ValueError(
                f"expected a quantity in {unit} such as '{example}', got {shown(text)}: the number "
                "is out of range; are its digits and its exponent right?"
            )


def canonical(text: str) -> str:
    """Return a quantity in SI units (``11.5 nS``: ``1.15e-08 S``), other texts as they are."""
    if not text[:1].isdigit():
        return text
    for unit in _POSSIBLE:
        try:
            return f"{parse_quantity(text, unit)!r} {unit}"
        except ValueError:
            continue
    return text


@functools.lru_cache(4096)  # chips are read over and over with a few fields changed
def _split(text: str, unit: str, example: str) -> tuple[float, str]:
    """Return the SI number and the SI unit that a quantity string names."""
    table = _AREAS if unit == "m2" else _BYTES if unit == "B" else None
    match = re.fullmatch(r"\s*([-+0-9.eE]+)\s*([A-Za-zµ]+2?)\s*", text)
    if table is not None and match and match[2] in table:
        return float(match[1]) * table[match[2]], unit
    if unit in ("s", "K"):
        found = _time_or_temperature(text, unit)
        if found is not None:
            return found, unit
    if unit == "m" and (metres := _METRES.fullmatch(text.strip())):
        return float(metres[1]), unit  # to a parser of prefixes a number of thousandths
    percent = re.fullmatch(r"\s*([-+0-9.eE]+)\s*%\s*", text)
    if percent:
        return float(percent[1]) / 100, "1"
    power = re.fullmatch(rf"({_NUMBER.pattern})\s*(\D.*)", text.strip())
    factor = 1.0
    if power and power[3]:  # the parser reads no prefix behind an exponent: 1e3 MHz
        factor, text = float(power[1]), f"1 {power[4]}"
    try:
        quantity = Quantity(text.strip())
    except InvalidNumber:
        raise ValueError(
            f"expected a quantity in {unit} such as '{example}', got '{text}'"
        ) from None
    got = quantity.units.replace("Ω", "ohm").replace("Ohm", "ohm")
    if got == "" and unit != "1":
        # '40n' alone is a number with a prefix, yet without a unit
        return factor * quantity, ""
    return factor * quantity, got or "1"


def _time_or_temperature(text: str, unit: str) -> float | None:
    """Return seconds of ``"30 d"`` or kelvins of ``"85 C"``; None for any other unit."""
    match = re.fullmatch(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z°]+)\s*", text)
    try:
        number = float(match[1]) if match else math.nan
    except ValueError:  # "1.2.3 d"
        return None
    if match and unit == "s" and match[2] in _TIMES:
        return number * _TIMES[match[2]]
    if match and unit == "K" and match[2] in _TEMPERATURES:
        return number + _TEMPERATURES[match[2]]
    return None


@dataclass(frozen=True, slots=True)
class Unit:
    """The SI unit of a field that `quantity` reads, found again in its annotation."""

    si: str

    def __get_pydantic_json_schema__(self, core: object, handler: object) -> dict[str, object]:
        """Describe the field to editors: a text with a unit, or ``auto``."""
        example = _EXAMPLES.get(self.si, f"1 {self.si}")
        return {"type": ["string", "number"], "examples": [example], "x-unit": self.si}


def quantity(
    unit: str,
    *,
    minimum: float | None = 0.0,
    exclusive: bool = False,
    maximum: float | None = None,
    difference: bool = False,
) -> object:
    """Return a pydantic field type: a quantity string in YAML, an SI float inside.

    It is an ``Annotated[float, ...]``, for an annotation.

    Parameters
    ----------
    unit : str
        See `parse_quantity`.
    minimum : float or None
        Smallest value allowed, in SI units; ``None`` allows any.
    exclusive : bool
        True if the minimum itself is refused.
    maximum : float or None
        Largest value allowed, in SI units.
    difference : bool
        True for a difference of temperatures, which has no zero point: Celsius is refused.
    """
    shown = "" if unit == "1" else f" {unit}"

    def read(value: object) -> float:
        if difference and isinstance(value, str):
            _refuse_celsius(value)
        number = parse_quantity(value, unit)
        if minimum is not None and (number < minimum or (exclusive and number == minimum)):
            sign = ">" if exclusive else ">="
            raise ValueError(f"expected a quantity {sign} {minimum:g}{shown}, got '{value}'")
        if maximum is not None and number > maximum:
            raise ValueError(f"expected a quantity <= {maximum:g}{shown}, got '{value}'")
        check_possible(number, unit, value)
        return number

    return Annotated[float, BeforeValidator(read), Unit(unit)]


def _refuse_celsius(text: str) -> None:
    """Refuse a difference of temperatures in Celsius: 10 C would be read as 283 K."""
    match = re.fullmatch(r"\s*(\S*?)\s*(?:C|degC|°C)\s*", text)
    if match:
        raise ValueError(
            f"expected a difference of temperatures in K such as '10 K', got '{text}'; "
            f"{match[1]} degrees of difference are {match[1]} K"
        )


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Write a number with an SI prefix for people: ``format_si(2.61e-12, "J") == "2.61 pJ"``."""
    if unit == "m2":
        for name in ("m2", "mm2", "um2", "nm2"):
            if abs(value) >= 0.1 * _AREAS[name] or name == "nm2":
                return f"{_significant(value / _AREAS[name], digits)} {name.replace('2', '²')}"
    if unit == "1":
        return _significant(value, digits)
    if unit == "J/B":
        return format_si(value, "J", digits) + "/B"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    exponent = min(max(_exponent(value, digits) // 3, -6), 4)
    return f"{_significant(value / 1000.0**exponent, digits)} {_PREFIXES[exponent]}{unit}"


def format_interval(value: float, low: float, high: float, unit: str) -> str:
    """Write a number with as many digits as its interval allows: ``86 µJ (40..190)``.

    Parameters
    ----------
    value : float
    low, high : float
        Its interval, 5 .. 95 %.
    unit : str
        As in `format_si`.
    """
    if not (value and math.isfinite(value)) or low == high:
        return format_si(value, unit)
    digits = interval_digits(low, high)
    text, _, shown = format_si(value, unit, digits).partition(" ")
    # the same prefix for all three: the factor is what the text and the value differ by
    factor = float(format_si(value, unit, 12).partition(" ")[0].replace(",", "")) / value
    ends = "..".join(_significant(end * factor, digits) for end in (low, high))
    return f"{text} {shown} ({ends})".replace("  ", " ")


def interval_digits(low: float, high: float) -> int:
    """Return how many digits a number with this interval deserves, 2 to 4."""
    ratio = high / low if low > 0 else math.inf
    return 2 if ratio > 1.2 else 3 if ratio > 1.02 else 4


def format_duration(seconds: float) -> str:
    """Write a long time for people: ``format_duration(2.592e6) == "30 d"``."""
    for unit in ("y", "d", "h", "min"):
        if seconds >= _TIMES[unit]:
            return f"{seconds / _TIMES[unit]:.3g} {unit}"
    return format_si(seconds, "s") if seconds else "0 s"


def format_celsius(kelvin: float) -> str:
    """Write a temperature for people: ``format_celsius(358.15) == "85 °C"``."""
    return f"{kelvin - ZERO_CELSIUS_K:.4g} °C"


def _exponent(value: float, digits: int) -> int:
    """Power of ten of the first digit, after rounding to ``digits`` (9.996 is 10 to three)."""
    return int(f"{abs(value):.{digits - 1}e}".partition("e")[2])


def _significant(value: float, digits: int) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, digits - 1 - _exponent(value, digits))}f}"


def to_cycles(seconds: float, clock_hz: float) -> int:
    """Round a duration up to whole clock cycles; the only place where seconds become cycles.

    A duration within 1e-9 of a whole cycle counts as that cycle, so that ``16 / clock`` is 16.
    """
    exact = seconds * clock_hz
    nearest = round(exact)
    return int(nearest) if abs(exact - nearest) < 1e-9 * max(1.0, exact) else math.ceil(exact)
