"""Still pictures and animations: files to upright 8-bit RGB, and folders of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video import _animation, _jpeg
from cimsim.video._orientation import EXIF, ORIENTATION, UPRIGHT, Turn, in_words, turned
from cimsim.video._series import ACCEPTED, IMAGE_SUFFIXES, Series
from cimsim.video.levels import SEARCHED, Levels, find_levels
from cimsim.video.options import ReadOptions
from cimsim.video.source import Pictures, Source, UInt8Array

if TYPE_CHECKING:
    from PIL import Image
    from tifffile import TiffFile, TiffFrame, TiffPage

__all__ = ["ACCEPTED", "IMAGE_SUFFIXES", "ImageSource", "is_raw", "read_image"]

_CHECKED = (".png", ".apng")  # with a checksum of every byte
_JPEG = ("JPEG", "MPO")  # Pillow's names; the second one has a preview behind the picture
_MOSAIC = 2.0  # neighbours of a raw mosaic differ more than next but one; in pictures, less


@dataclass(frozen=True)
class _Samples:
    """What decides on the levels of a picture: kind of its numbers, and depth where it says one."""

    dtype: np.dtype[np.generic]
    bits: int | None

    def __str__(self) -> str:
        return f"{self.dtype}" if self.bits is None else f"{self.bits} bits"


@dataclass(frozen=True)
class Stored:
    """A picture as it is in the file.

    Attributes
    ----------
    pixels : ndarray, shape (H, W, C), C 1 or 3
    turn : Turn
    bits : int or None
        Depth that the file states, where it is below that of the samples.
    notes : tuple of str
    damage : str
        What a decoder that paints on would hide; empty where none was seen.
    """

    pixels: npt.NDArray[np.generic]
    turn: Turn = UPRIGHT
    bits: int | None = None
    notes: tuple[str, ...] = ()
    damage: str = ""

    @property
    def samples(self) -> _Samples:
        """See `_Samples`."""
        return _Samples(self.pixels.dtype.newbyteorder("="), self.bits)


class ImageSource(Source):
    """Frames of pictures, or of one animation.

    Parameters
    ----------
    path : Path
        What the user gave.
    series : Series
    options : ReadOptions
    """

    def __init__(self, path: Path, series: Series, options: ReadOptions) -> None:
        super().__init__(path)
        self.files, self.options = series.files, options
        self._levels: dict[_Samples, Levels] = {}
        self._missing = series.missing
        self._broken: dict[Path, str] = {}
        for sentence in series.notes:
            self.tell(sentence)
        if series.missing and not options.tolerate_damage:
            raise InputError(
                f"{path}: {series.missing[0]}; --tolerate-damage (tolerate_damage=True) goes on "
                "without them"
            )
        self._animation = _animation.held(self.files[0]) if len(self.files) == 1 else None
        self._animated = self._animation is not None and self._animation.animated
        many = f"{len(self.files)} images" if len(self.files) > 1 else "image"
        self.facts |= {"container": "animation" if self._animated else many}
        self.facts |= {"codec": self.files[0].suffix.lower().lstrip(".")}
        for suffix in sorted({file.suffix.lower() for file in self.files} - {*_CHECKED}):
            self.tell(
                f"{suffix.lstrip('.')} has no means to notice all damage: a damaged file may not "
                "be seen"
            )
        if self._animated:
            self.tell("an animation: its frames are taken one by one, whatever time each is shown")
        if self._animation is not None and self._animation.hidden:
            self.tell("its picture for programs that show no animations is no frame: left out")

    @property
    def count(self) -> int | None:
        """See `Source`."""
        return self._animation.frames if self._animation is not None else len(self.files)

    @property
    def damaged(self) -> list[str]:
        """See `Source`."""
        return [*self._missing, *self._broken.values()]

    def frames(self, start: int, stop: int | None) -> Iterator[tuple[str, UInt8Array]]:
        """See `Source`.

        Raises
        ------
        InputError
            A picture that cannot be read, or whose levels are not clear.
        """
        if self._animation is not None and self._animation.incomplete:
            self._check_damage(self.files[0], self._animation.incomplete)
        if self._animation is not None and self._animated:
            yield from self._frames_of(self._animation, start, stop)
            return
        for file in self.files[start:stop]:
            yield file.name, self._picture(file)

    def _frames_of(
        self, animation: _animation.Held, start: int, stop: int | None
    ) -> Iterator[tuple[str, UInt8Array]]:
        """Yield the frames of an animation, up to where it is damaged if that is tolerated."""
        index, (path,) = 0, self.files
        try:
            for picture in _animation.frames(path, animation.hidden):
                if index == stop:
                    return
                if index >= start:
                    yield f"frame {index}", picture
                index += 1
        except InputError as error:
            if not index:
                raise InputError(f"{path}: not a readable animation ({error})") from error
            self._check_damage(path, f"it breaks off in frame {index}: {error}")

    def _picture(self, file: Path) -> UInt8Array:
        if len(self.files) > 1 and (found := _animation.held(file)).animated:
            raise InputError(
                f"{file}: holds {found.frames} frames among other pictures; take it alone"
            )
        stored = _stored(file)
        self._check_damage(file, stored.damage)
        levels = self._levels_of(file, stored)
        for sentence in stored.notes:
            self.tell(sentence)
        if stored.turn != UPRIGHT:
            self.tell(f"{in_words(stored.turn)}, as the file says")
        eight = levels.to_8_bit(str(file), stored.pixels)
        shown = np.broadcast_to(eight, (*eight.shape[:2], 3))
        return turned(shown, stored.turn)

    def _levels_of(self, file: Path, stored: Stored) -> Levels:
        """Return the levels of pictures with samples like these, found when the first one comes."""
        if stored.samples in self._levels:
            return self._levels[stored.samples]
        if not self._levels:
            self._begin(stored)
        elif self.options.has_levels:
            (known,) = self._levels
            raise InputError(
                f"{file}: its samples are {stored.samples}, those of the pictures before it are "
                f"{known}: one black and white cannot fit both; give pictures of one depth, or "
                "leave out --black and --white"
            )
        chosen = self.files[:SEARCHED] if file in self.files[:SEARCHED] else [file]
        read = (stored if f == file else _stored(f) for f in chosen)
        alike = (one.pixels for one in read if one.samples == stored.samples)
        levels = find_levels(str(file), alike, self.options, stored.bits)
        self._levels[stored.samples] = levels
        self.tell(levels.note)
        if len(self._levels) > 1:
            kinds = ", ".join(map(str, self._levels))
            self.tell(f"pictures of several depths ({kinds}): each is scaled by its own")
        return levels

    def _begin(self, stored: Stored) -> None:
        """Say what the first picture is."""
        self.grey = stored.pixels.shape[2] == 1
        kind = "grey" if self.grey else "RGB"
        self.facts |= {"pixels": f"{kind}, {stored.pixels.dtype}", "colours": kind}
        if self.grey and _looks_like_mosaic(stored.pixels[..., 0]):
            self.tell(
                "a grey picture whose neighbours differ more than pixels further apart: if it "
                "is a raw colour mosaic (Bayer), develop it first"
            )

    def _check_damage(self, file: Path, why: str) -> None:
        """Stop, or remember, where a decoder saw damage and painted on."""
        if why and not self.options.tolerate_damage:
            raise InputError(
                f"{file}: the picture is damaged ({why}); --tolerate-damage (tolerate_damage=True) "
                "goes on"
            )
        if why:
            self._broken[file] = f"{file.name} is damaged ({why})"


def read_image(path: Path, options: ReadOptions | None = None) -> UInt8Array:
    """Read one picture as upright uint8 RGB [H, W, 3]."""
    source = ImageSource(path, Series([path]), options or ReadOptions())
    return next(picture for _, picture in source.frames(0, 1))


def is_raw(path: Path) -> bool:
    """Tell whether a file of any name is a TIFF that holds a camera's raw data."""
    import tifffile

    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return any(_is_raw_page(page) for page in _all_pages(tiff))
    except Exception:  # noqa: BLE001 - another reader says what is wrong with it
        return False


def _all_pages(tiff: TiffFile) -> Iterator[TiffPage | TiffFrame]:
    for page in list(tiff.pages)[:8]:
        yield page
        yield from getattr(page, "pages", None) or ()


def _is_raw_page(page: TiffPage | TiffFrame) -> bool:
    # TIFF/EP and DNG: photometric CFA and LinearRaw, tags CFAPattern and DNGVersion
    tags = getattr(page, "tags", {})
    return int(getattr(page, "photometric", 0) or 0) in (32803, 34892) or any(
        code in tags for code in (33422, 50706)
    )


def _stored(path: Path) -> Stored:
    """Read one picture as it is stored."""
    from PIL import Image

    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return _read_tiff(path)
        tags = _png_colours(path)
        with Image.open(path) as image:
            turn = EXIF.get(image.getexif().get(ORIENTATION, 1), UPRIGHT)
            notes = (*tags, *_profile(image))
            if image.format in _JPEG:
                return _read_jpeg(path, image, turn, notes)
            if "16" in image.mode or image.mode in ("I", "F"):
                pixels = np.asarray(image)
                pixels = pixels.astype(np.uint16) if image.mode == "I" else pixels
            elif _is_colour_16_bit_png(path):
                pixels = _read_colour_16_bit(path)
            elif image.mode in ("1", "L", "LA", "La"):
                pixels = np.asarray(image.convert("L"))
            else:
                pixels = np.asarray(image.convert("RGB"))
            return Stored(_shaped(path, pixels), turn, notes=notes)
    except InputError:
        raise
    # decoders raise anything from SyntaxError to struct.error on damaged files
    except Exception as error:
        raise InputError(f"{path}: not a readable image ({_cause(error)})") from error


def _read_jpeg(path: Path, image: Image.Image, turn: Turn, notes: tuple[str, ...]) -> Stored:
    """Read a JPEG file that Pillow has opened; other colours than grey and RGB by Pillow itself."""
    damage = ""
    if path.suffix.lower() in _CHECKED:
        notes += ("it is a JPEG file: a damaged one may not be seen",)
    if image.mode in _jpeg.COLOURS:
        pixels, damage = _jpeg.decode(path.read_bytes(), image.mode)
    else:
        pixels = np.asarray(image.convert("RGB"))
    return Stored(_shaped(path, pixels), turn, None, notes, damage or _jpeg.second_opinion(path))


def _cause(error: BaseException) -> str:
    """Return the first line of what a decoder said."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _shaped(path: Path, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return [H, W, 1] or [H, W, 3], alpha dropped."""
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise InputError(f"{path}: not a picture: stored as an array of shape {pixels.shape}")
    return pixels[..., :1] if pixels.shape[2] < 3 else pixels[..., :3]


def _read_tiff(path: Path) -> Stored:
    """Read one TIFF page as it is stored, samples last."""
    import tifffile

    if is_raw(path):
        raise InputError(
            f"{path}: holds a camera's raw colour mosaic (Bayer), not RGB; develop it first "
            "(rawpy, darktable, dcraw)"
        )
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if len(file.pages) != 1:
            raise InputError(
                f"{path}: holds {len(file.pages)} pages; write a clip as a folder of one-page "
                "images or as a video file"
            )
        kind = tifffile.PHOTOMETRIC(int(page.photometric or 0))
        if kind == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample > 1:
            raise InputError(f"{path}: white-is-zero TIFF is not supported; save it as PNG")
        plain = kind in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        pixels = _plain_tiff(page) if plain else None
        if pixels is None:
            turn = EXIF.get(int(page.tags.valueof(ORIENTATION, 1)), UPRIGHT)
            return _other_tiff(path, kind.name, int(page.bitspersample), turn, plain=plain)
        planes_first = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3
        depth = int(page.bitspersample)
        turn = EXIF.get(int(page.tags.valueof(ORIENTATION, 1)), UPRIGHT)
    pixels = np.moveaxis(pixels, 0, -1) if planes_first else pixels
    stated = depth if depth < 8 * pixels.dtype.itemsize and pixels.dtype.kind == "u" else None
    return Stored(_shaped(path, pixels), turn, stated)


def _plain_tiff(page: TiffPage) -> npt.NDArray[np.generic] | None:
    """Return the samples of a TIFF page; None where its compression needs another library."""
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        if "imagecodecs" in str(error):
            return None
        raise


def _other_tiff(path: Path, kind: str, depth: int, turn: Turn, *, plain: bool) -> Stored:
    """Read a TIFF of other colours or compression: 8 bits by libtiff, more by libavcodec."""
    import av
    from PIL import Image

    if depth <= 8:
        with Image.open(path) as image:  # libtiff; Pillow turns it upright, too
            if image.mode == "LAB":
                raise InputError(f"{path}: its colours are CIELAB; save it as RGB")
            grey = image.mode in ("1", "L", "LA")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
        notes = () if plain or grey else (f"its colours ({kind.lower()}) are converted to RGB",)
        return Stored(_shaped(path, pixels), notes=notes)
    if not plain:
        raise InputError(f"{path}: its colours are {kind} of {depth} bits; save it as RGB")
    with av.open(str(path.absolute()), format="tiff_pipe") as container:
        frame = next(container.decode(video=0))
        form = "gray16le" if "gray" in frame.format.name or "ya" in frame.format.name else "rgb48le"
        return Stored(_shaped(path, np.asarray(frame.to_ndarray(format=form))), turn)


def _png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the chunks before the pixels."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind == b"IDAT":
                return
            yield kind, file.read(min(size, 1 << 20))
            file.seek(max(0, size - (1 << 20)) + 4, 1)


# cICP (PNG 3, 11.3.2.6; codes of ITU-T H.273) and what no 8-bit display shows
_TRANSFERS = {
    8: "linear light",
    9: "logarithmic",
    10: "logarithmic",
    16: "PQ (HDR)",
    18: "HLG (HDR)",
}
_PRIMARIES = {9: "BT.2020", 11: "DCI P3", 12: "Display P3"}
_SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue


def _png_colours(path: Path) -> tuple[str, ...]:
    """Read what a PNG says of its colours (cICP, sRGB, gAMA, cHRM); refuse what is no picture."""
    chunks = dict(_png_chunks(path))
    transfer, primaries, notes = "", "", []
    if len(content := chunks.get(b"cICP", b"")) >= 2:
        transfer, primaries = _TRANSFERS.get(content[1], ""), _PRIMARIES.get(content[0], "")
    elif not chunks.keys() & {b"sRGB", b"iCCP"}:  # they go before the next two
        if len(content := chunks.get(b"gAMA", b"")) == 4:
            gamma = struct.unpack(">I", content)[0] / 100_000
            transfer = "linear light" if 0.9 < gamma < 1.1 else ""
            if not transfer and not 0.42 < gamma < 0.58:  # 1/2.2, 1/1.8 and what is near
                notes.append(f"its gamma of {gamma:g} is not applied: taken as 1/2.2")
        if len(content := chunks.get(b"cHRM", b"")) == 32:
            chromaticities = np.array(struct.unpack(">8I", content)) / 100_000
            primaries = "other" if np.abs(chromaticities - _SRGB_XY).max() > 0.02 else ""
    if transfer:
        raise InputError(
            f"{path}: its transfer is {transfer}, which is no picture for an 8-bit display; "
            "convert it to sRGB first"
        )
    if primaries:
        notes.append(f"its {primaries} primaries are not applied: the values are taken as they are")
    return tuple(notes)


def _profile(image: Image.Image) -> tuple[str, ...]:
    """Name a colour profile that is not that of sRGB."""
    from PIL import ImageCms

    if not image.info.get("icc_profile"):
        return ()
    import io

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        name = ImageCms.getProfileDescription(profile).strip()
    except (ImageCms.PyCMSError, OSError):
        name = "not readable"
    if "srgb" in name.lower():
        return ()
    return (f"its colour profile ({name}) is not applied: the values are taken as they are",)


def _is_colour_16_bit_png(path: Path) -> bool:
    """Tell whether a PNG header says 16 bit per sample (Pillow would truncate its colours)."""
    with path.open("rb") as file:
        header = file.read(25)
    return header.startswith(b"\x89PNG") and header[24] == 16


def _read_colour_16_bit(path: Path) -> npt.NDArray[np.uint16]:
    """Read a 16-bit colour PNG as uint16 [H, W, 3]."""
    import av

    with av.open(str(path.absolute())) as container:
        frame = next(container.decode(video=0))
        pixels = frame.to_ndarray(format="rgb48le")
    return np.asarray(pixels, dtype=np.uint16)


def _looks_like_mosaic(grey: npt.NDArray[np.generic]) -> bool:
    """Tell whether neighbours differ much more than pixels next but one, in both directions."""
    values = grey[:512, :512].astype(np.float64)
    if min(values.shape) < 8:
        return False
    for lines in (values, values.T):
        near = np.abs(np.diff(lines, axis=1)).mean()
        far = np.abs(lines[:, 2:] - lines[:, :-2]).mean()
        if near <= _MOSAIC * far or near == 0:
            return False
    return True


def write_folder(path: Path, frames: Pictures, fps: float) -> None:
    """Write frames as ``00000.png``, ``00001.png`` ... into a new folder."""
    from PIL import Image

    del fps  # a folder of images has no place for it
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index:05d}.png")
