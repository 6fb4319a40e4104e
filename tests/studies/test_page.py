"""The page of a study, made from kept rows and read back."""

import json
import re

import pytest

from cimsim.studies.page import page
from tests.page_reader import Reader
from tests.studies.rows import row


def made(rows, title="Study bits", command="cimsim sweep bits/study.yaml --out bits"):
    """Return the page of rows as a file keeps them, whole, and what is read there."""
    text = page(title, json.loads(json.dumps(rows)), command)
    read = Reader(text)
    assert not read.open
    assert len(read.ids) == len(set(read.ids))
    assert all(to.startswith(("#", "data:")) for to in read.addresses), read.addresses
    return text, read


def table(text, id_):
    """Return the table's cells, each with its text and the value by which it is sorted."""
    (inside,) = re.findall(rf'<table[^>]*id="{id_}".*?</table>', text, re.DOTALL)
    lines = re.findall(r"<tr>(.*?)</tr>", inside, re.DOTALL)
    cells = r'<t[dh][^>]*?(?:data-value="([^"]*)")?>(.*?)</t[dh]>'
    return [
        [(re.sub(r"<[^>]*>", "", said).strip(), value) for value, said in re.findall(cells, line)]
        for line in lines
    ]


@pytest.fixture(scope="module")
def bits():
    """Six converters, one of them without a result; more bits are better and cost more."""
    rows = [
        row({"network": "cimnet", "hw": "eflash40nm", "adc.bits": n}, psnr=20.0 + n,
            energy=(1e-3 * n, [0.5e-3 * n, 2e-3 * n]), fps=150.0)
        for n in (4, 5, 6, 7)
    ]  # fmt: skip
    # as good as five bits, for more than seven
    rows.append(row({"network": "cimnet", "hw": "eflash40nm", "adc.bits": 8}, psnr=25.0,
                    energy=9e-3, fps=150.0,
                    doubts=[{"text": "inputs <clip>", "way": "more & more samples"}]))  # fmt: skip
    rows.append(row({"network": "cimnet", "hw": "eflash40nm", "adc.bits": 99}, "adc.bits: <16"))
    return rows


def test_it_says_what_was_asked_what_is_common_and_how_to_get_it_again(bits):
    _, read = made(bits)
    for part in ("Study bits", "6 points in 6 lines", "What all have in common", "eflash40nm",
                 "cimsim sweep bits/study.yaml --out bits"):  # fmt: skip
        assert part in read.text, part
    assert {"numbers", "bars-0", "front", "every", "errors", "again"} <= set(read.ids)


def test_each_line_has_its_numbers_and_is_sorted_by_their_values(bits):
    text, _ = made(bits)
    heads, *lines = table(text, "main")
    assert heads[0][0] == "adc.bits"
    by_bits = {line[0][0]: line[1:] for line in lines}
    assert set(by_bits) == {"4", "5", "6", "7", "8", "99"}
    values = {float(value) for _, value in by_bits["6"] if value}
    assert values == {26.0, 6e-3}  # frames per second are the same for all
    assert [said for said, _ in by_bits["6"]] == ["26", "6.0 mJ (3.0..12)"]
    assert not any(value for _, value in by_bits["99"])


def test_a_point_without_a_result_says_why_and_text_is_no_markup(bits):
    text, read = made(bits, title="a <i> & c")
    assert "Points without a result" in read.text
    assert "adc.bits: <16" in read.text
    assert "inputs <clip>: more & more samples" in read.text
    assert "a <i> & c" in read.text
    assert "<clip>" not in text
    assert "i" not in read.tags


def test_the_pictures_show_the_numbers_that_differ(bits):
    text, read = made(bits)
    assert "Energy of a frame" in read.text
    assert "Frames per second" not in re.findall(r"<h2>(.*?)</h2>", text)  # all the same
    (energy,) = re.findall(r'<section id="bars-\d"><h2>Energy.*?</section>', text, re.DOTALL)
    found = re.findall(r'<rect x="\S+" y="\S+" width="(\S+)" height="14"', energy)
    widths = [float(width) for width in found]
    assert [4 * w / widths[0] for w in widths] == pytest.approx([4, 5, 6, 7, 9], rel=2e-3)
    assert energy.count('class="whisker"') == 3 * 4  # what has no interval has none
    (psnr,) = re.findall(r'<section id="bars-\d"><h2>PSNR.*?</section>', text, re.DOTALL)
    assert "The axis does not begin at zero." in psnr


def test_the_front_is_filled_and_the_rest_open(bits):
    text, _ = made(bits)
    (front,) = re.findall(r'<section id="front">.*?</section>', text, re.DOTALL)
    spots = re.findall(r'<circle[^>]*fill="([^"]+)"[^>]*><title>(.*?)</title>', front)
    assert len(spots) == 5
    assert [said for fill, said in spots if fill == "none"] == ["adc.bits 8: 25.00 dB, 9.00 mJ"]


def test_two_lines_are_columns_without_a_front_and_far_values_have_a_logarithmic_axis():
    rows = [
        row({"run": "small"}, energy=1e-6, psnr=30.0),
        row({"run": "large"}, energy=1e-3, psnr=31.0),
    ]
    text, read = made(rows, "small and large")
    assert [said for said, _ in table(text, "all-numbers")[0]] == ["number", "small", "large"]
    assert "The axis is logarithmic." in read.text
    assert "front" not in read.ids


@pytest.mark.parametrize(("lines", "drawn"), [(1, False), (40, True), (41, False)])
def test_bars_are_drawn_for_as_many_lines_as_can_be_read(lines, drawn):
    rows = [row({"adc.bits": n}, energy=1e-3 * (n + 1)) for n in range(lines)]
    _, read = made(rows)
    assert ("bars-0" in read.ids) == drawn
    assert len(table(made(rows)[0], "main")) == 1 + lines


def test_chips_on_the_same_frames_are_one_line_with_an_interval():
    rows = [
        row({"adc.bits": n, "seed": seed}, psnr=30.0 + n + 0.1 * seed)
        for n in (5, 6) for seed in (1, 2, 3)
    ]  # fmt: skip
    text, read = made(rows)
    assert "6 points in 2 lines" in read.text
    (psnr,) = re.findall(r'<section id="bars-\d"><h2>PSNR.*?</section>', text, re.DOTALL)
    assert psnr.count("<circle") == 2
    assert psnr.count('class="whisker"') == 3 * 2
