"""Clips go out and come back: exactly where the format allows, with one clear message otherwise."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from cimsim.errors import InputError
from cimsim.video.io import read_clip, to_float, to_uint8, write_clip

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def smooth_clip(n_frames=5, height=48, width=64):
    """A moving colour pattern with detail: natural enough for a codec."""
    t, y, x = np.meshgrid(
        np.arange(n_frames), np.arange(height), np.arange(width), indexing="ij", sparse=True
    )
    planes = [np.sin((x + 2 * t) / 5 + c) * np.cos(y / (6 + c)) for c in range(3)]
    return np.rint(127.5 + 110 * np.stack(planes, -1)).astype(np.uint8)


def noise_clip(n_frames=4, height=18, width=22):
    return np.random.default_rng(5).integers(0, 256, (n_frames, height, width, 3), np.uint8)


# --- round trips ----------------------------------------------------------------------------


def test_png_folder_round_trip_is_exact(tmp_path):
    clip = noise_clip(12)
    write_clip(tmp_path / "made" / "frames", clip)
    assert sorted(p.name for p in (tmp_path / "made" / "frames").iterdir()) == [
        f"{i:05d}.png" for i in range(12)
    ]
    np.testing.assert_array_equal(read_clip(tmp_path / "made" / "frames"), clip)


@pytest.mark.parametrize("size", [(18, 22), (17, 23)], ids=["even", "odd"])
def test_mkv_round_trip_is_exact(tmp_path, size):
    clip = noise_clip(3, *size)
    write_clip(tmp_path / "clip.mkv", clip, fps=30)
    np.testing.assert_array_equal(read_clip(str(tmp_path / "clip.mkv")), clip)


def test_mp4_round_trip_keeps_colours(tmp_path):
    clip = smooth_clip()
    write_clip(tmp_path / "clip.mp4", clip, fps=24)
    error = read_clip(tmp_path / "clip.mp4").astype(float) - clip
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 42
    # the wrong matrix (BT.601 for BT.709) would shift saturated colours by many levels
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.5


def test_saturated_colours_survive_mp4(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [250, 240, 10]], np.uint8)
    clip = np.repeat(np.repeat(colours[None, None], 32, axis=1), 16, axis=2)
    write_clip(tmp_path / "clip.mp4", clip)
    middles = read_clip(tmp_path / "clip.mp4")[0, 16, 8::16].astype(int)
    assert np.abs(middles - colours).max() <= 4


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 12.5])
def test_frame_rate_is_kept(tmp_path, fps):
    write_clip(tmp_path / "clip.mp4", smooth_clip(3), fps=fps)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-6)


def test_h264_is_444_and_tagged_bt709(tmp_path):
    write_clip(tmp_path / "clip.mp4", smooth_clip(2))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.format.name, int(frame.colorspace), int(frame.color_range)) == ("yuv444p", 1, 1)


def test_writing_replaces_a_file_and_leaves_nothing_else(tmp_path):
    write_clip(tmp_path / "clip.mkv", noise_clip(4))
    write_clip(tmp_path / "clip.mkv", noise_clip(2))
    assert len(read_clip(tmp_path / "clip.mkv")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mkv"]


def test_non_contiguous_frames_are_written(tmp_path):
    clip = noise_clip()[:, ::-1, ::-1]
    for name in ("clip.mkv", "frames"):
        write_clip(tmp_path / name, clip)
        np.testing.assert_array_equal(read_clip(tmp_path / name), clip)


# --- choosing frames ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.mkv", "frames"])
def test_start_and_frames_select(tmp_path, name):
    clip = noise_clip(6)
    write_clip(tmp_path / name, clip)
    np.testing.assert_array_equal(read_clip(tmp_path / name, frames=2, start=3), clip[3:5])
    np.testing.assert_array_equal(read_clip(tmp_path / name, start=4), clip[4:])
    np.testing.assert_array_equal(read_clip(tmp_path / name, frames=6), clip)


@pytest.mark.parametrize("name", ["clip.mkv", "frames"])
def test_too_few_frames_names_both_numbers(tmp_path, name):
    write_clip(tmp_path / name, noise_clip(6))
    with pytest.raises(InputError, match=r"asked for 7 frames, the clip has 6"):
        read_clip(tmp_path / name, frames=7)
    with pytest.raises(InputError, match=r"asked for 5 frames from frame 2, the clip has 6"):
        read_clip(tmp_path / name, frames=5, start=2)
    with pytest.raises(InputError, match=r"the clip has 6 frames, cannot start at 6"):
        read_clip(tmp_path / name, start=6)


@pytest.mark.parametrize("frames", [0, -3])
def test_frames_must_be_positive(tmp_path, frames):
    with pytest.raises(InputError, match=rf"x.mkv: frames: expected an integer >= 1, got {frames}"):
        read_clip(tmp_path / "x.mkv", frames=frames)


def test_start_must_not_be_negative(tmp_path):
    with pytest.raises(InputError, match=r"start: expected an integer >= 0, got -1"):
        read_clip(tmp_path / "x.mkv", start=-1)


def test_natural_order_and_other_files_are_ignored(tmp_path):
    for number in (1, 2, 10, 20):
        Image.new("RGB", (9, 8), (number, 0, 0)).save(tmp_path / f"im{number}.png")
    (tmp_path / "notes.csv").write_text("a,b")
    (tmp_path / "._im3.png").write_bytes(b"resource fork")
    (tmp_path / "sub.png").mkdir()
    assert read_clip(tmp_path)[:, 0, 0, 0].tolist() == [1, 2, 10, 20]


# --- kinds of picture -----------------------------------------------------------------------


def test_single_image_is_a_clip_of_one(tmp_path):
    picture = noise_clip(1)
    Image.fromarray(picture[0]).save(tmp_path / "one.bmp")
    np.testing.assert_array_equal(read_clip(tmp_path / "one.bmp"), picture)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_becomes_rgb(tmp_path, suffix):
    grey = noise_clip(1)[0, ..., 0]
    path = tmp_path / f"grey{suffix}"
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(read_clip(path)[0], np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped(tmp_path, suffix):
    rgba = np.random.default_rng(1).integers(0, 256, (8, 9, 4), np.uint8)
    path = tmp_path / f"alpha{suffix}"
    Image.fromarray(rgba).save(path)
    np.testing.assert_array_equal(read_clip(path)[0], rgba[..., :3])


def test_black_and_white_palette_and_cmyk(tmp_path):
    bits = np.random.default_rng(2).integers(0, 2, (8, 9)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_clip(tmp_path / "bits.png")[0, ..., 1], bits * 255)
    Image.new("RGB", (9, 8), (200, 30, 90)).quantize(4).save(tmp_path / "palette.png")
    assert read_clip(tmp_path / "palette.png")[0, 0, 0].tolist() == [200, 30, 90]
    Image.new("CMYK", (9, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    assert np.abs(read_clip(tmp_path / "print.jpg")[0, 0, 0] - [255.0, 0, 0]).max() <= 2


def sixteen_bit(shape):
    return np.random.default_rng(3).integers(0, 65536, shape, np.uint16)


def write_png16(path, pixels):
    """Write a 16-bit colour PNG (Pillow cannot)."""
    layout = "rgb48be" if pixels.shape[2] == 3 else "rgba64be"
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = layout
        frame = av.VideoFrame.from_ndarray(pixels, format=layout)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_png_of_16_bit_is_rounded(tmp_path, channels):
    pixels = sixteen_bit((8, 12, channels))
    write_png16(tmp_path / "deep.png", pixels)
    expected = np.rint(pixels[..., :3] / 257.0)
    np.testing.assert_array_equal(read_clip(tmp_path / "deep.png")[0], expected)


def test_grey_png_of_16_bit_is_rounded(tmp_path):
    pixels = sixteen_bit((8, 12))
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(
        read_clip(tmp_path / "deep.png")[0, ..., 2], np.rint(pixels / 257.0)
    )


def test_tiff_of_16_bit_of_floats_and_with_separate_planes(tmp_path):
    pixels = sixteen_bit((8, 12, 3))
    tifffile.imwrite(tmp_path / "deep.tif", pixels, photometric="rgb")
    np.testing.assert_array_equal(read_clip(tmp_path / "deep.tif")[0], np.rint(pixels / 257.0))
    planes = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_clip(tmp_path / "p.tif")[0], np.rint(pixels / 257.0))
    unit = (pixels / 65535.0).astype(np.float32)
    tifffile.imwrite(tmp_path / "unit.tif", unit, photometric="rgb")
    np.testing.assert_array_equal(read_clip(tmp_path / "unit.tif")[0], np.rint(unit * 255))


def test_camera_orientation_is_applied(tmp_path):
    picture = smooth_clip(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_clip(tmp_path / "turned.png")[0], np.rot90(picture, -1))


# --- what cannot be read --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing.mp4", "nothing.png", "nothing", "n" * 300 + ".mp4"])
def test_missing_path(tmp_path, name):
    with pytest.raises(InputError, match=r"accepted: a video file \(\.mp4") as caught:
        read_clip(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_folder_without_images(tmp_path):
    with pytest.raises(InputError, match=r"no images in this folder, it is empty; accepted"):
        read_clip(tmp_path)
    (tmp_path / "movie.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of its 1 entries is an image"):
        read_clip(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clip.mp4", b""),
        ("clip.mp4", b"\x00\x01garbage" * 500),
        ("clip.txt", b"a text file\n" * 100),
        ("clip.yaml", b"adc: {bits: 8}\n" * 100),
    ],
)
def test_not_a_video(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable video|holds no video|is empty") as caught:
        read_clip(path)
    assert str(path) in str(caught.value)


def test_sound_without_picture(tmp_path):
    with av.open(str(tmp_path / "tone.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"tone\.mkv: holds no video"):
        read_clip(tmp_path / "tone.mkv")


def test_half_a_video_is_short_or_refused(tmp_path):
    write_clip(tmp_path / "whole.mkv", noise_clip(8, 64, 64))
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputError, match=r"asked for 8 frames, the clip has [34]|cannot be decoded"
    ):
        read_clip(tmp_path / "half.mkv", frames=8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_damaged_image(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    Image.fromarray(noise_clip(1, 64, 64)[0]).save(whole)
    for name, content in (("junk", b"junk"), ("half", whole.read_bytes()[:900])):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}{suffix}: .*(readable image|damaged) \("):
            read_clip(path)


def test_frames_of_different_size(tmp_path):
    Image.new("RGB", (9, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (10, 8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"different size: a\.png is 9x8, b\.png is 10x8"):
        read_clip(tmp_path)
    assert read_clip(tmp_path, frames=1).shape == (1, 8, 9, 3)


def test_tiff_stack_and_unknown_pixels(tmp_path):
    tifffile.imwrite(
        tmp_path / "stack.tif", np.zeros((4, 8, 9), np.uint8), photometric="minisblack"
    )
    with pytest.raises(InputError, match=r"stack\.tif: holds 4 pages"):
        read_clip(tmp_path / "stack.tif")
    tifffile.imwrite(tmp_path / "far.tif", np.full((8, 9), 300.0, np.float32))
    with pytest.raises(InputError, match=r"far\.tif: pixels are float32 in 300\.0\.\.300\.0"):
        read_clip(tmp_path / "far.tif")
    tifffile.imwrite(tmp_path / "long.tif", np.zeros((8, 9), np.int32))
    with pytest.raises(InputError, match=r"expected 8 or 16 bit, or floats in 0\.\.1"):
        read_clip(tmp_path / "long.tif")
    tifffile.imwrite(tmp_path / "w.tif", np.zeros((8, 9), np.uint8), photometric="miniswhite")
    with pytest.raises(InputError, match="white-is-zero"):
        read_clip(tmp_path / "w.tif")


# --- what cannot be written -----------------------------------------------------------------


def test_unknown_suffix(tmp_path):
    with pytest.raises(InputError, match=r"suffix '\.xyz'; accepted: \.mp4 \(H\.264, not quite"):
        write_clip(tmp_path / "clip.xyz", noise_clip())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 9, 3), np.float32),
        np.zeros((8, 9, 3), np.uint8),
        np.zeros((2, 8, 9, 1), np.uint8),
        np.zeros((0, 8, 9, 3), np.uint8),
    ],
)
def test_wrong_frames(tmp_path, frames):
    with pytest.raises(InputError, match=r"expected frames as uint8 of shape \(T, H, W, 3\), got"):
        write_clip(tmp_path / "clip.mkv", frames)


@pytest.mark.parametrize("fps", [0, -25.0, 1e-6, float("nan"), float("inf")])
def test_wrong_fps(tmp_path, fps):
    with pytest.raises(InputError, match=r"fps: expected a number in 0\.01\.\.1000, got"):
        write_clip(tmp_path / "clip.mkv", noise_clip(), fps=fps)


def test_nothing_is_overwritten_by_surprise(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"this folder is not empty; remove it or choose another"):
        write_clip(tmp_path / "full", noise_clip())
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write_clip(tmp_path / "file", noise_clip())
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_clip(tmp_path / "dir.mp4", noise_clip())
    (tmp_path / "empty").mkdir()
    write_clip(tmp_path / "empty", noise_clip())
    assert len(read_clip(tmp_path / "empty")) == len(noise_clip())


def test_parent_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write the clip"):
        write_clip(tmp_path / "file" / "clip.mp4", noise_clip())


class StopsAfterTwo(np.ndarray):
    """Frames whose source is interrupted after the second."""

    def __iter__(self):
        yield from np.asarray(self)[:2]
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "frames"])
def test_an_interrupted_write_leaves_nothing(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / name, noise_clip(6).view(StopsAfterTwo))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_clip(tmp_path):
    clip = noise_clip(2)
    write_clip(tmp_path / "clip.mkv", clip)
    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path / "clip.mkv", noise_clip(6).view(StopsAfterTwo))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mkv"]
    np.testing.assert_array_equal(read_clip(tmp_path / "clip.mkv"), clip)


# --- floats and bytes -----------------------------------------------------------------------


def test_every_byte_survives_float():
    every = np.arange(256, dtype=np.uint8)
    unit = to_float(every)
    assert unit.dtype == np.float32
    assert (unit[0], unit[-1]) == (0, 1)
    np.testing.assert_array_equal(to_uint8(unit), every)


def test_to_uint8_clips_and_rounds():
    values = np.array([-3.0, -0.001, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.5, np.inf, -np.inf])
    assert to_uint8(values).tolist() == [0, 0, 0, 0, 1, 255, 255, 255, 0]


def test_wrong_dtypes_are_named():
    with pytest.raises(InputError, match="expected uint8 frames, got float64"):
        to_float(np.zeros(3))
    with pytest.raises(InputError, match=r"expected floats in \[0, 1\], got uint8"):
        to_uint8(np.zeros(3, np.uint8))
    with pytest.raises(InputError, match="NaN"):
        to_uint8(np.array([0.5, np.nan]))


# --- the project's own clips ----------------------------------------------------------------


def literal_reading(path):
    """The conversion as the data folder's README states it."""
    frames = []
    with av.open(str(path)) as container:
        for f in container.decode(video=0):
            planes = [
                np.frombuffer(p, np.uint16).reshape(f.height, p.line_size // 2)[:, : f.width]
                for p in f.planes
            ]
            y, cb, cr = (p.astype(np.float64) / 1023 for p in planes)
            cb, cr = cb - 512 / 1023, cr - 512 / 1023
            r, b = y + 1.5748 * cr, y + 1.8556 * cb
            g = (y - 0.2126 * r - 0.0722 * b) / 0.7152
            rgb = np.rint(255 * np.stack([r, g, b], -1))
            frames.append(np.clip(rgb, 0, 255).astype(np.uint8))
    return np.stack(frames)


@pytest.mark.skipif(not (DATA / "train").is_dir(), reason="no training clips beside the checkout")
@pytest.mark.parametrize("name", ["davis_tennis.mp4", "basketballpass_a.mp4"])
def test_training_clip_is_read_as_documented(name):
    with (DATA / "train" / "manifest.csv").open() as file:
        assert any(name in " ".join(row) for row in csv.reader(file))
    np.testing.assert_array_equal(
        read_clip(DATA / "train" / name), literal_reading(DATA / "train" / name)
    )


@pytest.mark.skipif(not (DATA / "test").is_dir(), reason="no test clips beside the checkout")
def test_test_clip_is_read_bit_by_bit():
    folder = DATA / "test" / "motorbike"
    clip = read_clip(folder, frames=2, start=18)
    assert clip.shape == (2, 540, 960, 3)
    files = sorted(folder.glob("*.png"))
    for frame, path in zip(clip, files[18:20], strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(frame, np.asarray(image))


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v"])
def test_what_a_killed_writer_leaves_goes_with_the_next(tmp_path, name):
    frames = noise_clip(3, 32, 32)

    class Killed:
        shape, dtype = frames.shape, frames.dtype

        def __iter__(self):
            yield frames[0]
            os.kill(os.getpid(), signal.SIGKILL)

    if not (pid := os.fork()):
        write_clip(tmp_path / name, Killed())
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    left = [place.name for place in tmp_path.iterdir()]
    assert left or name == "v.mp4"  # the writer of mp4 begins late
    assert all(one.startswith(f".{name}.") for one in left)
    write_clip(tmp_path / name, frames)
    assert [place.name for place in tmp_path.iterdir()] == [name]
    assert len(read_clip(tmp_path / name)) == 3
