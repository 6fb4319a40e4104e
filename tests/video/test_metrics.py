"""PSNR against its formula, SSIM against scikit-image and a plain twin."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cimsim.errors import InputError
from cimsim.video import metrics
from cimsim.video.metrics import per_frame, psnr, ssim


@pytest.fixture(autouse=True)
def _strict_floats():
    with np.errstate(all="raise"):
        yield


def pair(n_frames=3, height=24, width=31, spread=0.05):
    rng = np.random.default_rng(7)
    reference = rng.random((n_frames, height, width, 3)).astype(np.float32)
    return reference, (reference + rng.normal(0, spread, reference.shape)).astype(np.float32)


@given(
    hnp.arrays(np.float64, (4, 5, 3), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (4, 5, 3), elements=st.floats(-2, 3)),
)
def test_psnr_is_the_closed_form_of_the_clipped_error(reference, image):
    pairs = zip(reference.ravel().tolist(), image.ravel().tolist(), strict=True)
    error = math.fsum((r - min(max(i, 0.0), 1.0)) ** 2 for r, i in pairs)
    if error < 1e-280:  # squares of tiny differences underflow in any implementation
        return
    assert psnr(reference, image) == pytest.approx(-10 * math.log10(error / 60), rel=1e-9)


def test_psnr_of_a_known_offset():
    reference = np.full((8, 8, 3), 0.5, np.float32)
    assert psnr(reference, reference + np.float32(0.125)) == pytest.approx(20 * math.log10(8))
    assert psnr(reference, reference + np.float32(7)) == pytest.approx(20 * math.log10(2))


def test_psnr_equals_scikit_image():
    reference, image = pair()
    clean, shown = reference[0].astype(np.float64), np.clip(image[0].astype(np.float64), 0, 1)
    expected = peak_signal_noise_ratio(clean, shown, data_range=1)
    assert psnr(reference[0], image[0]) == pytest.approx(expected, rel=1e-12)


def test_equal_frames_are_infinite_without_a_warning():
    reference, _ = pair()
    quality = per_frame(reference, reference)
    assert np.isposinf(quality.psnr_db).all()
    assert quality.mean_psnr_db == math.inf
    np.testing.assert_allclose(quality.ssim, 1)
    # values beyond white show as white
    assert psnr(np.ones((8, 8, 3), np.float32), np.full((8, 8, 3), 1.7, np.float32)) == math.inf


def test_differences_whose_square_underflows_are_infinite():
    reference = np.zeros((8, 8, 3))
    assert psnr(reference, np.full((8, 8, 3), 1e-300)) == math.inf


def test_ssim_equals_scikit_image():
    reference, image = pair()
    expected = structural_similarity(
        reference[0].astype(np.float64),
        np.clip(image[0].astype(np.float64), 0, 1),
        data_range=1,
        channel_axis=2,
    )
    assert ssim(reference[0], image[0]) == expected


def test_ssim_equals_a_plain_loop():
    reference, image = pair(1, 11, 12, 0.2)
    clean, shown = reference[0].astype(float), np.clip(image[0].astype(float), 0, 1)
    values = []
    for channel in range(3):
        for top in range(11 - 6):
            for left in range(12 - 6):
                a = clean[top : top + 7, left : left + 7, channel].ravel()
                b = shown[top : top + 7, left : left + 7, channel].ravel()
                (va, cov), (_, vb) = np.cov(a, b)
                c1, c2 = 0.01**2, 0.03**2
                values.append(
                    ((2 * a.mean() * b.mean() + c1) * (2 * cov + c2))
                    / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2))
                )
    assert ssim(reference[0], image[0]) == pytest.approx(np.mean(values), rel=1e-9)


def test_per_frame_is_each_frame_and_its_mean():
    reference, image = pair()
    quality = per_frame(reference, image)
    pairs = list(zip(reference, image, strict=True))
    assert quality.psnr_db.tolist() == [psnr(r, i) for r, i in pairs]
    assert quality.ssim.tolist() == [ssim(r, i) for r, i in pairs]
    assert quality.mean_psnr_db == pytest.approx(sum(quality.psnr_db) / 3)
    assert quality.mean_ssim == pytest.approx(sum(quality.ssim) / 3)


def test_result_is_frozen():
    quality = per_frame(*pair())
    with pytest.raises(dataclasses.FrozenInstanceError):
        quality.psnr_db = np.zeros(3)
    with pytest.raises(ValueError, match="read-only"):
        quality.psnr_db[0] = 99


def test_more_noise_is_worse():
    levels = [per_frame(*pair(spread=s)) for s in (0.02, 0.05, 0.1, 0.3)]
    assert all(np.diff([q.mean_psnr_db for q in levels]) < 0)
    assert all(np.diff([q.mean_ssim for q in levels]) < 0)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_wrong_frames(measure):
    good = np.full((8, 8, 3), 0.5, np.float32)
    with pytest.raises(InputError, match=r"one shape \(H, W, C\), got \(8, 8, 3\) and \(8, 7, 3\)"):
        measure(good, good[:, :7])
    with pytest.raises(InputError, match=r"image: expected floats in \[0, 1\], got uint8"):
        measure(good, good.astype(np.uint8))
    with pytest.raises(InputError, match=r"reference: expected values in \[0, 1\], got 127.5"):
        measure(good * 255, good)
    with pytest.raises(InputError, match="image: holds NaN or infinity"):
        measure(good, np.where(np.arange(3) == 1, np.nan, good))


def test_frames_below_the_window_and_clips_of_different_length():
    small = np.full((6, 9, 3), 0.5, np.float32)
    with pytest.raises(InputError, match="at least 7x7 pixels, got 9x6"):
        ssim(small, small)
    reference, image = pair()
    with pytest.raises(InputError, match=r"got \(3, 24, 31, 3\) and \(2, 24, 31, 3\)"):
        per_frame(reference, image[:2])
    with pytest.raises(InputError, match="T >= 1"):
        per_frame(reference[:0], image[:0])


def test_clean_frames_are_kept_for_the_next_picture_but_not_thousands_of_small_ones():
    kept = metrics._Kept()
    frames = np.random.default_rng(0).random((3 * metrics._KEPT_FRAMES, 8, 9, 3))
    for frame in frames:
        assert kept.moments(frame) is kept.moments(frame.copy())
    assert len(kept._frames) == metrics._KEPT_FRAMES
    last, first = frames[-1], frames[0]
    assert kept.moments(frames[-metrics._KEPT_FRAMES]) is kept._frames[0][1]
    again = kept.moments(first)  # forgotten, and worked out anew
    for one, other in zip(again, kept.moments(last), strict=True):
        assert not np.array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(again[0].values, first[..., 0])
