"""Damage that a decoder notices, and damage that it does not.

A decoder of H.264 or VP9 runs out of data or meets impossible values soon after a wrong bit. That
of HEVC does not: it paints what it reads. Yet most HEVC streams let rows start at places that the
slice header names (wavefronts), so the rows can be decoded one after the other, each from where
the last one ended, and each from its named place. In a whole stream both are the same.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame, VideoStream

# decoders of libav that stop where others paint on
STRICT_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
SELF_CHECKING = {"h264", "vp8", "vp9", "av1", "libdav1d", "ffv1", "png", "apng"}
"""Codecs whose decoders notice nearly all damage; others have no means to."""
_STOP = "crccheck+bitstream+buffer+careful+compliant+aggressive+explode"
_AFTER = b"\xa5" * 32


def open_decoder(stream: VideoStream, *, strict: bool) -> VideoCodecContext:
    """Return a decoder for a stream, single-threaded, so that each error has its frame."""
    import av

    context = stream.codec_context
    name = STRICT_DECODERS.get(context.name)
    eight_bit = not str(context.pix_fmt).endswith(("le", "be"))  # libvpx may lack other depths
    if name is not None and eight_bit:
        try:
            context = _copy(name, stream)
        except (av.FFmpegError, ValueError):
            context = stream.codec_context  # this build of libav has not got it
    context.thread_count, context.thread_type = 1, "NONE"
    if strict:
        context.options = {"err_detect": _STOP}
    return context


class SecondOpinion:
    """Decodes HEVC a second time, rows from their named places and with bytes after each slice.

    A slice that was damaged ends elsewhere: it reads the bytes after its end, or its rows do not
    end where the next ones begin.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = _copy(stream.codec_context.name, stream)
        self._context.thread_count, self._context.thread_type = 2, "SLICE"
        extra = bytes(stream.codec_context.extradata or b"")
        # ISO/IEC 14496-15, 8.3.3.1: version 1, then the size of NAL unit lengths in byte 21
        self._length = (extra[21] & 3) + 1 if len(extra) > 22 and extra[0] == 1 else 0
        self._ready: list[tuple[int | None, list[bytes]]] = []

    def take(self, packet: Packet[VideoStream] | None) -> None:
        """Decode a packet; None: no more come."""
        import av

        try:
            if packet is None:
                frames = self._context.decode(None)
            else:
                longer = av.Packet(self._lengthened(bytes(packet)))
                longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
                frames = self._context.decode(longer)
        except av.FFmpegError:
            return
        self._ready += [(frame.pts, samples(frame)) for frame in frames]

    def agrees(self, pts: int | None, samples: list[bytes]) -> bool:
        """Tell whether the frame of this time came out the same; only once for each frame."""
        for index, (other, held) in enumerate(self._ready):
            if other == pts:
                del self._ready[: index + 1]
                return bool(held == samples)
        return False

    def _lengthened(self, data: bytes) -> bytes:
        if not self._length:
            return data
        done, at = [], 0
        while at + self._length < len(data):
            size = int.from_bytes(data[at : at + self._length], "big")
            unit = data[at + self._length : at + self._length + size]
            at += self._length + size
            if unit and (unit[0] >> 1 & 63) < 32:
                unit += _AFTER
            done.append(struct.pack(">I", len(unit))[4 - self._length :] + unit)
        return b"".join(done)


def samples(frame: VideoFrame) -> list[bytes]:
    """Return the planes of a frame, without what pads their rows."""
    wide = 2 if max(component.bits for component in frame.format.components) > 8 else 1
    return [
        np.frombuffer(memoryview(plane), np.uint8)
        .reshape(-1, plane.line_size)[: plane.height, : plane.width * wide]
        .tobytes()
        for plane in frame.planes
    ]


def _copy(name: str, stream: VideoStream) -> VideoCodecContext:
    import av

    context = av.CodecContext.create(name, "r")
    assert isinstance(context, av.VideoCodecContext)
    if stream.codec_context.extradata:
        context.extradata = stream.codec_context.extradata
    return context


def grid_breaks(frame: VideoFrame) -> float:
    """Measure how much a frame breaks off along the 8 x 8 grid of block codecs.

    The excess of luma steps across grid lines over those beside them, as a share of the mean step
    (plus one 8-bit level), per grid line in bands of 32 lines; the 60 % point over the lines of a
    band, so that single edges on the grid count nothing, and the largest over bands and both
    directions. Whole HEVC and H.264 clips of any rate stay below 0.33 (photographs, drawings, text,
    noise), since both smooth block edges; up to 0.6 where the pictures were JPEG files of a quality
    of 20 and more, with edges of their own. What is decoded from wrong bits reaches 0.4 to 1.2.
    """
    depth = frame.format.components[0].bits
    plane = frame.planes[0]
    luma = (
        np.frombuffer(memoryview(plane), np.uint8 if depth == 8 else np.uint16)
        .reshape(plane.height, -1)[:, : plane.width]
        .astype(np.float32)
    ) / 2 ** (depth - 8)
    worst = 0.0
    for lines in (luma, luma.T):
        if min(lines.shape) < _BAND:
            continue
        steps = np.abs(np.diff(lines, axis=1))
        grid = np.arange(7, steps.shape[1] - 1, 8)
        for top in range(0, lines.shape[0] - _BAND + 1, _BAND // 2):
            band = steps[top : top + _BAND].mean(axis=0)
            excess = band[grid] - np.maximum(band[grid - 1], band[grid + 1])
            worst = max(worst, float(np.percentile(excess, 60) / (band.mean() + 1)))
    return worst


class Clock:
    """Times of the frames of a stream: which come twice, and where some are missing."""

    def __init__(self, time_base: float) -> None:
        self._tick = time_base
        self._times: list[int] = []

    def repeats(self, time: int | None) -> bool:
        """Take the time of a frame; True where it is no later than the one before."""
        if time is None:
            return False
        again = bool(self._times) and time <= self._times[-1]
        if not again:
            self._times.append(time)
        return again

    @property
    def step(self) -> float | None:
        """Ticks from frame to frame, where most are equal; None for a variable rate."""
        gaps = np.diff(self._times)
        if len(gaps) < _FEWEST_GAPS:
            return None
        step = float(np.median(gaps))
        usual = np.abs(gaps - step) <= self._slack(step)
        return float(gaps[usual].mean()) if usual.mean() >= _REGULAR else None

    @property
    def step_s(self) -> float:
        """Seconds from frame to frame at a constant rate; 0 for a variable one."""
        return (self.step or 0.0) * self._tick

    @property
    def end(self) -> float:
        """Seconds from 0 to the end of the last frame."""
        return (self._times[-1] + (self.step or 0)) * self._tick if self._times else 0.0

    def missing(self) -> list[tuple[int, int]]:
        """Return (frame, how many are missing before it), at a constant rate."""
        step, gaps = self.step, np.diff(self._times)
        if step is None:
            return []
        times = np.rint(gaps / step).astype(int)
        if np.any(np.abs(gaps - times * step) > self._slack(step) * np.maximum(times, 1)):
            return []  # a variable rate after all
        return [(index + 1, int(n) - 1) for index, n in enumerate(times) if n > 1]

    def spread_s(self) -> tuple[float, float] | None:
        """Return the shortest and longest time of a frame at a variable rate, else None."""
        gaps = np.diff(self._times)
        if len(gaps) < 2 or self.missing():
            return None
        step = float(np.median(gaps))
        if np.all(np.abs(gaps - step) <= self._slack(step)):
            return None
        return float(gaps.min()) * self._tick, float(gaps.max()) * self._tick

    def _slack(self, step: float) -> float:
        # containers round times to whole ticks, Matroska to milliseconds
        return max(1.01, 0.02 * step)


BROKEN = 0.6
"""Value of `grid_breaks` from which a frame counts as damaged."""
SUSPECT = 0.38
"""Value from which it may be; pictures that were compressed before look like this, too."""
DEBLOCKED = {"hevc"}
"""Codecs that smooth block edges and whose decoders do not see most damage."""
_BAND = 32
_FEWEST_GAPS = 4
_REGULAR = 0.8  # share of equal gaps from which a rate counts as constant
