"""Decoded frames to upright 8-bit RGB through libavfilter: deinterlacing, primaries, matrix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video import _colour
from cimsim.video._colour import VIDEO_RANGE, Colours
from cimsim.video._orientation import (
    UPRIGHT,
    Turn,
    in_words,
    of_matrix,
    scales,
    shows_nothing,
    turned,
)
from cimsim.video.levels import Levels, find_levels
from cimsim.video.options import ReadOptions
from cimsim.video.source import Source, UInt8Array

if TYPE_CHECKING:
    from av import VideoFormat, VideoFrame
    from av.filter import Graph

# libswscale without its shortcuts: full-resolution chroma, rounding to nearest, same bits anywhere
_SCALE = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact:sws_dither=none"
# bwdif gives one frame per frame and leaves frames alone that are not flagged interlaced
_TICK = Fraction(1, 25)
_DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced"
# grey and RGB of more than 8 bits that PyAV hands over as they are
_CODE_VALUES = re.compile(
    r"(gray(9|1[0246])|rgb48|bgr48|rgba64|bgra64|gbra?p(9|1[0246])|grayf32|gbra?pf32|rgbf32)[lb]e"
)


# pixel format, size, colour tags, how the picture is turned
_Key = tuple[str, int, int, tuple[int, ...], Turn]


class Converter:
    """Turns decoded frames into RGB pictures, in order; a filter may hold one back.

    Parameters
    ----------
    source : Source
        Takes what was assumed.
    options : ReadOptions
    first_samples : callable, optional
        Yields code values of the first frames, to find the white level in.
    """

    def __init__(
        self, source: Source, options: ReadOptions,
        first_samples: Callable[[], Iterable[npt.NDArray[np.generic]]] | None = None,
    ) -> None:  # fmt: skip
        self.source, self.options, self.first_samples = source, options, first_samples
        self._key: _Key | None = None
        self._pipe: Graph | Literal["samples", "exact"] | None = None
        self._deinterlaces = False
        self._turn: Turn = UPRIGHT
        self._levels: dict[str, Levels] = {}  # of each pixel format
        self._number = 0

    def take(self, frame: VideoFrame, like: VideoFrame | None = None) -> Iterator[UInt8Array]:
        """Yield the pictures that are ready once a frame has come.

        Parameters
        ----------
        frame : av.VideoFrame
        like : av.VideoFrame, optional
            Says how to turn the picture, where the frame does not.

        Raises
        ------
        InputError
            See `cimsim.video._colour.of_frame`; also for a turn by no multiple of 90 degrees.
        """
        name = f"{self.source.path}: frame {self._number}"
        turn = self._orientation(name, frame) or self._orientation(name, like) or UPRIGHT
        layout = frame.format
        tags = (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries)
        key = (layout.name, frame.width, frame.height, tuple(map(int, tags)), turn)
        if key != self._key or (frame.interlaced_frame and not self._deinterlaces):
            yield from self.rest()
            self._begin(name, frame, key, turn)
        self._number += 1
        frame.pts, frame.time_base = self._number, _TICK
        yield from self._push(frame)

    def rest(self) -> Iterator[UInt8Array]:
        """Yield what filters still hold."""
        if self._pipe not in (None, "samples", "exact"):
            yield from self._push(None)
        self._pipe = None

    def _begin(self, name: str, frame: VideoFrame, key: _Key, turn: Turn) -> None:
        """Find out how frames like this one are converted."""
        colours = _colour.of_frame(name, frame)
        for sentence in colours.notes:
            self.source.tell(sentence)
        if frame.interlaced_frame:
            self.source.tell("interlaced: deinterlaced by bwdif, one frame for each frame")
        if turn != UPRIGHT:
            self.source.tell(f"{in_words(turn)}, as the file says")
        self.source.facts.setdefault("pixels", _pixels(frame))
        self.source.facts.setdefault("colours", _colour.named(colours, frame))
        self.source.grey = colours.matrix == _colour.RGB and len(frame.format.components) < 3
        self._key, self._turn, self._colours = key, turn, colours
        self._deinterlaces = bool(frame.interlaced_frame)
        if _has_code_values(frame.format) and not self._deinterlaces:
            self._pipe = "samples"
            return
        if self.options.has_levels and colours.matrix != _colour.RGB:
            raise InputError(
                f"{self.source.path}: black and white were given, but the levels of Y'CbCr video "
                "are fixed by its range; leave them out"
            )
        self._pipe = (
            "exact" if _is_exact(frame, colours) else _graph(frame, colours, self._deinterlaces)
        )

    def _push(self, frame: VideoFrame | None) -> Iterator[UInt8Array]:
        if self._pipe == "samples":
            assert frame is not None
            yield turned(self._from_samples(frame), self._turn)
        elif self._pipe == "exact":
            assert frame is not None
            yield turned(_full_range_bt709_rgb(frame), self._turn)
        elif self._pipe is not None:
            for picture in _pulled(self._pipe, frame, self._colours):
                yield turned(self._levelled(picture), self._turn)

    def _from_samples(self, frame: VideoFrame) -> UInt8Array:
        """Grey and RGB of more than 8 bits: code values as they are."""
        where = f"{self.source.path}: frame {self._number - 1}"
        pixels = code_values(frame)
        name = frame.format.name
        if name not in self._levels:
            self._levels[name] = self._found(where, frame, pixels)
            self.source.tell(self._levels[name].note)
        return spread(self._levels[name].to_8_bit(where, pixels))

    def _found(self, where: str, frame: VideoFrame, pixels: npt.NDArray[np.generic]) -> Levels:
        bits = _depth(frame.format)
        is_integer = pixels.dtype.kind == "u"
        if is_integer and int(frame.color_range) == VIDEO_RANGE and not self.options.has_levels:
            step = 2 ** (bits - 8)
            return Levels(16 * step, 235 * step, "samples are tagged as video range")
        first = self.first_samples() if self.first_samples and not self._levels else [pixels]
        return find_levels(where, first, self.options, bits if is_integer and bits < 16 else None)

    def _levelled(self, picture: UInt8Array) -> UInt8Array:
        if not self.options.has_levels:
            return picture
        if "" not in self._levels:
            self._levels[""] = find_levels("", iter([picture]), self.options)
            self.source.tell(self._levels[""].note)
        return self._levels[""].to_8_bit("", picture)

    def _orientation(self, name: str, frame: VideoFrame | None) -> Turn | None:
        if frame is None:
            return None
        for item in _colour.side_data(frame):
            if item.type.name == "DISPLAYMATRIX":
                return self._turn_of(name, frame, np.frombuffer(bytes(item), np.int32))
        return None

    def _turn_of(self, name: str, frame: VideoFrame, matrix: npt.NDArray[np.int32]) -> Turn:
        if shows_nothing(matrix):
            numbers = " ".join(f"{matrix[index] / 65536:g}" for index in (0, 1, 3, 4))
            raise InputError(
                f"{name}: its display matrix ({numbers}) shows no picture; write the file anew "
                "without it, for example with ffmpeg -display_rotation 0 -i IN -c copy OUT"
            )
        turn = of_matrix(matrix)
        if turn is None:
            raise InputError(
                f"{name}: is to be shown turned by {frame.rotation} degrees; only "
                "multiples of 90 are supported: turn it with a video editor first"
            )
        wider, higher = scales(matrix)
        if max(abs(wider - 1), abs(higher - 1)) > 1e-3:
            self.source.tell(
                f"is to be shown {wider:.4g} times as wide and {higher:.4g} times as high: left "
                "at its stored size"
            )
        return turn


def spread(pixels: UInt8Array) -> UInt8Array:
    """Return RGB [H, W, 3] of a picture [H, W, 1] or [H, W, 3]."""
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _graph(frame: VideoFrame, colours: Colours, deinterlaces: bool) -> Graph:
    """Build the chain of filters for frames like this one."""
    from av.filter import Graph

    graph = Graph()
    range_ = 2 if colours.full_range else 1
    space = colours.matrix if colours.matrix != _colour.RGB else int(frame.colorspace)
    source = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/25:"
        f"colorspace={space}:range={range_ if colours.matrix else int(frame.color_range)}",
    )
    chain = [source]
    if deinterlaces:
        chain.append(graph.add("bwdif", _DEINTERLACE))
    if colours.primaries is not None:
        chain += [
            graph.add("scale", _SCALE), graph.add("format", "pix_fmts=yuv444p12le"),
            graph.add(
                "colorspace",
                f"ispace={colours.matrix}:iprimaries={colours.primaries}:itrc=bt709:"
                f"irange={'pc' if colours.full_range else 'tv'}:space=bt709:primaries=bt709:"
                "trc=bt709:range=pc:dither=none",
            ),
        ]  # fmt: skip
    chain += [
        graph.add("scale", _SCALE),
        graph.add("format", "pix_fmts=rgb24"),
        graph.add("buffersink"),
    ]
    for before, after in pairwise(chain):
        before.link_to(after)
    graph.configure()
    return graph


def _pulled(graph: Graph, frame: VideoFrame | None, colours: Colours) -> Iterator[UInt8Array]:
    """Push one frame (None: no more) and yield what comes out."""
    import av

    if frame is not None and colours.matrix != _colour.RGB:
        frame.colorspace = colours.matrix
        frame.color_range = 2 if colours.full_range else 1
    graph.vpush(frame)
    while True:
        try:
            ready = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield np.asarray(ready.to_ndarray(), np.uint8)


def _has_code_values(layout: VideoFormat) -> bool:
    """Tell whether a format is grey or RGB of more than 8 bits, whose white may lie anywhere."""
    return _CODE_VALUES.fullmatch(layout.name) is not None


def code_values(frame: VideoFrame) -> npt.NDArray[np.generic]:
    """Return the samples of a grey or RGB frame as they are stored: [H, W, 1] or [H, W, 3]."""
    pixels: npt.NDArray[np.generic] = np.asarray(frame.to_ndarray())
    pixels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels[..., :3]
    return pixels[..., ::-1] if frame.format.name.startswith("bgr") else pixels


def _depth(layout: VideoFormat) -> int:
    return max(int(component.bits) for component in layout.components)


def _pixels(frame: VideoFrame) -> str:
    return f"{frame.format.name}, {_depth(frame.format)} bit"


def _is_exact(frame: VideoFrame, colours: Colours) -> bool:
    return (
        frame.format.name == "yuv444p10le"
        and colours.matrix == _colour.BT709
        and colours.full_range
        and colours.primaries is None
        and not frame.interlaced_frame
    )


def _full_range_bt709_rgb(frame: VideoFrame) -> UInt8Array:
    """Convert 10-bit 4:4:4 full-range BT.709 planes in float64 (ITU-R BT.709-6, section 3).

    About 0.3 dB nearer to the original than the 8-bit integer conversion of libswscale.
    """
    luma, blue, red = (
        np.frombuffer(memoryview(plane), np.uint16).reshape(frame.height, plane.line_size // 2)[
            :, : frame.width
        ]
        / 1023
        for plane in frame.planes
    )
    blue, red = blue - 512 / 1023, red - 512 / 1023
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    rgb = np.clip(np.rint(255 * np.stack([r, g, b], -1)), 0, 255)
    eight: UInt8Array = rgb.astype(np.uint8)
    return eight
