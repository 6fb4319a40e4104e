"""Tables of studies on a terminal: nothing is cut off or broken where it could stand whole."""

import io

import pytest
from rich.console import Console

from cimsim.cli.study import print_table
from cimsim.studies.table import Table


def row(chip, bits, psnr, energy):
    numbers = {
        "quality.chip_psnr": {
            "value": psnr,
            "unit": "dB",
            "interval": [psnr - 0.0431, psnr + 0.04],
        },
        "energy.per_frame": {"value": energy, "unit": "J", "interval": [energy / 3, 6 * energy]},
        "timing.frames_per_second": {"value": 36_831.2 / bits, "unit": "1/s", "interval": None},
        "hardware.area": {"value": 2e-4, "unit": "m2", "interval": [1e-4, 1e-4 * (1 + bits)]},
    }
    settings = {"chip": chip, "adc.bits": bits, "sigma": 15.0}
    return {"id": f"{chip}{bits}", "key": None, "settings": settings, "numbers": numbers,
            "doubts": [], "network": "n", "frame": [1, 8, 8], "error": None}  # fmt: skip


TABLE = Table.of(
    [row(c, b, 27.1234, 1e-4 * b) for c in ("eflash40nm", "sonos40nm") for b in (5, 6)]
)


@pytest.mark.parametrize("width", [46, 60, 80, 120])
def test_a_table_fits_and_no_name_or_number_is_broken(width):
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(TABLE, console, "t")
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    words = set(text.split())
    heads, lines = TABLE.cells()
    for cell in (cell for line in lines for cell in line):
        assert set(cell.split()) <= words
    assert {word for head in heads for word in head.split()} <= words
    # what varies stands beside every number: once a line in each block
    blocks = sum(line.startswith("chip ") for line in text.splitlines())
    assert text.count("eflash40nm") == 2 * blocks
    assert blocks == 1 or width < 120


def test_latex_tells_apart_what_the_screen_does():
    rows = [row("a", bits, 27.1, 8.2e-6 + 1e-7 * bits) for bits in (1, 2)]
    for one in rows:
        one["numbers"]["energy.per_frame"]["interval"] = [4.98e-6, 3.42e-5]
        one["numbers"]["timing.frames_per_second"]["value"] = 38_543.2
    table = Table.of(rows)
    assert [group.cells["energy.per_frame"].text for group in table.groups] == [
        "8.3 µJ (5.0..34)", "8.4 µJ (5.0..34)"
    ]  # fmt: skip
    latex = table.to_latex(["energy"])
    assert "\\num{8.3} [\\num{5.0}, \\num{34}]" in latex
    assert "\\num{8.4} [\\num{5.0}, \\num{34}]" in latex
    assert "38,543" in table.to_markdown(["fps"])


def test_a_comparison_writes_intervals_as_a_run_does():
    one = row("a", 5, 21.2431, 1e-4)
    one["numbers"]["quality.chip_psnr"]["interval"] = [9.61, 23.34]
    one["numbers"]["energy.tops_per_w"] = {
        "value": 2.14, "unit": "TOPS/W", "meaning": "", "interval": [0.53, 5.8]
    }  # fmt: skip
    one["numbers"]["quality.psnr_by_retention"] = {
        "value": 20.0, "unit": "dB", "meaning": "", "interval": None
    }  # fmt: skip
    heads, (line,) = Table.of([one]).cells(
        ["psnr", "efficiency", "quality.psnr_by_retention"]
    )  # fmt: skip
    assert line[-3:] == ["21.24 (9.6..23.3)", "2.1 (0.53..5.8)", "20"]
    assert heads[-1] == "PSNR, aged (dB)"
