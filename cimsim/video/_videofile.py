"""Video files through PyAV (the FFmpeg libraries): each frame is checked before it is used."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video import _colour
from cimsim.video._convert import Converter, code_values
from cimsim.video._damage import (
    BROKEN,
    DEBLOCKED,
    SELF_CHECKING,
    SUSPECT,
    Clock,
    SecondOpinion,
    grid_breaks,
    open_decoder,
    samples,
)
from cimsim.video._fragments import cut_short, fragments
from cimsim.video.levels import SEARCHED
from cimsim.video.options import ReadOptions
from cimsim.video.source import Source, UInt8Array

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

# libavformat renders text files as "video"; a clip made of one would be a surprise.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})
# animations: every frame has a time of its own
_ANIMATIONS = frozenset({"gif", "apng", "webp", "webp_anim", "awebp"})
# pictures with an animation beside them, and of a codec that sees little damage in one picture
_STILL_AND_TRACK = frozenset({".avif", ".avifs", ".heic", ".heif", ".heics"})
# what can be cut anywhere
_IN_PIECES = frozenset({"mpegts", "h264", "hevc"})
# codecs of which every packet is one shown frame
_ONE_EACH = frozenset(
    {"h264", "hevc", "av1", "libdav1d", "vp9", "mjpeg", "prores", "png", "ffv1", "dnxhd"}
)


class VideoSource(Source):
    """Frames of a video file.

    Parameters
    ----------
    path : Path
    options : ReadOptions
    format_name : str, optional
        Demuxer of libavformat, where the name of the file says another.
    """

    def __init__(self, path: Path, options: ReadOptions, format_name: str | None = None) -> None:
        super().__init__(path)
        self.options, self._format = options, format_name
        self._damaged: list[str] = []
        self._suspect: list[int] = []  # frames that may be damaged
        self._seen = 0  # packets of this pass
        # a frame with the container's tags, for decoders without them
        self._like: VideoFrame | None = None

    @property
    def damaged(self) -> list[str]:
        """See `Source`."""
        return self._damaged

    def frames(self, start: int, stop: int | None) -> Iterator[tuple[str, UInt8Array]]:
        """See `Source`.

        Raises
        ------
        InputError
            No video, or damage that is not to be tolerated.
        """
        self._damaged, self._suspect, number, repeats, last = [], [], 0, 0, 0
        converter = Converter(self, self.options, self._first_samples)
        for picture in self._pictures(converter):
            digest = zlib.crc32(picture.data)
            repeats += number > 0 and digest == last
            last = digest
            if number >= start:
                yield f"frame {number}", picture
            number += 1
            if number == stop:
                break
        if self._suspect:
            self.tell(
                f"{len(self._suspect)} of {number} frames may be damaged, frame {self._suspect[0]} "
                "first: their blocks do not fit each other (or the pictures were compressed before)"
            )
        if repeats:
            self.tell(f"{repeats} of {number} frames repeat the one before, bit for bit")

    def _pictures(self, converter: Converter) -> Iterator[UInt8Array]:
        with self._opened() as (container, stream):
            for frame in self._decoded(container, stream):
                yield from converter.take(frame, self._like)
            yield from converter.rest()

    def _first_samples(self) -> Iterator[npt.NDArray[np.generic]]:
        """Code values of the first frames, decoded anew."""
        with self._opened() as (container, stream):
            for number, frame in enumerate(container.decode(stream)):
                yield code_values(frame)
                if number + 1 == SEARCHED:
                    return

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        import av

        try:
            # of a whole path no part can be taken for a protocol (file:x.mp4, concat:a|b)
            with av.open(str(self.path.absolute()), format=self._format) as container:
                yield container, self._stream(container)
        except InputError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            self._check_whole()
            raise InputError(f"{self.path}: not a readable video ({cause(error)})") from error

    def _stream(self, container: InputContainer) -> VideoStream:
        """Choose the video stream; pictures on the cover of music are none."""
        shown = [s for s in container.streams.video if not _is_cover(s)]
        if container.format.name in _TEXT_FORMATS or not shown:
            self._check_whole()
            only = "only a cover picture" if container.streams.video else "no video"
            only = "no video" if container.format.name in _TEXT_FORMATS else only
            raise InputError(
                f"{self.path}: holds {only}; expected a video file, an image or a folder of images"
            )
        stream = next((s for s in shown if "default" in _disposition(s)), shown[0])
        if self.path.suffix.lower() in _STILL_AND_TRACK and stream.frames <= 1:
            stream = max(shown, key=lambda s: s.frames)  # an animation beside its first picture
        if len(shown) > 1:
            self.tell(f"stream {stream.index} taken of {len(shown)} video streams")
        rate = stream.average_rate
        self.fps = float(rate) if rate else None
        if stream.codec_context is None:
            raise InputError(f"{self.path}: not a readable video (its codec is not known)")
        name = stream.codec_context.name
        self.facts |= {"container": container.format.name, "codec": name}
        if name == "hdr":
            raise InputError(
                f"{self.path}: a Radiance picture holds linear light, which is no picture for an "
                "8-bit display; convert it to sRGB first"
            )
        if name not in SELF_CHECKING or self.path.suffix.lower() in _STILL_AND_TRACK:
            self.tell(f"{name} has no means to notice all damage: a damaged file may not be seen")
        ratio = stream.sample_aspect_ratio
        if ratio and ratio != 1:
            self.tell(
                f"pixels are not square ({ratio.numerator}:{ratio.denominator}): left as stored"
            )
        return stream

    def _check_whole(self) -> None:
        """Say of a file that shows nothing that it was cut short, where it was."""
        if why := cut_short(self.path):
            raise InputError(
                f"{self.path}: the file is incomplete ({why}), as an aborted download or a killed "
                "recording is; fetch or write it again"
            )

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield the frames of a stream, each checked."""
        import av

        tolerant = self.options.tolerate_damage
        decoder = open_decoder(stream, strict=not tolerant)
        self._like = None if decoder is stream.codec_context else self._first_frame()
        second = SecondOpinion(stream) if stream.codec_context.name == "hevc" else None
        clock = Clock(float(stream.time_base or 0))
        packets, number, failed, self._seen = 0, 0, 0, 0
        for packet in self._packets(container, stream):
            if packet is not None:
                packets += not packet.is_discard
                if packet.is_corrupt:
                    self._damage(number, "the container says so")
            if second is not None:
                second.take(packet)
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError as error:
                self._damage(number, cause(error))
                failed += 1
                continue
            for frame in frames:
                self._check(frame, number, clock, second)
                yield _tagged(frame, self._like)
                number += 1
        self._count(container, stream, clock, packets, number + failed)

    def _packets(
        self, container: InputContainer, stream: VideoStream
    ) -> Iterator[Packet[VideoStream] | None]:
        """Yield packets, and None at the end."""
        import av

        try:
            for packet in container.demux(stream):
                if packet.size:
                    self._seen += 1
                    yield packet
        except av.FFmpegError as error:
            self._damage(None, cause(error))
        yield None

    def _check(
        self, frame: VideoFrame, number: int, clock: Clock, second: SecondOpinion | None
    ) -> None:
        if clock.repeats(frame.pts):
            self._damage(number, "it has the time of the one before: repeated")
        if frame.is_corrupt:
            self._damage(number, "parts of it are missing")
        elif second is not None and not second.agrees(frame.pts, samples(frame)):
            self._damage(number, "its slices do not end where they should")
        elif self.facts["codec"] in DEBLOCKED:
            breaks = grid_breaks(frame)
            if breaks >= BROKEN:
                self._damage(number, "its blocks do not fit each other, or it was a poor JPEG file")
            elif breaks >= SUSPECT:
                self._suspect.append(number)

    def _count(
        self, container: InputContainer, stream: VideoStream, clock: Clock, packets: int,
        frames: int,
    ) -> None:  # fmt: skip
        """Compare what was decoded with what the container announces, after the last frame."""
        if not frames:
            return
        form = container.format.name
        declared = stream.frames if "mov" in form and _ends_early(stream, clock) else 0
        missing = max(0, declared - packets)
        if "mov" in form and stream.codec_context.name in _ONE_EACH:
            missing += max(0, packets - frames)
        parts = fragments(self.path, stream.id) if "mov" in form else None
        if parts is not None and (parts.missing or parts.samples > self._seen):
            declared, missing = parts.samples, max(missing, parts.samples - self._seen)
            for part in parts.missing:
                self._damage(None, f"fragment {part} is missing")
        if missing:
            self._damage(None, f"{missing} of {max(declared, packets)} frames are missing")
            return
        if form in _IN_PIECES and packets > frames and packets != 2 * frames:  # two: fields
            self.tell(
                f"{packets - frames} of {packets} pieces of the stream gave no frame: it may begin "
                "between two whole pictures"
            )
        if form in _ANIMATIONS:
            return
        for index, n in clock.missing():
            self._damage(index, f"{n} {'frame is' if n == 1 else 'frames are'} missing before it")
        if spread := clock.spread_s():
            shortest, longest = (1000 * seconds for seconds in spread)
            self.tell(
                f"a frame is shown for {shortest:.4g} to {longest:.4g} ms (a variable rate): "
                "frames are taken one by one, and a video that is written has a constant rate"
            )
        alone = len(container.streams) == 1 and "matroska" in form
        if alone and container.duration and clock.step:
            lost = container.duration / 1e6 - clock.end
            if lost > 1.5 * clock.step_s:
                self._damage(None, f"{round(lost / clock.step_s)} frames are missing at the end")

    def _damage(self, number: int | None, why: str) -> None:
        """Stop, or remember what is wrong."""
        where = "the file is incomplete" if number is None else f"frame {number} is damaged"
        if not self.options.tolerate_damage:
            raise InputError(
                f"{self.path}: {where} ({why}); --tolerate-damage (tolerate_damage=True) goes on "
                "and says how much is damaged"
            )
        self._damaged.append(f"{where} ({why})")

    def _first_frame(self) -> VideoFrame | None:
        """Return the first frame as the usual decoder gives it, with what the container says."""
        import av

        with self._opened() as (container, stream):
            try:
                return next(container.decode(stream), None)
            except av.FFmpegError:
                return None


def _tagged(frame: VideoFrame, like: VideoFrame | None) -> VideoFrame:
    """Give a frame of a decoder of its own the tags that stand in the container."""
    if like is None:
        return frame
    for tag in ("colorspace", "color_trc", "color_primaries"):
        if int(getattr(frame, tag)) == _colour.UNKNOWN:
            setattr(frame, tag, int(getattr(like, tag)))
    if not int(frame.color_range):
        frame.color_range = int(like.color_range)
    return frame


def _ends_early(stream: VideoStream, clock: Clock) -> bool:
    """Tell whether the last frame ends before the track does; a trimmed clip has spare frames."""
    if not stream.duration or clock.step is None:
        return not stream.duration
    return bool(stream.duration * float(stream.time_base or 0) - clock.end > 1.5 * clock.step_s)


def _is_cover(stream: VideoStream) -> bool:
    return "attached_pic" in _disposition(stream)


def _disposition(stream: VideoStream) -> str:
    return str(stream.disposition.name or "").lower()


def cause(error: BaseException) -> str:
    """Return the first line of what a decoder said."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
