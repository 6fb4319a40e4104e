"""The embedded clip: same bits, no borders, real photographs, exact area sampling."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from cimsim.errors import InputError
from cimsim.video import embedded
from cimsim.video.embedded import SCENES, embedded_clip, photo_path

ALL = sorted(SCENES)


def photos(scene):
    return [scene.camera.photo] + ([scene.cutout.photo] if scene.cutout else [])


@pytest.mark.parametrize("name", ALL)
def test_two_calls_give_the_same_bits(name):
    first, second = (hashlib.sha256(embedded_clip(name, 3)).hexdigest() for _ in range(2))
    assert first == second


def test_another_process_gives_the_same_bits():
    code = (
        "import hashlib; from cimsim.video.embedded import embedded_clip;"
        "print(hashlib.sha256(embedded_clip(frames=2, height=64, width=80)).hexdigest())"
    )
    root = Path(embedded.__file__).parents[2]
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    here = hashlib.sha256(embedded_clip(frames=2, height=64, width=80)).hexdigest()
    assert there.stdout.strip() == here


def test_default_shape_and_type():
    clip = embedded_clip()
    assert (clip.shape, clip.dtype) == ((10, 256, 256, 3), np.uint8)


@pytest.mark.parametrize("name", ALL)
def test_a_shorter_clip_is_the_start_of_a_longer_one(name):
    longer = embedded_clip(name, 5, 64, 64)
    np.testing.assert_array_equal(embedded_clip(name, 2, 64, 64), longer[:2])


@pytest.mark.parametrize("name", ALL)
def test_frames_move_smoothly(name):
    clip = embedded_clip(name, 8).astype(float)
    steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
    assert (steps > 1).all()  # of 255: no frame repeats
    assert (steps < 45).all()  # and no cut (unrelated photographs differ by about 80)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("height", "width"), [(256, 256), (96, 160), (160, 96)])
def test_the_camera_never_leaves_the_photograph(name, height, width):
    camera = SCENES[name].camera
    white = np.full((*embedded._photo(camera.photo).shape[:2], 1), 255.0)
    for frame in range(0, 1000, 7):
        seen = embedded._view(white, camera, frame, height, width)
        np.testing.assert_allclose(seen, 255, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in ALL if SCENES[name].cutout])
def test_the_cutout_covers_and_uncovers(name):
    cutout = SCENES[name].cutout
    piece = embedded._cut(cutout)
    cover = [embedded._front(piece, cutout, t, 128, 128)[..., 3] for t in range(10)]
    assert all(c.min() >= 0 and c.max() <= 1 + 1e-9 for c in cover)
    share = np.mean(cover, axis=(1, 2))
    assert (share > 0.05).all()
    assert (share < 0.6).all()
    assert (cover[0] - cover[9] > 0.99).sum() > 50  # covered first, free later
    assert (cover[9] - cover[0] > 0.99).sum() > 50
    soft = (cover[0] > 0.02) & (cover[0] < 0.98)
    assert soft.any()


@pytest.mark.parametrize("name", [name for name in ALL if SCENES[name].cutout])
def test_the_cutout_hides_what_is_behind_it(name):
    scene = SCENES[name]
    shown = embedded_clip(name, 4, 128, 128)[3]
    front = embedded._front(embedded._cut(scene.cutout), scene.cutout, 3, 128, 128)
    behind = embedded._view(embedded._photo(scene.camera.photo), scene.camera, 3, 128, 128)
    covered, free = front[..., 3] > 1 - 1e-9, front[..., 3] == 0
    np.testing.assert_allclose(shown[covered], front[covered, :3], atol=0.5 + 1e-6)
    np.testing.assert_allclose(shown[free], behind[free], atol=0.5 + 1e-6)
    edge = ~covered & ~free
    low = np.minimum(front[edge, :3] / front[edge, 3:], behind[edge])
    high = np.maximum(front[edge, :3] / front[edge, 3:], behind[edge])
    assert (shown[edge] >= low - 0.51).all()
    assert (shown[edge] <= high + 0.51).all()


def test_photographs_lie_inside_scikit_image():
    package = Path(skimage.__file__).resolve().parent
    for scene in SCENES.values():
        for name in photos(scene):
            path = photo_path(name).resolve()
            assert path.is_relative_to(package)
            with Image.open(path) as image:
                assert image.mode == "RGB"


def test_no_network_is_touched(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    for name in ALL:
        embedded_clip(name, 1, 32, 32)


def test_resampling_on_the_grid_is_a_crop():
    photo = np.random.default_rng(0).random((20, 30, 3))
    np.testing.assert_array_equal(embedded._resample(photo, 4, 7, 1.0, 8, 9), photo[4:12, 7:16])


def test_resampling_by_whole_numbers_is_a_block_mean():
    photo = np.random.default_rng(0).random((24, 36, 3))
    expected = photo.reshape(8, 3, 12, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(embedded._resample(photo, 0, 0, 3.0, 8, 12), expected, rtol=1e-12)


def test_resampling_averages_the_exact_area():
    photo = np.random.default_rng(0).random((12, 14, 2))
    top, left, scale = 1.3, 2.45, 1.55
    fine = np.repeat(np.repeat(photo, 20, axis=0), 20, axis=1)  # 1 cell = 0.05 pixels
    for row, col in ((0, 0), (2, 3), (5, 6)):
        rows = slice(round((top + row * scale) * 20), round((top + (row + 1) * scale) * 20))
        cols = slice(round((left + col * scale) * 20), round((left + (col + 1) * scale) * 20))
        got = embedded._resample(photo, top, left, scale, 6, 7)[row, col]
        np.testing.assert_allclose(got, fine[rows, cols].mean(axis=(0, 1)), rtol=1e-9)


def test_outside_the_photograph_is_nothing():
    photo = np.ones((4, 4, 1))
    seen = embedded._resample(photo, -2, -2, 1.0, 8, 8)[..., 0]
    assert seen[2:6, 2:6].tolist() == [[1.0] * 4] * 4
    assert seen.sum() == 16


def test_wrong_requests():
    with pytest.raises(InputError, match=r"'defualt' is unknown; known: .*did you mean default\?"):
        embedded_clip("defualt")
    with pytest.raises(InputError, match="frames: expected an integer >= 1, got 0"):
        embedded_clip(frames=0)
    with pytest.raises(InputError, match="at least 16x16, got 256x-4"):
        embedded_clip(height=-4)
    with pytest.raises(InputError, match=r"'default' is sharp up to 570x385 .*got 256x400"):
        embedded_clip(height=400)
    with pytest.raises(InputError, match=r"carries no such photograph"):
        photo_path("no_such.png")


@pytest.mark.parametrize("name", ALL)
def test_the_size_limit_is_the_one_that_the_message_names(name):
    with pytest.raises(InputError) as caught:
        embedded_clip(name, 1, 5000, 5000)
    width, height = (int(n) for n in str(caught.value).split("up to ")[1].split()[0].split("x"))
    assert embedded_clip(name, 1, height, width).shape == (1, height, width, 3)
    with pytest.raises(InputError, match="sharp up to"):
        embedded_clip(name, 1, height + 1, width)
    with pytest.raises(InputError, match="sharp up to"):
        embedded_clip(name, 1, height, width + 1)
