"""What a frame's colour tags mean: which matrix and range to convert with, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cimsim.errors import InputError

if TYPE_CHECKING:
    from av import VideoFormat, VideoFrame
    from av.sidedata.sidedata import SideData, SideDataContainer

# numbers of ISO/IEC 23091-2 (H.273)
RGB, BT709, UNKNOWN, BT601, BT2020 = 0, 1, 2, 6, 9
_MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
_UNUSUAL_MATRICES = {8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085",
                     12: "chromaticity-derived", 13: "chromaticity-derived constant luminance",
                     14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-R", 17: "YCgCo-R"}  # fmt: skip
_NOT_FOR_DISPLAYS = {
    8: "linear light", 9: "logarithmic", 10: "logarithmic", 16: "PQ (HDR, SMPTE ST 2084)",
    17: "SMPTE ST 428", 18: "HLG (HDR)",
}  # fmt: skip
_WIDE = {9: "BT.2020", 10: "SMPTE ST 428 (XYZ)", 11: "DCI-P3", 12: "Display P3"}
VIDEO_RANGE, FULL_RANGE = 1, 2
_HD_LINES, _HD_COLUMNS = 720, 1280

WAY_OUT = (
    "convert it first, for example with ffmpeg: -vf zscale=transfer=linear:npl=100,"
    "format=gbrpf32le,tonemap=hable,zscale=primaries=bt709:transfer=bt709:matrix=bt709,format=yuv420p10le"
)


@dataclass(frozen=True, slots=True)
class Colours:
    """How the samples of a frame become RGB.

    Attributes
    ----------
    matrix, full_range : int, bool
        For Y'CbCr: number of H.273, and whether black is 0.
    primaries : int or None
        Number of H.273 of primaries that have to be converted to those of BT.709.
    notes : tuple of str
        What was assumed.
    """

    matrix: int
    full_range: bool
    primaries: int | None = None
    notes: tuple[str, ...] = ()


def is_ycbcr(pixel_format: VideoFormat) -> bool:
    """Tell Y'CbCr from RGB, grey, palettes and mosaics."""
    return not pixel_format.is_rgb and not pixel_format.is_bayer and len(
        pixel_format.components
    ) >= 3 and not pixel_format.name.startswith(("pal", "xyz"))  # fmt: skip


def of_frame(name: str, frame: VideoFrame) -> Colours:
    """Read a frame's tags.

    Raises
    ------
    InputError
        For HDR and other transfers that a display does not show as they are, for Dolby Vision, for
        matrices that libswscale has not, and for raw mosaics.
    """
    layout = frame.format
    if layout.is_bayer:
        raise InputError(
            f"{name}: holds a raw colour mosaic (Bayer, {layout.name}), not RGB; develop it first "
            "(rawpy, darktable, dcraw)"
        )
    transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
    if transfer in _NOT_FOR_DISPLAYS:
        raise InputError(
            f"{name}: its transfer is {_NOT_FOR_DISPLAYS[transfer]}, which is no picture for an "
            f"8-bit display; {WAY_OUT}"
        )
    if any("DOVI" in item.type.name for item in side_data(frame)) and transfer == UNKNOWN:
        raise InputError(f"{name}: Dolby Vision without a picture for other displays; {WAY_OUT}")
    notes = []
    if primaries in _WIDE and not is_ycbcr(layout):
        raise InputError(f"{name}: RGB of {_WIDE[primaries]} primaries; {WAY_OUT}")
    wide = primaries if primaries in _WIDE else None
    if not is_ycbcr(layout):
        return Colours(RGB, full_range=int(frame.color_range) != VIDEO_RANGE)
    matrix, tag = int(frame.colorspace), int(frame.colorspace)
    if tag in _UNUSUAL_MATRICES:
        raise InputError(
            f"{name}: its colours are coded as {_UNUSUAL_MATRICES[tag]}, which is not supported; "
            "convert it to BT.709 first"
        )
    if tag not in _MATRICES:
        matrix = BT709 if is_hd(frame.width, frame.height) else BT601
        notes.append(
            f"no colour matrix is tagged: taken as {_MATRICES[matrix]}, as usual for "
            f"{frame.width} x {frame.height}"
        )
    if wide is not None:
        notes.append(f"{_WIDE[wide]} primaries: converted to BT.709, colours outside are clipped")
    full = int(frame.color_range) == FULL_RANGE or layout.name.startswith("yuvj")
    if not full and int(frame.color_range) != VIDEO_RANGE:
        notes.append("no range is tagged: taken as video range (8 bit: black 16, white 235)")
    return Colours(matrix, full, wide, tuple(notes))


def is_hd(width: int, height: int) -> bool:
    """Tell whether a size stands for BT.709 where no matrix is tagged, as players do."""
    return height >= _HD_LINES or width >= _HD_COLUMNS


def named(colours: Colours, frame: VideoFrame) -> str:
    """Say the colours in a few words."""
    if colours.matrix == RGB:
        return (
            "RGB"
            if frame.format.is_rgb
            else "grey"
            if len(frame.format.components) < 3
            else "other"
        )
    return f"Y'CbCr {_MATRICES[colours.matrix]}, {'full' if colours.full_range else 'video'} range"


def side_data(frame: VideoFrame) -> list[SideData]:
    """Return what a frame carries beside its samples."""
    from av.sidedata.sidedata import SideData

    # PyAV's stubs give the container another type than it has
    held = cast("SideDataContainer", frame.side_data)
    return [item if isinstance(item, SideData) else held[item] for item in held]
