import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.units import (
    check_possible,
    format_celsius,
    format_duration,
    format_interval,
    format_si,
    parse_quantity,
    to_cycles,
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2.61 pJ", "J", 2.61e-12),
        ("40 nm", "m", 40e-9),
        ("148 MHz", "Hz", 148e6),
        ("6.2 us", "s", 6.2e-6),
        ("438 um2", "m2", 438e-12),
        ("1.67 mm2", "m2", 1.67e-6),
        ("0.51 pJ/B", "J/B", 0.51e-12),
        ("32 KiB", "B", 32768),
        ("1.75 %", "1", 0.0175),
        (0.25, "1", 0.25),
        (0, "J", 0.0),
        ("1e-9 J", "J", 1e-9),
        ("5 min", "s", 300),
        ("36h", "s", 129600),
        ("30d", "s", 2592000),
        ("1 day", "s", 86400),
        ("1e3 days", "s", 8.64e7),
        ("10 y", "s", 315576000),
        ("1.5 years", "s", 47336400),
        ("85 C", "K", 358.15),
        ("-20degC", "K", 253.15),
        ("0 °C", "K", 273.15),
        ("300 K", "K", 300),
    ],
)
def test_reads_quantities(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "named"),
    [
        ("3 ns", "J", "in s"),
        ("3", "J", "no unit"),
        (3, "J", "no unit"),
        ("3 p", "J", "no unit"),
        ("3 um", "m2", "in m"),
        ("many", "J", "many"),
        ("inf J", "J", "finite"),
        ("nan J", "J", "nan"),
        (True, "1", "True"),
        (None, "s", "None"),
        ([1], "s", "[1]"),
        ("3 d", "J", "in d"),
        ("3 fortnights", "s", "fortnights"),
        ("30 days ago", "s", "30 days ago"),
        ("1.2.3 d", "s", "1.2.3 d"),
        ("1e400 d", "s", "finite"),
        ("5 C", "s", "in C"),
        ("5 F", "K", "in F"),
        ("85", "K", "no unit"),
        (0, "K", "no unit"),
    ],
)
def test_refuses_other_dimensions_and_says_what_is_right(text, unit, named):
    with pytest.raises(ValueError, match="expected a") as error:
        parse_quantity(text, unit)
    assert named in str(error.value)


@given(st.floats(1e-17, 1e13), st.sampled_from(["J", "s", "Hz", "W", "V"]))
def test_formatted_numbers_read_back(value, unit):
    assert parse_quantity(format_si(value, unit).replace(",", ""), unit) == pytest.approx(
        value, rel=6e-3
    )


@given(st.integers(0, 10**9), st.floats(1e6, 5e9))
def test_whole_cycles_stay_whole(cycles, clock):
    assert to_cycles(cycles / clock, clock) == cycles


@given(st.floats(0, 1e-3), st.floats(1e6, 5e9))
def test_cycles_round_up(seconds, clock):
    cycles = to_cycles(seconds, clock)
    assert cycles >= seconds * clock - 1e-3
    assert cycles - 1 < seconds * clock * (1 + 1e-9) or cycles == 0


@given(st.floats(1e-9, 1e10))
def test_formatted_durations_read_back(seconds):
    assert parse_quantity(format_duration(seconds), "s") == pytest.approx(seconds, rel=6e-3)


@given(st.floats(-273, 2000))
def test_formatted_temperatures_read_back(celsius):
    kelvin = celsius + 273.15
    assert parse_quantity(format_celsius(kelvin), "K") == pytest.approx(
        kelvin, abs=6e-4 * abs(celsius) + 1e-9
    )


def test_people_read_the_largest_unit_that_fits():
    shown = [format_duration(s) for s in (0, 20, 60, 5400, 2592000, 3.15576e8)]
    assert shown == ["0 s", "20.0 s", "1 min", "1.5 h", "30 d", "10 y"]
    assert format_celsius(358.15) == "85 °C"


def test_carry_into_the_next_prefix():
    assert format_si(999.96e-12, "J") == "1.00 nJ"


@pytest.mark.parametrize(
    ("value", "ends", "unit", "text"),
    [
        (86.4e-6, (40.2e-6, 190e-6), "J", "86 µJ (40..190)"),
        (1.234e-3, (1.2e-3, 1.3e-3), "W", "1.23 mW (1.20..1.30)"),
        (0.9e-3, (0.8e-3, 2.5e-3), "J", "900 µJ (800..2,500)"),
        (105.3, (47.0, 160.0), "1", "105 (47..160)"),
        (1.75e-4, (1.5e-4, 2.0e-4), "m2", "175 mm² (150..200)"),
        (0.0, (0.0, 0.0), "J", "0 J"),
    ],
)
def test_digits_are_those_that_the_interval_allows(value, ends, unit, text):
    assert format_interval(value, *ends, unit) == text


@pytest.mark.parametrize(
    ("text", "unit"),
    [("nan ns", "s"), ("-inf V", "V"), ("nan %", "1"), ("inf um2", "m2"), ("nan C", "K"),
     ("infinity pJ/B", "J/B"), ("NaN", "1")],
)  # fmt: skip
def test_what_is_not_finite_is_called_so(text, unit):
    with pytest.raises(ValueError, match=rf"^expected a finite quantity in {unit} .*got '{text}'"):
        parse_quantity(text, unit)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("1e300 MHz", "Hz"), ("1e-300 nm", "m"), ("1e300 GiB", "B"), ("1e-400 V", "V")],
)  # fmt: skip
def test_numbers_beyond_all_prefixes_are_called_so(text, unit):
    with pytest.raises(ValueError, match=f"got '{text}': the number is out of range"):
        parse_quantity(text, unit)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("1e3 MHz", "Hz", 1e9), ("1.5e2 pJ", "J", 150e-12), ("1e3 kJ/B", "J/B", 1e6),
     ("2e0 kohm", "ohm", 2e3), ("0e5 V", "V", 0.0), ("40 m", "m", 40.0), ("4e-8m", "m", 4e-8)],
)  # fmt: skip
def test_reads_exponents_before_prefixes_and_metres(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)


def test_metres_are_metres_and_not_plausible_on_a_chip():
    with pytest.raises(ValueError, match=r"1e-10 \.\. 0\.001 m .*got '40 m'; is it another unit"):
        check_possible(parse_quantity("40 m", "m"), "m", "40 m")
    with pytest.raises(ValueError, match=r"'5 m' has no unit \('m' alone is a prefix\)"):
        parse_quantity("5 m", "s")
