"""Pictures as cameras, scanners and scripts leave them: deep, raw, turned, animated, numbered."""

import os
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from cimsim.errors import InputError
from cimsim.video._orientation import EXIF
from cimsim.video.clip import load_clip
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import read_clip

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8)


# --- levels ---------------------------------------------------------------------------------


def write_deep(path, pixels):
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    elif path.suffix == ".npy":
        np.save(path, pixels[None] if pixels.ndim == 3 else pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_of_sixteen_bit_files_is_found_and_said(tmp_path, suffix, bits):
    white = 2**bits - 1
    pixels = np.random.default_rng(bits).integers(0, white + 1, (12, 17), np.uint16)
    pixels[0, 0] = white
    path = write_deep(tmp_path / f"a{suffix}", pixels)
    opened = load_clip(path)
    expected = np.rint(pixels * 255.0 / white)
    np.testing.assert_array_equal(np.asarray(opened)[0, ..., 1], expected)
    assert any(f"taken as {bits} bits" in note for note in opened.notes) == (bits < 16)
    given = np.asarray(load_clip(path, black=50, white=200))[0, ..., 1]
    np.testing.assert_array_equal(given, np.rint(np.clip((pixels - 50.0) / 150, 0, 1) * 255))


def test_the_depth_is_that_of_the_clip_not_of_each_picture(tmp_path):
    for number, value in enumerate((100, 900, 4000)):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((8, 9), value, np.uint16))
    assert read_clip(tmp_path)[:, 0, 0, 0].tolist() == [6, 56, 249]


def test_a_later_picture_that_exceeds_the_found_depth_is_refused(tmp_path):
    for number in range(20):
        value = 60000 if number == 18 else 3000
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((8, 9), value, np.uint16))
    with pytest.raises(InputError, match=r"18\.tif: holds the value 60000.*--white 65535"):
        read_clip(tmp_path)
    assert read_clip(tmp_path, white=65535)[18, 0, 0, 0] == 233


@pytest.mark.parametrize("first", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_each_picture_of_a_folder_is_scaled_by_its_own_depth(tmp_path, first, suffix):
    eight = PICTURE[..., 0]
    pictures = {8: eight, 16: eight.astype(np.uint16) * 257}
    for number, bits in enumerate((first, 24 - first, first)):
        write_deep(tmp_path / f"{number}{suffix}", pictures[bits])
    clip = load_clip(tmp_path)
    for frame in clip:
        np.testing.assert_array_equal(frame[..., 0], eight)
    assert any("pictures of several depths (uint" in note for note in clip.notes)
    with pytest.raises(InputError, match=rf"1\{suffix}: its samples are uint.*--black and --white"):
        read_clip(tmp_path, white=4095)


def test_a_later_float_picture_outside_of_the_first_ones_is_refused(tmp_path):
    frames = np.full((20, 8, 9), 0.5, np.float32)
    frames[18, 0, 0] = 200
    np.save(tmp_path / "a.npy", frames)
    with pytest.raises(InputError, match=r"frame 18: holds the value 200.*--black, --white"):
        read_clip(tmp_path / "a.npy")
    assert read_clip(tmp_path / "a.npy", white=200)[18, 0, 0, 0] == 255


def test_wide_and_signed_integers_and_floats_need_a_white_level(tmp_path):
    for pixels in (np.full((8, 9), 5000, np.int32), np.full((8, 9), 5000.0, np.float32)):
        tifffile.imwrite(tmp_path / "a.tif", pixels)
        with pytest.raises(InputError, match=r"say which values are black and white"):
            read_clip(tmp_path / "a.tif")
        assert read_clip(tmp_path / "a.tif", white=10000)[0, 0, 0, 0] == 128


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"white": 0}, "white: expected more than black"),
        ({"black": 300}, "black: expected less than white"),
        ({"black": float("nan")}, "black: expected a finite code value, got nan"),
        ({"white": float("inf")}, "white: expected a finite code value, got inf"),
    ],
)
def test_impossible_levels_are_refused(tmp_path, values, message):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        read_clip(tmp_path / "a.png", **values)


def test_nan_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 8, 9, 3), np.nan))
    with pytest.raises(InputError, match=r"nan|NaN"):
        read_clip(tmp_path / "a.npy")


# --- raw ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".dng", ".tif", ".nef"])
def test_raw_mosaics_are_refused_in_words(tmp_path, suffix):
    path = tmp_path / f"raw{suffix}"
    mosaic = np.random.default_rng(1).integers(0, 4096, (16, 16), np.uint16)
    tifffile.imwrite(path, mosaic, photometric="cfa", extratags=[(33422, 1, 4, b"\0\1\1\2", True)])
    with pytest.raises(InputError, match=r"raw colour mosaic \(Bayer\).*develop it first"):
        read_clip(path)


def test_a_mosaic_without_a_word_in_the_file_is_told(tmp_path):
    scene = embedded_clip("portrait", 1, 64, 96)[0]
    grey = scene.mean(axis=2).astype(np.uint8)
    mosaic = np.empty_like(grey)
    tinted = np.stack([scene[..., 0], scene[..., 1] // 2, scene[..., 2] // 4], -1)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = tinted[y::2, x::2, channel]
    for name, pixels in (("grey", grey), ("mosaic", mosaic)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        notes = load_clip(tmp_path / f"{name}.png").notes
        assert any("mosaic" in note for note in notes) == (name == "mosaic")


def test_hdr_png_is_refused(tmp_path):
    path = tmp_path / "hdr.png"
    Image.fromarray(PICTURE).save(path)
    data = path.read_bytes()
    body = b"cICP" + bytes([9, 16, 0, 1])
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(InputError, match=r"its transfer is PQ \(HDR\)"):
        read_clip(path)


# --- turning --------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", EXIF)
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "png16"])
def test_exif_orientation_turns_and_mirrors(tmp_path, orientation, kind):
    """Against the table of Exif 2.32: where the stored row 0 and column 0 are to be shown."""
    suffix, deep = kind[:4].rstrip("1"), kind == "png16"
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    pixels = PICTURE if not deep else PICTURE[..., 0].astype(np.uint16) * 257
    if suffix == "tif":
        tifffile.imwrite(
            path, pixels, photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
        )
    else:
        options = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(pixels).save(path, exif=exif, **options)
    plain = tmp_path / f"plain.{suffix}"
    Image.fromarray(pixels).save(plain, **({"lossless": True} if suffix == "webp" else {}))
    stored = read_clip(plain)[0]
    row_side, column_side = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    expected = stored if row_side in ("top", "bottom") else stored.swapaxes(0, 1)
    if "bottom" in (row_side, column_side):
        expected = expected[::-1]
    if "right" in (row_side, column_side):
        expected = expected[:, ::-1]
    np.testing.assert_array_equal(read_clip(path)[0], expected)


# --- animations, patterns, arrays ------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif", ".apng"])
def test_animations_are_read_frame_by_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (17, 12), (40 * n, 0, 200)) for n in range(5)]
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    kind = "PNG" if suffix == ".apng" else None
    frames[0].save(
        path,
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=[40, 80, 40, 500, 40],
        **options,
    )
    clip = read_clip(path)
    assert clip.shape == (5, 12, 17, 3)
    np.testing.assert_allclose(clip[:, 5, 5, 0], [0, 40, 80, 120, 160], atol=1)
    assert len(read_clip(path, frames=2, start=1)) == 2
    with pytest.raises(InputError, match="asked for 6 frames, the clip has 5"):
        read_clip(path, frames=6)


def animation(path, n=4, **options):
    frames = [Image.new("RGB", (17, 12), (40 * k, 0, 200)) for k in range(n)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize("times", [{}, {"duration": 0}, {"duration": 20}, {"loop": 0}])
def test_a_gif_has_all_its_frames_whatever_times_it_states(tmp_path, times):
    opened = load_clip(animation(tmp_path / "a.gif", **times))
    assert np.asarray(opened)[:, 5, 5, 0].tolist() == [0, 40, 80, 120]
    assert opened.facts["container"] == "animation"
    other_name = (tmp_path / "a.gif").rename(tmp_path / "a.mp4")
    assert len(load_clip(other_name)) == 4


def test_the_hidden_picture_of_an_animated_png_is_no_frame(tmp_path):
    opened = load_clip(animation(tmp_path / "a.png", default_image=True))
    assert len(opened) == opened.shape[0] == 3
    assert np.asarray(opened)[:, 5, 5, 0].tolist() == [40, 80, 120]
    assert any("no frame: left out" in note for note in opened.notes)
    alone = load_clip(animation(tmp_path / "b.png", 2, default_image=True))
    assert np.asarray(alone)[:, 5, 5, 0].tolist() == [40]


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_a_cut_animation_stops_or_is_told(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), np.uint8)
    frames = [Image.fromarray(one) for one in pixels]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert len(load_clip(path)) == 4
    whole = path.read_bytes()
    for left in (0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(left * len(whole))])
        with pytest.raises(InputError, match=r"the picture is damaged \(it (ends|breaks off)"):
            read_clip(path)
        opened = load_clip(path, tolerate_damage=True)
        assert 1 <= len(opened) < 4
        assert any("damage tolerated" in note for note in opened.notes)


def test_a_gif_that_lacks_its_end_alone_stops(tmp_path):
    path = animation(tmp_path / "a.gif", 1)
    path.write_bytes(path.read_bytes().removesuffix(b";"))
    with pytest.raises(InputError, match="it ends before its last block"):
        read_clip(path)


def numbered(folder, numbers, name="f{:03d}.png"):
    for number in numbers:
        Image.new("RGB", (9, 8), (number, 0, 0)).save(folder / name.format(number))


@pytest.mark.parametrize("pattern", ["f%03d.png", "f*.png", "f[0-9]*.png", "f00?.png"])
def test_patterns(tmp_path, pattern):
    numbered(tmp_path, range(3, 8))
    numbered(tmp_path, [90], "mask{}.png")
    assert read_clip(tmp_path / pattern)[:, 0, 0, 0].tolist() == [3, 4, 5, 6, 7]


def test_a_pattern_without_leading_zeros(tmp_path):
    numbered(tmp_path, range(8, 12), "f_{}.png")
    assert read_clip(tmp_path / "f_%d.png")[:, 0, 0, 0].tolist() == [8, 9, 10, 11]


def test_a_gap_in_a_pattern_stops_or_is_told(tmp_path):
    numbered(tmp_path, [1, 2, 4])
    with pytest.raises(InputError, match=r"number 3 is missing between f002\.png and f004\.png"):
        read_clip(tmp_path / "f%03d.png")
    opened = load_clip(tmp_path / "f%03d.png", tolerate_damage=True)
    assert len(opened) == 3
    assert any("number 3 is missing" in note for note in opened.notes)


@pytest.mark.parametrize("pattern", ["", "f*.png"])
def test_numbers_that_a_folder_or_a_glob_leaves_out_are_told(tmp_path, pattern):
    numbered(tmp_path, [0, 1, 5])
    opened = load_clip(tmp_path / pattern)
    assert len(opened) == 3
    assert any(
        "numbers 2 to 4 are missing between f001.png and f005.png" in note for note in opened.notes
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a0.png", "a10.png", "a20.png"], "numbers go in steps of 10 from a0.png to a20.png"),
        (["1.png", "3.png", "4.png", "8.png"], "number 2 is missing between 1.png and 3.png (1 mo"),
        (["1.png", "01.png", "2.png"], "01.png and 1.png have the same number"),
        (["x1_05.png", "x1_06.png", "x1_09.png"], "numbers 7 to 8 are missing between x1_06.png"),
        (["8.png", "9.png", "10.png"], ""),
        (["a.png", "b.png"], ""),
        (["2024_01.png", "2024_02.png", "2025_01.png"], ""),
    ],
)
def test_how_the_numbers_of_a_folder_go(tmp_path, names, told):
    for name in names:
        Image.new("RGB", (9, 8)).save(tmp_path / name)
    notes = [note for note in load_clip(tmp_path).notes if "number" in note]
    assert bool(notes) == bool(told)
    assert all(told in note for note in notes)


@pytest.mark.parametrize("pattern", ["", "f*.png", "f%03d.png"])
@pytest.mark.parametrize("target", ["f002.png", "nowhere.png"])
def test_a_link_that_leads_to_nothing_is_not_left_out_in_silence(tmp_path, pattern, target):
    numbered(tmp_path, [0, 1])
    (tmp_path / "f002.png").symlink_to(target)
    (tmp_path / "f003.png").mkdir()  # a folder is no picture
    with pytest.raises(InputError, match=r"f002\.png cannot be read \(a link that leads to noth"):
        load_clip(tmp_path / pattern)
    opened = load_clip(tmp_path / pattern, tolerate_damage=True)
    assert len(opened) == 2
    assert any("f002.png cannot be read" in note for note in opened.notes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_among_pictures_is_not_left_out_in_silence(tmp_path):
    os.mkfifo(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"0\.png is no file but a pipe"):
        load_clip(tmp_path)


@pytest.mark.parametrize(
    "pattern", ["g%03d.png", "g*.png", "f%03d.mp4", "f%03d_%02d.png", "no/%d.png"]
)
def test_patterns_that_stand_for_nothing(tmp_path, pattern):
    numbered(tmp_path, [1, 2])
    with pytest.raises(InputError, match=r"pattern|No such file"):
        read_clip(tmp_path / pattern)


def test_stray_pictures_of_a_folder_are_told(tmp_path):
    numbered(tmp_path, range(4))
    numbered(tmp_path, [1], "mask_{}.png")
    notes = load_clip(tmp_path).notes
    assert any("names of 2 kinds" in note and "mask_#.png (1)" in note for note in notes)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 8, 9, 3), (4, 8, 9, 3)), ((4, 8, 9, 1), (4, 8, 9, 3)), ((4, 8, 9, 4), (4, 8, 9, 3)),
     ((4, 8, 9), (4, 8, 9, 3)), ((8, 9, 3), (1, 8, 9, 3)), ((8, 9), (1, 8, 9, 3))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, ">u2", bool])
def test_arrays(tmp_path, shape, expected, dtype):
    draw = np.random.default_rng(2)
    array = draw.random(shape) if np.dtype(dtype).kind == "f" else draw.integers(0, 2, shape)
    array = array.astype(dtype)
    if np.dtype(dtype).kind == "u":
        array *= np.array(np.iinfo(dtype).max, array.dtype)
    np.save(tmp_path / "a.npy", array)
    found = read_clip(tmp_path / "a.npy")
    assert found.shape == expected
    scale = 255 if np.dtype(dtype).kind in "fb" else 255 / np.iinfo(dtype).max
    stored = array.reshape(*expected[:3], -1)[..., :1]
    np.testing.assert_array_equal(found[..., :1], np.rint(stored * scale))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3, 8, 9), np.uint8), r"expected \[T, H, W, 3\]"),
        (np.zeros((0, 8, 9, 3), np.uint8), "holds no frame"),
        (np.array([["a"]]), "expected numbers"),
        (np.array([{"a": 1}], dtype=object), "expected numbers"),
        (np.asfortranarray(np.zeros((4, 8, 9, 3), np.uint8)), "by columns"),
        (np.zeros((4, 8, 9, 3), np.complex64), "expected numbers"),
    ],
)
def test_arrays_that_are_no_clips(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        read_clip(tmp_path / "a.npy")


def test_half_an_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 9, 3), np.uint8))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-100])
    with pytest.raises(InputError, match="the file is incomplete"):
        read_clip(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"junk")
    with pytest.raises(InputError, match="not a readable array"):
        read_clip(tmp_path / "a.npy")


# --- what a file says of its colours ----------------------------------------------------------


def with_chunk(path, kind, content):
    """Put a chunk behind the header of a PNG."""
    data, body = path.read_bytes(), kind + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:33] + chunk + data[33:])


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (b"gAMA", struct.pack(">I", 100_000), "!its transfer is linear light"),
        (b"cICP", bytes([1, 8, 0, 1]), "!its transfer is linear light"),
        (b"gAMA", struct.pack(">I", 30_000), "its gamma of 0.3 is not applied"),
        (b"cICP", bytes([9, 1, 0, 1]), "its BT.2020 primaries are not applied"),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),
         "its other primaries are not applied"),
        (b"gAMA", struct.pack(">I", 45_455), None),
    ],
)  # fmt: skip
def test_colours_that_a_png_states_are_told_or_refused(tmp_path, kind, content, said):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    with_chunk(path, kind, content)
    if said and said.startswith("!"):
        with pytest.raises(InputError, match=said[1:]):
            read_clip(path)
        return
    clip = load_clip(path)
    np.testing.assert_array_equal(np.asarray(clip)[0], PICTURE)
    assert any(said in note for note in clip.notes) if said else not clip.notes


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "LAB"])
def test_tiff_of_other_colours_is_converted_or_refused(tmp_path, mode):
    path = tmp_path / "a.tif"
    shown = Image.fromarray(embedded_clip("default", 1, 48, 64)[0]).convert(mode)
    shown.save(path, tiffinfo={274: 3})
    if mode == "LAB":
        with pytest.raises(InputError, match="CIELAB"):
            read_clip(path)
        return
    clip = load_clip(path)
    upright = np.asarray(shown.convert("RGB"))[::-1, ::-1].astype(int)
    assert np.abs(np.asarray(clip)[0] - upright).max() < 6  # Y'CbCr is stored with half its chroma
    assert any("converted to RGB" in note for note in clip.notes)


@pytest.mark.parametrize("deep", [False, True])
def test_tiff_with_the_compression_of_drawing_programs_is_read(tmp_path, deep):
    """LZW; the library that reads plain TIFF leaves it to another one."""
    path = tmp_path / "a.tif"
    if deep:  # libavcodec has the only encoder at hand
        pixels = PICTURE.astype(np.uint16) * 257
        encoder = av.CodecContext.create("tiff", "w")
        encoder.height, encoder.width, encoder.pix_fmt = *PICTURE.shape[:2], "rgb48le"
        encoder.time_base, encoder.options = Fraction(1, 25), {"compression_algo": "lzw"}
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
        path.write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode()])))
    else:
        Image.fromarray(PICTURE).save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(read_clip(path)[0], PICTURE)


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 17), ({"optimize": True}, 14), ({"progressive": True}, 19)],
    ids=["usual tables", "own tables", "progressive"],
)
def test_most_damaged_jpeg_files_stop_the_reading(tmp_path, options, least):
    path = tmp_path / "a.jpg"
    Image.fromarray(embedded_clip("default", 1, 96, 128)[0]).save(path, quality=90, **options)
    data, refused = path.read_bytes(), 0
    assert any("no means to notice all damage" in note for note in load_clip(path).notes)
    for trial in range(20):
        draw, broken = np.random.default_rng(trial), bytearray(data)
        for place in draw.integers(len(data) // 4, 3 * len(data) // 4, 6):
            broken[place] ^= int(draw.integers(1, 256))
        path.write_bytes(bytes(broken))
        try:
            read_clip(path)
        except InputError as error:
            refused += 1
            if "--tolerate-damage" in str(error):
                tolerant = load_clip(path, tolerate_damage=True)
                assert np.asarray(tolerant).shape == (1, 96, 128, 3)
                assert len(tolerant.damaged) == 1
    assert refused >= least


def test_half_a_jpeg_stops_the_reading_or_is_grey_below(tmp_path):
    path, scene = tmp_path / "a.jpg", embedded_clip("default", 1, 96, 128)[0]
    Image.fromarray(scene).save(path, quality=95)
    whole, data = read_clip(path)[0], path.read_bytes()
    for share in (0.5, 0.9, 0.99):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(
            InputError, match=r"a\.jpg: the picture is damaged \(.*--tolerate-damage"
        ):
            read_clip(path)
        np.testing.assert_array_equal(read_clip(path, tolerate_damage=True)[0, :16], whole[:16])
    path.write_bytes(data[:60])
    with pytest.raises(InputError, match="not a readable image"):
        read_clip(path, tolerate_damage=True)


JPEGS = {
    "grey": ("L", {}), "half chroma": ("RGB", {"subsampling": 2}),
    "4:2:2": ("RGB", {"subsampling": 1}), "4:1:1": ("RGB", {"subsampling": "4:1:1"}),
    "whole chroma": ("RGB", {"subsampling": 0}), "kept RGB": ("RGB", {"keep_rgb": True}),
    "CMYK": ("CMYK", {}), "progressive": ("RGB", {"progressive": True}),
    "restarts": ("RGB", {"restart_marker_blocks": 3}), "two pictures": ("RGB", {}),
    "more behind": ("RGB", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", JPEGS)
def test_whole_jpeg_files_of_every_kind_are_read_and_no_damage(tmp_path, name):
    mode, options = JPEGS[name]
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(embedded_clip("default", 1, 37, 51)[0]).convert(mode)
    if name == "two pictures":
        options = {"format": "MPO", "save_all": True, "append_images": [picture.rotate(180)]}
    picture.save(path, quality=90, **options)
    if name == "more behind":
        path.write_bytes(path.read_bytes() + b"\0some program's own data")
    clip = load_clip(path)
    with Image.open(path) as other:
        np.testing.assert_array_equal(np.asarray(clip)[0], np.asarray(other.convert("RGB")))
    assert clip.grey == (mode == "L")


@pytest.mark.parametrize("suffix", [".jpe", ".JFIF", ".png"])
def test_a_jpeg_file_of_another_name_is_read_as_one(tmp_path, suffix):
    path, exif = tmp_path / f"a{suffix}", Image.Exif()
    exif[274] = 6
    scene = Image.fromarray(embedded_clip("default", 1, 37, 51)[0])
    scene.save(path, "JPEG", quality=80, exif=exif)
    clip = load_clip(path)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(np.asarray(clip)[0], np.rot90(np.asarray(stored), -1))
    assert any("damaged" in note for note in clip.notes)


def test_all_pictures_of_an_animated_avif_are_frames(tmp_path):
    frames = [Image.fromarray(frame) for frame in embedded_clip("default", 3, 48, 64)]
    path = tmp_path / "a.avif"
    try:
        frames[0].save(path, save_all=True, append_images=frames[1:], quality=90)
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no AVIF")
    found = read_clip(path).astype(int)
    assert found.shape == (3, 48, 64, 3)
    for shown, frame in zip(found, frames, strict=True):
        assert np.abs(shown - np.asarray(frame)).mean() < 6
