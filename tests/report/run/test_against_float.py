"""What screen and page say of a chip that is worse, better, or neither than the float network."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

import cimsim
from cimsim.report.run.against_float import classes_against_float, frames_against_float
from cimsim.report.run.page.build import run_page
from cimsim.report.run.plots import psnr_per_frame
from cimsim.report.run.tables import print_result
from cimsim.stats import mean_interval
from cimsim.tasks.measures import Measure
from cimsim.video.embedded import embedded_clip

TRAINED = "weights trained with a chip's errors can be better on it than in float32"


@pytest.fixture(scope="module")
def real():
    network = cimsim.load_network("cimnet", {"stride": 8})
    graph = cimsim.trace(network.module, network.example(32, 32))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    return cimsim.simulate(mapping, embedded_clip(frames=1)[:, :32, :32])


def judged(real, floating, chip, programmings=()):
    series = {name: (0.9,) * len(chip) for name in ("noisy_ssim", "float_ssim", "chip_ssim")}
    quality = replace(
        real.quality, noisy_psnr=(25.0,) * len(chip), float_psnr=floating, chip_psnr=chip, **series
    )
    return replace(real, quality=quality, programmings=programmings)


def screen(result):
    console = Console(file=io.StringIO(), width=300)
    print_result(result, console)
    return console.file.getvalue()


def classes(chip, floating, interval, of="samples"):
    return Measure("top1", "%", "share of samples: right class", chip, floating, interval, of)


def test_a_loss_that_frames_agree_on_speaks_for_itself(real):
    found = frames_against_float(judged(real, (30.0, 32.0, 34.0), (29.6, 31.7, 33.6)))
    assert (found.label, found.amount, found.told) == ("lost on the chip", "0.37", "")


def test_a_gain_says_how_it_can_be(real):
    found = frames_against_float(judged(real, (30.0, 32.0, 34.0), (30.2, 32.2, 34.3)))
    assert (found.label, found.amount, found.told) == ("gained on the chip", "0.23", TRAINED)


@pytest.mark.parametrize(
    ("chip", "label", "span"),
    [
        ((30.3, 31.9, 34.1), "gained on the chip", "-0.24..+0.44"),
        ((29.7, 32.1, 33.9), "lost on the chip", "-0.44..+0.24"),
    ],
)
def test_an_interval_that_holds_no_difference_says_so(real, chip, label, span):
    found = frames_against_float(judged(real, (30.0, 32.0, 34.0), chip))
    assert (found.label, found.amount) == (label, "0.10")
    assert found.told == f"chip minus float32: {span} dB, so these frames show no sure difference"


def test_the_interval_is_of_differences_frame_by_frame(real):
    result = judged(real, (20.0, 40.0), (20.1, 40.2))
    assert result.gain_interval == pytest.approx(mean_interval([0.1, 0.2]))
    assert result.psnr_interval[0] < 20 < 40 < result.psnr_interval[1]
    one_each = judged(real, (30.0, 32.0), (30.1, 32.1), (31.1, 31.4, 30.9))
    assert one_each.gain_interval == pytest.approx(mean_interval([0.1, 0.4, -0.1]))
    assert replace(real, quality=None).gain_interval is None


@pytest.mark.parametrize(
    ("chip", "label", "told"),
    [((30.2,), "gained on the chip", TRAINED), ((29.8,), "lost on the chip", "")],
)
def test_one_frame_has_no_interval(real, chip, label, told):
    result = judged(real, (30.0,), chip)
    assert result.gain_interval is None
    found = frames_against_float(result)
    assert (found.label, found.amount, found.told) == (label, "0.20", told)


@pytest.mark.parametrize("chip", [(30.004, 32.004), (30.0, 32.0), (29.996, 31.996)])
def test_what_rounds_to_nothing_is_no_gain_and_has_no_sign(real, chip):
    found = frames_against_float(judged(real, (30.0, 32.0), chip))
    assert (found.label, found.amount) == ("lost on the chip", "0.00")


def test_frames_that_are_met_exactly_lose_nothing(real):
    endless = (float("inf"),) * 2
    found = frames_against_float(judged(real, endless, endless))
    assert (found.label, found.amount, found.told) == ("lost on the chip", "0.00", "")


@pytest.mark.parametrize(
    ("chips", "told"),
    [
        ((31.2, 31.3, 31.2), f"mean of 3 chips minus float32: +0.14..+0.33 dB; {TRAINED}"),
        ((30.8, 30.7, 30.8), "mean of 3 chips minus float32: -0.33..-0.14 dB"),
        (
            (30.8, 31.2, 31.1),
            "mean of 3 chips minus float32: -0.32..+0.38 dB, so these chips show no sure "
            "difference",
        ),
    ],
)
def test_several_chips_are_told_together(real, chips, told):
    found = frames_against_float(judged(real, (30.0, 32.0), (30.3, 32.1), chips))
    assert (found.label, found.amount, found.told) == ("gained on the chip", "0.20", told)


@pytest.mark.parametrize(
    ("measure", "line"),
    [
        (classes((90.0,), 93.5, (88.0, 91.8)), "lost on the chip 3.50 points"),
        (
            classes((93.0,), 93.5, (91.2, 94.4)),
            "lost on the chip 0.50 points (chip minus float32: -2.30..+0.90 points, so these "
            "samples show no sure difference)",
        ),
        (classes((95.0,), 93.5, (94.0, 96.0)), f"gained on the chip 1.50 points ({TRAINED})"),
        (classes((95.0,), 93.5, None, ""), f"gained on the chip 1.50 points ({TRAINED})"),
        (
            classes((95.0, 94.0), 93.5, (94.1, 94.9), "programmings"),
            "gained on the chip 1.00 points (mean of 2 chips minus float32: +0.60..+1.40 points; "
            f"{TRAINED})",
        ),
    ],
)
def test_classes_count_in_points(measure, line):
    found = classes_against_float([measure])
    assert found is not None
    assert found.line("points") == line


def test_without_classes_nothing_is_compared():
    assert classes_against_float([]) is None
    assert classes_against_float([Measure("snr", "dB", "", (30.0,))]) is None
    assert classes_against_float([classes((90.0,), None, None, "")]) is None


def test_screen_and_page_say_it(real):
    result = judged(real, (30.0, 32.0, 34.0), (30.2, 32.2, 34.3))
    text = " ".join(screen(result).split())
    assert "│ gained on the chip │ 0.23 │" in text
    assert "-0.23" not in text
    assert "weights trained with a chip's errors" in text
    assert f"gained on the chip 0.23 dB ({TRAINED})" in run_page(result).replace("&#39;", "'")
    told = replace(real, quality=None, measures=(classes((90.0,), 93.5, (88.0, 91.8)),))
    assert "lost on the chip 3.50 points" in screen(told)
    assert "lost on the chip 3.50 points" in run_page(told)


def test_the_number_says_what_its_sign_means(real):
    loss = judged(real, (30.0,), (30.2,)).numbers()["quality.loss"]
    assert loss.value == pytest.approx(-0.2)
    assert "below 0 where the chip is better" in loss.meaning


def test_a_clip_without_noise_has_no_gain_over_it(real):
    clean = replace(real, quality=replace(real.quality, noisy_psnr=(float("inf"),)))
    assert not clean.quality.is_noisy
    assert real.quality.is_noisy
    told = screen(clean)
    assert "inf" not in told
    assert "without noise" in told
    assert "noisy input" in screen(real)
    labels = [line.get_label() for line in psnr_per_frame(clean).axes[0].lines]
    assert labels == ["network in float32", "on the chip"]
