"""Video files as cameras and editors write them: turned, tagged, interlaced, HDR, damaged."""

import io
import subprocess
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize

from cimsim.errors import InputError
from cimsim.video.clip import load_clip
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import read_clip

SIZE = (64, 96)


@pytest.fixture(scope="module")
def clip():
    return embedded_clip("default", 12, *SIZE)


def encode(
    path, frames, codec="libx264", layout="yuv420p", options=None, prepare=None, audio=False
):
    """Encode RGB frames; ``prepare(stream)`` sets tags, ``layout`` the samples."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = layout
        stream.options = options or {}
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none", **(options or {})}
        if prepare:
            prepare(stream)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(format=layout)))
        container.mux(stream.encode())
    return path


def tags(**values):
    def prepare(stream):
        for name, value in values.items():
            setattr(stream.codec_context, name, value)

    return prepare


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


# --- turning --------------------------------------------------------------------------------

ONE = 1 << 16
MATRICES = {
    "as stored": (ONE, 0, 0, ONE), "mirrored": (-ONE, 0, 0, ONE), "upside down": (ONE, 0, 0, -ONE),
    "half turn": (-ONE, 0, 0, -ONE), "clockwise": (0, ONE, -ONE, 0),
    "counter-clockwise": (0, -ONE, ONE, 0), "transposed": (0, ONE, ONE, 0),
    "other diagonal": (0, -ONE, -ONE, 0),
}  # fmt: skip


def with_matrix(path, a, b, c, d):
    """Put a display matrix into the track header of an mp4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, SIZE) for name in MATRICES] + [("clockwise", (61, 93)), ("transposed", (61, 93))],
)
def test_a_display_matrix_turns_and_mirrors(tmp_path, clip, name, size):
    layout = "yuv420p" if size == SIZE else "yuv444p"  # H.264 has half chroma for even sizes only
    path = encode(tmp_path / "a.mp4", clip[:2, : size[0], : size[1]], layout=layout)
    plain = read_clip(path)
    a, b, c, d = MATRICES[name]
    with_matrix(path, a, b, c, d)
    # the definition, pixel by pixel: (x, y) is shown at (a x + c y, b x + d y)
    height, width = size
    y, x = np.mgrid[:height, :width]
    u, v = (a * x + c * y) // ONE, (b * x + d * y) // ONE
    u, v = u - u.min(), v - v.min()
    expected = np.zeros((2, v.max() + 1, u.max() + 1, 3), np.uint8)
    expected[:, v, u] = plain[:, y, x]
    np.testing.assert_array_equal(read_clip(path), expected)
    assert any("as the file says" in note for note in load_clip(path).notes) == (
        name != "as stored"
    )


def test_another_angle_is_refused(tmp_path, clip):
    path = encode(tmp_path / "a.mp4", clip[:2])
    with_matrix(path, 46341, 46341, -46341, 46341)
    with pytest.raises(InputError, match="only multiples of 90 are supported"):
        read_clip(path)


def test_a_matrix_that_shows_nothing_is_refused(tmp_path, clip):
    path = encode(tmp_path / "a.mp4", clip[:2])
    with_matrix(path, 0, 0, 0, 0)
    with pytest.raises(InputError, match=r"display matrix \(0 0 0 0\) shows no picture; write"):
        read_clip(path)


def test_a_matrix_that_scales_is_told(tmp_path, clip):
    path = encode(tmp_path / "a.mp4", clip[:2])
    with_matrix(path, 0, 2 * ONE, -2 * ONE, 0)
    notes = load_clip(path).notes
    assert any("2 times as wide and 2 times as high: left at its stored" in n for n in notes)
    assert any("clockwise" in note for note in notes)


# --- colours --------------------------------------------------------------------------------


def by_hand(frame, matrix, full):
    """A 4:4:4 frame of any depth to RGB in float64 (ITU-R BT.601-7, BT.709-6)."""
    kr, kb = {709: (0.2126, 0.0722), 601: (0.299, 0.114)}[matrix]
    depth = frame.format.components[0].bits
    dtype = np.uint8 if depth == 8 else np.uint16
    y, u, v = (
        np.frombuffer(plane, dtype).reshape(frame.height, -1)[:, : frame.width] / 2 ** (depth - 8)
        for plane in frame.planes
    )
    top = (2**depth - 1) / 2 ** (depth - 8)
    y = y / top if full else (y - 16) / 219
    u, v = ((c - 128) / (top if full else 224) for c in (u, v))
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.clip(np.stack([red, green, blue], -1), 0, 1)


@pytest.mark.parametrize(
    ("layout", "height", "values", "matrix", "full", "said"),
    [
        ("yuv444p", 64, {}, 601, False, "no colour matrix is tagged: taken as BT.601"),
        ("yuv444p", 720, {}, 709, False, "no colour matrix is tagged: taken as BT.709"),
        ("yuv444p", 64, {"colorspace": 1, "color_range": 1}, 709, False, None),
        ("yuv444p", 720, {"colorspace": 6, "color_range": 1}, 601, False, None),
        ("yuv444p", 64, {"colorspace": 1, "color_range": 2}, 709, True, None),
        ("yuv444p10le", 64, {"colorspace": 1, "color_range": 1}, 709, False, None),
        ("yuv444p10le", 64, {"colorspace": 1, "color_range": 2}, 709, True, None),
    ],
)
def test_matrix_and_range_are_those_of_the_tags_or_of_the_size(
    tmp_path, clip, layout, height, values, matrix, full, said
):
    frames = np.repeat(clip[:1], -(-height // SIZE[0]), axis=1)[:, :height]
    path = encode(tmp_path / "a.mp4", frames, "libx264", layout, {"crf": "1"}, tags(**values))
    with av.open(str(path)) as container:
        expected = by_hand(next(container.decode(video=0)), matrix, full)
    error = read_clip(path)[0] - expected
    assert np.abs(error).max() < 1.01  # the rounding to 8 bit, and that of libswscale
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.05
    assert any(said in note for note in load_clip(path).notes) if said else True


def test_chroma_is_interpolated_and_nothing_is_darker(tmp_path):
    """A slow wedge of colours in 4:2:0: what is left is rounding, without a bias."""
    y, x = np.mgrid[:64, :96] / 96
    wedge = np.stack([0.2 + 0.6 * x, 0.8 - 0.6 * x, 0.3 + 0.5 * y], -1)
    frames = np.rint(255 * wedge).astype(np.uint8)[None]
    for layout in ("yuv420p", "yuv420p10le"):
        path = encode(
            tmp_path / f"{layout}.mkv", frames, "ffv1", layout, prepare=tags(color_range=1)
        )
        error = read_clip(path).astype(float) - frames
        assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.4
        assert np.sqrt(np.mean(error**2)) < 1.5


@pytest.mark.parametrize(
    ("transfer", "name"), [(16, "PQ"), (18, "HLG"), (8, "linear light"), (9, "logarithmic")]
)
def test_pictures_that_are_not_for_displays_are_refused(tmp_path, clip, transfer, name):
    path = encode(
        tmp_path / "hdr.mkv", clip[:1], "ffv1", "yuv420p10le",
        prepare=tags(color_trc=transfer, color_primaries=9, colorspace=9, color_range=1),
    )  # fmt: skip
    with pytest.raises(InputError, match=rf"its transfer is {name}.*convert it first"):
        read_clip(path)


def test_wide_primaries_are_converted_and_said(tmp_path, clip):
    frames = np.stack([resize(clip[0], SIZE), np.full((*SIZE, 3), 0.5)])
    frames = np.rint(255 * frames).astype(np.uint8)
    values = {"color_trc": 1, "color_primaries": 9, "colorspace": 9, "color_range": 1}
    path = encode(tmp_path / "w.mkv", frames, "ffv1", "yuv444p10le", prepare=tags(**values))
    wide = load_clip(path)
    assert any("BT.2020 primaries: converted to BT.709" in note for note in wide.notes)
    # the white point is the same: grey stays grey
    grey = np.asarray(wide)[1]
    assert np.ptp(grey.reshape(-1, 3).mean(axis=0)) < 2


@pytest.mark.parametrize("layout", ["gray", "gray10le", "gray16le", "gbrp10le", "gbrp16le", "bgr0"])
def test_grey_and_rgb_video_is_exact_at_any_depth(tmp_path, clip, layout):
    frames = clip[:2] if layout.startswith(("gb", "bgr")) else clip[:2, ..., :1].repeat(3, axis=3)
    path = encode(tmp_path / "a.mkv", frames, "ffv1", layout)
    opened = load_clip(path)
    # libswscale widens by shifting, so white is 1020 of 1023, and rounds luma
    assert np.abs(np.asarray(opened).astype(int) - frames).max() <= (layout != "bgr0")
    assert opened.grey == layout.startswith("gray")


def test_twelve_bits_in_grey_video_of_sixteen_are_found(tmp_path, clip):
    dark, bright = (np.full((1, *SIZE), value, np.uint16) for value in (100, 4000))
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "gray16le"
        for frame in (*dark, *bright):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        container.mux(stream.encode())
    opened = load_clip(path)
    assert np.asarray(opened)[:, 0, 0, 0].tolist() == [6, 249]
    assert any("taken as 12 bits" in note for note in opened.notes)
    given = np.asarray(load_clip(path, black=100, white=4000))
    assert given[:, 0, 0, 0].tolist() == [0, 255]


def test_levels_of_ycbcr_video_cannot_be_given(tmp_path, clip):
    path = encode(tmp_path / "a.mp4", clip[:1])
    with pytest.raises(InputError, match="black and white were given, but the levels of Y'CbCr"):
        read_clip(path, white=200)


# --- interlacing, streams that are no clips --------------------------------------------------


def test_interlaced_frames_are_deinterlaced(tmp_path):
    """A bar that moves between the two fields of a frame leaves no comb."""
    fields = np.full((12, *SIZE, 3), 40, np.uint8)
    for n in range(12):
        fields[n, :, 4 * n + 10 : 4 * n + 30] = 200
    woven = fields[::2].copy()
    woven[:, 1::2] = fields[1::2, 1::2]
    path = encode(tmp_path / "i.mkv", woven, options={"x264-params": "tff=1:crf=5"})
    opened = load_clip(path)
    shown = np.asarray(opened).astype(int)
    assert any("deinterlaced by bwdif" in note for note in opened.notes)
    assert len(shown) == 6

    def comb(frames):
        frames = frames.astype(int)
        return np.abs(frames[:, 1:-1] - (frames[:, :-2] + frames[:, 2:]) / 2).max()

    assert comb(woven) > 100 > 3 * comb(shown[2:4])


def test_the_cover_of_a_song_is_no_clip(tmp_path, clip):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = *SIZE, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(cover.encode(av.VideoFrame.from_ndarray(clip[0], format="rgb24")))
        container.mux(cover.encode())
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(InputError, match="holds only a cover picture"):
        read_clip(path)


# --- damage ---------------------------------------------------------------------------------


def damaged(data, seed, flips):
    """Flip bytes in the middle half."""
    draw = np.random.default_rng(seed)
    data = bytearray(data)
    for place in draw.integers(len(data) // 4, 3 * len(data) // 4, flips):
        data[place] ^= int(draw.integers(1, 256))
    return bytes(data)


def silent(path, data, seeds, flips):
    """Which of the damaged files are accepted without a word although their pixels changed."""
    path.write_bytes(data)
    whole = read_clip(path)
    found = []
    for seed in seeds:
        path.write_bytes(damaged(data, seed, flips))
        clip = load_clip(path)
        try:
            frames = np.stack(list(clip))
        except InputError:
            continue
        if any("may be damaged" in note for note in clip.notes):
            continue
        if frames.shape != whole.shape or (frames != whole).any():
            found.append(seed)
    return found


# x264's vector code looks ahead at memory that nobody wrote: without it a clip has the same bytes
# each time, and what damage does to a stream hangs on its bytes
STEADY = {"x264-params": "no-asm=1"}
CODECS = {
    "h264": ("libx264", "yuv420p", STEADY),
    "h264-444": ("libx264", "yuv444p", {"crf": "4"} | STEADY),
    "hevc": ("libx265", "yuv420p", {}),
    "hevc-444-10": ("libx265", "yuv444p10le", {"crf": "12"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"b": "1000000"}),
    "av1": ("libsvtav1", "yuv420p", {"preset": "10"}),
}


@pytest.mark.parametrize("name", ["h264", "hevc", "vp9"])
def test_damage_stops_the_reading(tmp_path, name):
    path = encode(tmp_path / "a.mp4", embedded_clip("default", 24, 144, 192), *CODECS[name])
    assert silent(path, path.read_bytes(), range(6), flips=6) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_of_eighty_damaged_files_none_or_one_is_accepted_silently(tmp_path, name):
    """H.264 has no checksum: now and then six wrong bytes are another valid stream."""
    path = encode(tmp_path / "a.mp4", embedded_clip("default", 24, 144, 192), *CODECS[name])
    assert len(silent(path, path.read_bytes(), range(80), flips=6)) <= name.startswith("h264")


def test_pictures_that_were_jpeg_files_are_no_damage(tmp_path):
    """Their own block edges look like wrong bits: said, not refused."""
    pictures = []
    for frame in embedded_clip("default", 3, 144, 192):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=20)
        pictures.append(np.asarray(Image.open(file)))
    path = encode(tmp_path / "a.mp4", np.stack(pictures), "libx265", "yuv444p", {"crf": "2"})
    clip = load_clip(path)
    assert len(clip) == 3
    assert any("may be damaged" in note for note in clip.notes)


def test_tolerated_damage_is_counted(tmp_path, clip):
    path = encode(tmp_path / "a.mp4", clip)
    path.write_bytes(damaged(path.read_bytes(), 3, 6))
    with pytest.raises(InputError, match=r"frame \d+ is damaged .*--tolerate-damage"):
        read_clip(path)
    opened = load_clip(path, tolerate_damage=True)
    assert len(opened.damaged) >= 1
    assert any(note.startswith("damage tolerated in") for note in opened.notes)


def remuxed(source, target, change):
    """Copy packets of a file; ``change(index, packet)`` returns the packet, changed, or None."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        packets = [packet for packet in given.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            packet = change(index, packet)
            if packet is not None:
                packet.stream = stream
                container.mux(packet)
    return target


def test_a_missing_frame_stops_the_reading(tmp_path, clip):
    """All frames stand alone here, so only the times tell."""
    whole = encode(tmp_path / "whole.mkv", clip, "ffv1", "bgr0", {"g": "1"})
    hole = remuxed(whole, tmp_path / "hole.mkv", lambda i, p: None if i == 6 else p)
    with pytest.raises(InputError, match=r"frame 6 is damaged \(1 frame is missing before it\)"):
        read_clip(hole)
    np.testing.assert_array_equal(read_clip(hole, tolerate_damage=True), np.delete(clip, 6, axis=0))


def test_a_repeated_time_stops_the_reading(tmp_path, clip):
    def again(index, packet):
        packet.pts = packet.dts = (index - (index >= 6)) * 40
        packet.time_base = Fraction(1, 1000)
        return packet

    whole = encode(tmp_path / "whole.nut", clip, "ffv1", "bgr0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            twice = remuxed(whole, tmp_path / "twice.mkv", again)
        except av.FFmpegError:
            pytest.skip("this libavformat writes no times twice")
    with pytest.raises(InputError, match="repeated"):
        read_clip(twice)


def test_a_variable_rate_is_no_damage(tmp_path, clip):
    times = np.cumsum([0, 40, 55, 31, 90, 40, 47, 120, 33, 61, 40, 75])

    def at(index, packet):
        packet.pts = packet.dts = int(times[index])
        packet.time_base = Fraction(1, 1000)
        return packet

    whole = encode(tmp_path / "whole.mkv", clip, "ffv1", "bgr0")
    np.testing.assert_array_equal(read_clip(remuxed(whole, tmp_path / "vfr.mkv", at)), clip)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_half_a_file_stops_the_reading(tmp_path, clip, suffix):
    """Cut at several places, frame ends among them; the index stands at the front."""
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    for end in (ends[-4], ends[-2], ends[5] - 7, (ends[0] + ends[-1]) // 2):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"incomplete|damaged|not a readable video"):
            read_clip(path)


def test_an_mp4_file_without_its_end_is_told_so(tmp_path, clip):
    """Cut in its index, which stands last, and before it."""
    path = encode(tmp_path / "a.mp4", clip[:3])
    data = path.read_bytes()
    at = data.index(b"moov")
    for end in (at // 2, at - 4, at + 40, (at + len(data)) // 2):
        path.write_bytes(data[:end])
        with pytest.raises(
            InputError, match=r"a\.mp4: the file is incomplete \(it.*fetch or write"
        ):
            read_clip(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.mp4: the file is empty"):
        read_clip(path)


def test_a_fragment_that_is_missing_stops_the_reading(tmp_path, clip):
    """Fragmented mp4, as recorders write it: each part says how many frames it holds."""
    path = tmp_path / "f.mp4"
    moving = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(path), "w", options=moving) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"g": "4", "bf": "0"}
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert len(read_clip(path)) == 12
    data = path.read_bytes()
    parts = [place - 4 for place in range(len(data)) if data[place : place + 4] == b"moof"]
    assert len(parts) == 3
    path.write_bytes(data[: parts[1]] + data[parts[2] :])
    with pytest.raises(InputError, match=r"incomplete \(fragment 2 is missing\)"):
        read_clip(path)


def test_a_stream_that_begins_between_two_pictures_is_told(tmp_path, clip):
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"g": "6", "bf": "0"}
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        begin = [packet.pos for packet in container.demux(video=0) if packet.size][2]
    data = path.read_bytes()
    path.write_bytes(data[: 188 * 3] + data[begin - begin % 188 :])  # its tables, then the rest
    cut = load_clip(path, tolerate_damage=True)
    assert len(cut) == 6
    assert any("pieces of the stream gave no frame" in note for note in cut.notes)


@pytest.mark.parametrize("name", ["file:x.mp4", "concat:a.mp4|a.mp4", "a%d [x]*.mp4", "-i.mp4"])
def test_a_name_is_a_name_and_no_protocol(tmp_path, clip, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "a.mp4", clip[:3])
    (tmp_path / name).write_bytes((tmp_path / "a.mp4").read_bytes())
    (tmp_path / "a.mp4").unlink()
    assert len(read_clip(name)) == 3


def test_a_radiance_picture_is_refused(tmp_path):
    path = tmp_path / "a.hdr"
    path.write_bytes(
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 8\n" + b"\x80\x80\x80\x80" * 64
    )
    with pytest.raises(InputError, match="linear light"):
        read_clip(path)


@pytest.mark.slow
def test_a_trimmed_clip_is_whole(tmp_path):
    """An edit list skips frames before the cut, which are in the file to decode the others."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    whole, trimmed = tmp_path / "whole.mp4", tmp_path / "trimmed.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-c:v", "libx264", "-g", "25")
    cut = ("-ss", "0.52", "-i", whole, "-t", "0.6", "-c", "copy")
    for arguments in ((*source, whole), (*cut, trimmed)):
        subprocess.run([program, "-v", "error", *arguments], check=True)
    frames = read_clip(trimmed)
    np.testing.assert_array_equal(frames, read_clip(whole)[13 : 13 + len(frames)])
    assert len(frames) >= 15


def test_frames_that_repeat_are_told(tmp_path, clip):
    frames = clip[[0, 1, 1, 2, 3, 3]]
    path = encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0")
    notes = load_clip(path).notes
    assert any("2 of 6 frames repeat the one before" in note for note in notes)


# --- an independent decoder ------------------------------------------------------------------

CONTAINERS = [line.split("|") for line in """h264.mp4|-c:v libx264 -pix_fmt yuv420p
h264_444.mp4|-c:v libx264 -pix_fmt yuv444p
h264_10.mkv|-c:v libx264 -pix_fmt yuv420p10le
h264_422.mov|-c:v libx264 -pix_fmt yuv422p
h264rgb.mkv|-c:v libx264rgb -pix_fmt rgb24
h264_full.mp4|-c:v libx264 -pix_fmt yuvj420p
h264_cavlc.mp4|-c:v libx264 -profile:v baseline -pix_fmt yuv420p
h264.ts|-c:v libx264 -pix_fmt yuv420p
h264.avi|-c:v libx264 -pix_fmt yuv420p -bf 0
h264.flv|-c:v libx264 -pix_fmt yuv420p
h264.h264|-c:v libx264 -pix_fmt yuv420p
h264_grey.mp4|-c:v libx264 -pix_fmt gray
hevc.mp4|-c:v libx265 -pix_fmt yuv420p
hevc10.mkv|-c:v libx265 -pix_fmt yuv420p10le
hevc12.mkv|-c:v libx265 -pix_fmt yuv444p12le
hevc.hevc|-c:v libx265 -pix_fmt yuv420p
vp8.webm|-c:v libvpx -b:v 2M -pix_fmt yuv420p
vp9.webm|-c:v libvpx-vp9 -b:v 2M -pix_fmt yuv420p
vp9_10.mkv|-c:v libvpx-vp9 -profile:v 2 -b:v 2M -pix_fmt yuv420p10le
vp9_alpha.webm|-c:v libvpx-vp9 -b:v 2M -pix_fmt yuva420p
av1.mp4|-c:v libsvtav1 -preset 10 -pix_fmt yuv420p
av1_10.mkv|-c:v libsvtav1 -preset 10 -pix_fmt yuv420p10le
mpeg4.mp4|-c:v mpeg4 -q:v 3
mpeg4.avi|-c:v mpeg4 -q:v 3 -bf 2
mpeg2.mpg|-c:v mpeg2video -q:v 3
mpeg1.mpg|-c:v mpeg1video -q:v 3
mjpeg.avi|-c:v mjpeg -q:v 3 -pix_fmt yuvj420p
wmv2.wmv|-c:v wmv2 -q:v 3
flv1.flv|-c:v flv -q:v 3
theora.ogv|-c:v libtheora -q:v 8
prores.mov|-c:v prores_ks -profile:v 3
prores4444.mov|-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le
ffv1.mkv|-c:v ffv1 -pix_fmt yuv420p
ffv1_rgb.mkv|-c:v ffv1 -pix_fmt bgr0
ffv1_grey16.mkv|-c:v ffv1 -pix_fmt gray16le
ffv1_grey10.mkv|-c:v ffv1 -pix_fmt gray10le
ffv1_rgb10.mkv|-c:v ffv1 -pix_fmt gbrp10le
ffv1_16.mkv|-c:v ffv1 -pix_fmt yuv420p16le
huffyuv.avi|-c:v huffyuv -pix_fmt yuv422p
utvideo.avi|-c:v utvideo -pix_fmt gbrp
raw.avi|-c:v rawvideo -pix_fmt bgr24
raw.mov|-c:v rawvideo -pix_fmt uyvy422
v210.mov|-c:v v210 -pix_fmt yuv422p10le
clip.y4m|-pix_fmt yuv420p
qtrle.mov|-c:v qtrle
png.mov|-c:v png
a.gif|-c:v gif
a.apng|-c:v apng -plays 0
animated.png|-f apng -plays 0
a.webp|-c:v libwebp_anim -lossless 1
jp2.mov|-c:v jpeg2000 -pix_fmt yuv420p
mpeg2.mxf|-c:v mpeg2video -q:v 2 -pix_fmt yuv420p
dv.dv|-s 720x576 -r 25 -c:v dvvideo -pix_fmt yuv420p
hd.mp4|-s 1280x720 -c:v libx264 -pix_fmt yuv420p
odd.mp4|-vf crop=121:91:0:0:exact=1 -c:v libx264 -pix_fmt yuv444p
yuv411.avi|-c:v ffv1 -pix_fmt yuv411p""".splitlines()]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_any_container_is_decoded_as_ffmpeg_does(tmp_path, name, options):
    """At least 50 dB to the ffmpeg program, told to round and interpolate chroma in full."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()

    def ffmpeg(*arguments, given=None):
        done = subprocess.run(
            [program, "-v", "error", "-y", *arguments],
            input=given,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-300:]
        return done.stdout

    frames, path = embedded_clip("default", 6, 96, 128), tmp_path / name
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24")
    ffmpeg(
        *raw, "-s", "128x96", "-r", "25", "-i", "-", *options.split(), path, given=frames.tobytes()
    )
    opened = load_clip(path)
    found = np.asarray(opened)
    chain = "scale=sws_flags=accurate_rnd+full_chroma_int"
    chain += ":in_color_matrix=bt709" if found.shape[1] >= 720 else ""
    chain = f"bwdif=0,{chain}" if any("interlaced" in note for note in opened.notes) else chain
    other = ffmpeg("-i", path, "-vf", chain, "-fps_mode", "passthrough", *raw, "-")
    expected = np.frombuffer(other, np.uint8).reshape(-1, *found.shape[1:])
    assert found.shape == expected.shape
    assert psnr(found, expected) >= 50


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0, 40, 100, 333, 334, 900], "a frame is shown for 1 to 566 ms (a variable rate)"),
        ([0, 40, 80, 120, 160, 200], None),
        ([0, 33, 67, 100, 133, 167], None),  # 30 a second in whole milliseconds
    ],
)
def test_a_variable_rate_is_told(tmp_path, clip, times, told):
    whole = encode(tmp_path / "whole.mkv", clip[:6], "ffv1", "bgr0", {"g": "1"})

    def at(index, packet):
        packet.pts = packet.dts = times[index]
        packet.time_base = Fraction(1, 1000)
        return packet

    notes = load_clip(remuxed(whole, tmp_path / "other.mkv", at)).notes
    assert any("variable rate" in note for note in notes) == bool(told)
    assert told is None or any(told in note for note in notes)
