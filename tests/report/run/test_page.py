"""The page of a run, of several runs, of a study: what it says, and that it stands alone."""

import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from cimsim.cli.main import app
from cimsim.report.run.page import svg
from cimsim.report.run.page.build import run_page
from cimsim.session.result import Result
from tests.page_reader import Reader

SMALL = ["--size=32x32", "--frames=2", "--quiet"]


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page") / "one"
    run("run", *SMALL, f"--out={place}")
    return place


@pytest.fixture(scope="module")
def page(folder):
    out = folder.parent / "one.html"
    said = run("report", folder, f"--out={out}")
    assert str(out) in said.replace("\n", "")
    return out.read_text()


def test_the_page_stands_alone_and_is_whole(page):
    read = Reader(page)
    assert not read.open  # every element is closed
    assert all(address.startswith(("#", "data:")) for address in read.addresses)
    assert "http://" not in page.replace("http://www.w3.org", "")
    inside = {address[1:] for address in read.addresses if address.startswith("#")}
    assert inside <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert len(page) < 6e6
    for part in ("result", "picture", "energy", "time", "layers", "floor", "chip", "again"):
        assert part in inside


def test_it_says_the_numbers_of_the_result(page, folder):
    text = Reader(page).text
    result = Result.load(folder)
    for part in (
        f"{result.quality.psnr_db:.2f} dB", f"{result.timing.cycles_per_frame:,} cycles",
        result.hash, "block1.smooth_in.fc", "tile control, clock", "not counted: power conversion",
        "6 of 76 arrays", "energy.per_frame", "adc.energy", "measured",
    ):  # fmt: skip
        assert part in text, part
    source = "76 tiles"  # of a number of the chip file
    assert source in text
    assert "cimsim run --size=32x32 --frames=2" in text
    pictures = json.loads(re.search(r'application/json">(.*?)</script>', page, re.S)[1])
    assert len(pictures) == 2
    assert all(one.startswith("data:image/png;base64,") for pair in pictures for one in pair)


def test_what_a_user_names_is_text_and_no_markup(folder):
    import dataclasses

    result = dataclasses.replace(Result.load(folder), model="<script>alert(1)</script>&")
    text = run_page(result)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text
    assert "Before and after" not in text  # frames lie in a folder that was not given


def test_a_chip_that_is_not_at_hand_as_it_was_is_said(folder):
    import dataclasses

    result = Result.load(folder)
    inputs = result.inputs | {"chip": result.inputs["chip"] | {"name": "gone"}}
    text = Reader(run_page(dataclasses.replace(result, inputs=inputs, command=None))).text
    assert "Sources are missing here: the description 'gone' is not at hand" in text
    assert "adc.bits" in text


@pytest.mark.slow
def test_runs_and_studies_beside_each_other(folder, tmp_path):
    other, study = tmp_path / "other", tmp_path / "study"
    run("run", *SMALL, "--set=adc.bits=6", f"--out={other}")
    run("report", folder, other, f"--out={tmp_path / 'two.html'}")
    read = Reader((tmp_path / "two.html").read_text())
    assert not read.open
    for part in ("one and other", "eflash40nm with adc.bits=6", "PSNR on the chip",
                 "Energy of a frame", "cimsim compare"):  # fmt: skip
        assert part in read.text, part
    run("sweep", "--set=adc.bits=5,6,7", "--frames=0", "--size=32x32", "--workers=1", "--quiet",
        f"--out={study}")  # fmt: skip
    run("report", study, f"--out={tmp_path / 'study.html'}")
    text = Reader((tmp_path / "study.html").read_text()).text
    assert "3 points in 3 lines" in text
    assert "Energy of a frame" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no result of a run"),
        (["{run}", "--out={folder}"], "is a folder; name a file"),
        (["{run}", "--out={folder}/no/such/r.html"], "cannot be written"),
    ],
)
def test_wrong_input_is_one_message(folder, tmp_path, arguments, said):
    named = [one.format(run=folder, folder=tmp_path) for one in arguments]
    done = CliRunner().invoke(app, ["report", *named])
    assert done.exit_code != 0
    assert said in str(done.exception)


def test_bars_have_the_length_of_their_values():
    rows = [svg.Bar("a", 1.0, "1 J", 0.5, 2.0), svg.Bar("b", 2.0, "2 J"), svg.Bar("c", 4.0, "4 J")]
    drawn = svg.bars(rows, "J", "three")
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths == pytest.approx([105, 210, 420])
    assert drawn.count('class="whisker"') == 3
    logs = svg.bars([svg.Bar("a", 1e-9, ""), svg.Bar("b", 1e-6, ""), svg.Bar("c", 1e-3, "")], "J",
                    "decades", logarithmic=True)  # fmt: skip
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', logs)]
    assert widths == pytest.approx([0.5, 210, 420])  # the first one begins the axis
    assert svg.bars([], "J", "none") == ""


def test_the_floor_plan_colours_the_arrays_of_each_layer():
    layers = [{"name": "a<b", "slots": [[[0, 0], [1, 1]]]}, {"name": "c", "slots": [[[2, 0]]]}]
    drawn = svg.floor(layers, 4, 2, "plan")
    assert drawn.count(f'fill="{svg.COLOURS[0]}"') == 2
    assert drawn.count(f'fill="{svg.COLOURS[1]}"') == 1
    assert drawn.count('class="unused"') == 5
    assert "tile 1, array 1: a&lt;b" in drawn


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_browser_shows_it_without_a_complaint(folder, page, tmp_path):
    place = tmp_path / "page.html"
    clicked = "for (const b of document.querySelectorAll('th button')) { b.click(); b.click(); }"
    place.write_text(page.replace("</body>", f"<script>{clicked}</script></body>"))
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", place.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert 'aria-sort="ascending"' in done.stdout
