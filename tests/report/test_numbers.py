"""One way to write a number with its interval, whatever table it stands in."""

import pytest

from cimsim.report.numbers import figures, measured, rate, with_interval


@pytest.mark.parametrize(
    ("value", "ends", "unit", "told"),
    [
        (21.2431, (9.61, 23.34), "dB", "21.24 (9.6..23.3)"),
        (34.1, (33.931, 34.269), "dB", "34.10 (33.93..34.27)"),
        (29.0583, (29.0311, 29.0862), "dB", "29.058 (29.031..29.086)"),
        (0.93617, (0.93601, 0.93633), "1", "0.93617 (0.93601..0.93633)"),
        (0.0123456, (0.01, 0.02), "1", "0.0123 (0.010..0.020)"),
        (95.0, (95.0, 95.0), "%", "95.00 (95.0..95.0)"),
        (2.14, (0.53, 5.8), "TOPS/W", "2.1 (0.53..5.8)"),
        (8.34e-6, (4.98e-6, 34.2e-6), "J", "8.3 µJ (5.0..34)"),
        (8.44e-6, (4.98e-6, 34.2e-6), "J", "8.4 µJ (5.0..34)"),
        (0.0, (0.0, 1.0), "dB", "0.00 (0.0..1.0)"),
    ],
)
def test_a_number_with_its_interval(value, ends, unit, told):
    assert with_interval(value, ends, unit) == told


@pytest.mark.parametrize(
    ("value", "ends", "unit", "factor", "told"),
    [
        (8.34e-6, (4.98e-6, 34.2e-6), "J", 1e6, ("8.3", "5.0", "34")),
        (24.1e-3, (10.2e-3, 114.4e-3), "J", 1e3, ("24", "10", "114")),
        (845e-6, (289e-6, 4977e-6), "J", 1e3, ("0.845", "0.289", "4.977")),  # 845 uJ on screen
        (52e-6, (33e-6, 177e-6), "J", 1e3, ("0.052", "0.033", "0.177")),
        (2e-4, (1e-4, 6e-4), "m2", 1e6, ("200", "100", "600")),
        (2.14, (0.53, 5.8), "TOPS/W", 1.0, ("2.1", "0.53", "5.8")),
        (29.0583, (29.0311, 29.0862), "dB", 1.0, ("29.058", "29.031", "29.086")),
        (0.0, (0.0, 1e-3), "J", 1e3, ("0", "0", "1")),
    ],
)  # fmt: skip
def test_a_column_of_one_unit_has_the_digits_of_the_screen(value, ends, unit, factor, told):
    assert figures(value, ends, unit, factor) == told


def test_a_measure_without_an_interval():
    assert measured(21.2431) == ("21.24", "", "")
    assert measured(0.00123456)[0] == "0.00123"
    assert with_interval(21.2431, None, "dB") == "21.24"
    assert with_interval(8.34e-6, None, "J") == "8.34 µJ"


@pytest.mark.parametrize(
    ("value", "told"),
    [(9.8401, "9.84"), (150.61, "150.6"), (999.94, "999.9"), (8307.2, "8,307"), (38543, "38,543"),
     (0.0123, "0.0123"), (float("inf"), "inf")],
)  # fmt: skip
def test_rates_are_written_in_one_way(value, told):
    assert rate(value) == told
