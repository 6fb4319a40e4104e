"""The embedded clip: camera and object motion over the photographs inside scikit-image.

No download and no file of ours: scikit-image's wheel carries a few natural photographs, and a
moving camera over one of them with a cut-out of another passing in front makes a short video with
sub-pixel motion and occlusion, the same bits every time.

**What it is not.** The motion is synthetic: each layer is flat and moves rigidly, light and focus
never change, and there is no motion blur, sensor noise or compression. That is easier for a video
denoiser than real video, though the texture is real and the frames change as much as in a hand-held
shot. It is there to try things out; numbers to quote come from real test clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError, suggest
from cimsim.video._images import read_image
from cimsim.video.source import Source

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MIN_SIZE = 16


@dataclass(frozen=True, slots=True)
class Wave:
    """A slow oscillation: ``centre + amplitude * sin(2 pi (t / period + phase))``.

    Attributes
    ----------
    centre, amplitude : float
        In the unit of whatever moves.
    period : float
        In frames.
    phase : float
        In cycles.
    """

    centre: float
    amplitude: float = 0.0
    period: float = 1.0
    phase: float = 0.0

    def at(self, frame: int) -> float:
        """Return the value at a frame."""
        return self.centre + self.amplitude * math.sin(
            2 * math.pi * (frame / self.period + self.phase)
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """What the camera sees of one photograph.

    Attributes
    ----------
    photo : str
        File name in scikit-image's data folder.
    zoom : Wave
        Size of the view as a fraction of the largest view that fits, below 1.
    x, y : Wave
        Where in its free range the view stands, -1 (left, top) to 1 (right, bottom).
    """

    photo: str
    zoom: Wave
    x: Wave
    y: Wave


@dataclass(frozen=True, slots=True)
class Cutout:
    """A piece of another photograph that moves in front of the camera.

    Attributes
    ----------
    photo : str
        File name in scikit-image's data folder.
    outline : tuple of (float, float)
        Corners (x, y) of the piece, in pixels of the photograph.
    height : float
        Height of the piece as a fraction of the frame's.
    x, y : Wave
        Where the middle of the piece stands, as fractions of the frame's width and height.
    """

    photo: str
    outline: tuple[tuple[float, float], ...]
    height: float
    x: Wave
    y: Wave


@dataclass(frozen=True, slots=True)
class Scene:
    """One camera and what passes in front of it."""

    camera: Camera
    cutout: Cutout | None = None


# fmt: off
_ASTRONAUT = (
    (153, 72), (160, 52), (175, 41), (190, 35), (202, 24), (217, 17), (235, 16), (255, 22),
    (275, 32), (290, 48), (299, 72), (300, 92), (293, 112), (280, 128), (270, 136), (266, 150),
    (258, 168), (256, 177), (275, 190), (292, 210), (303, 235), (320, 244), (338, 262), (350, 290),
    (360, 325), (364, 349), (380, 345), (400, 343), (425, 347), (450, 360), (470, 382), (485, 410),
    (495, 450), (503, 458), (508, 480), (511, 512), (60, 512), (38, 500), (27, 470), (22, 430),
    (19, 400), (23, 370), (26, 335), (34, 305), (46, 275), (59, 250), (76, 235), (95, 222),
    (110, 208), (118, 200), (114, 190), (118, 182), (125, 170), (140, 157), (160, 150), (182, 148),
    (181, 132), (175, 128), (165, 115), (157, 100),
)
_CUP = (
    (175, 72), (185, 55), (205, 38), (235, 24), (270, 18), (310, 19), (345, 30), (375, 46),
    (393, 67), (400, 68), (412, 67), (424, 75), (418, 98), (416, 108), (440, 130), (460, 160),
    (474, 195), (479, 230), (474, 265), (460, 300), (435, 332), (400, 360), (360, 378), (315, 388),
    (270, 388), (225, 378), (180, 355), (140, 325), (105, 285), (85, 245), (77, 210), (82, 175),
    (97, 140), (120, 110), (150, 85),
)
# fmt: on

SCENES: dict[str, Scene] = {
    # an astronaut walks through a garage, past a motorcycle
    "default": Scene(
        Camera(
            "motorcycle_left.png",
            zoom=Wave(0.84, 0.07, 97, 0.1),
            x=Wave(0.05, 0.7, 140, 0.05),
            y=Wave(0.1, 0.6, 83, 0.4),
        ),
        Cutout(
            "astronaut.png",
            _ASTRONAUT,
            height=0.66,
            x=Wave(0.5, 0.42, 150, -0.09),
            y=Wave(0.705, 0.012, 14.3),
        ),
    ),
    # a cup of coffee is passed in front of a cat
    "cat": Scene(
        Camera(
            "chelsea.png",
            zoom=Wave(0.94, 0.04, 110, 0.3),
            x=Wave(-0.1, 0.7, 120, 0.9),
            y=Wave(0.0, 0.5, 71, 0.2),
        ),
        Cutout(
            "coffee.png",
            _CUP,
            height=0.4,
            x=Wave(0.5, 0.4, 130, -0.15),
            y=Wave(0.76, 0.03, 37, 0.6),
        ),
    ),
    # a hand-held camera closes in on a face; nothing passes
    "portrait": Scene(
        Camera(
            "astronaut.png",
            zoom=Wave(0.76, 0.18, 120, 0.2),
            x=Wave(-0.1, 0.3, 90),
            y=Wave(-0.55, 0.3, 130, 0.1),
        ),
    ),
}

# A hand never holds still: tremor of the camera, in pixels of the frame.
_TREMOR_X = (Wave(0.0, 0.6, 9.7), Wave(0.0, 0.35, 5.3, 0.3))
_TREMOR_Y = (Wave(0.0, 0.5, 8.3, 0.7), Wave(0.0, 0.3, 4.7, 0.1))
_EDGE_SOFTNESS = 1.5  # pixels of the photograph


def embedded_clip(
    name: str = "default", frames: int = 10, height: int = 256, width: int = 256
) -> npt.NDArray[np.uint8]:
    """Render a scene of synthetic motion over real photographs.

    Each pixel is the exact area average of the photograph under it (a sensor without blur), so
    motion is sub-pixel and free of aliasing. The camera pans, zooms and trembles; a cut-out with a
    soft edge moves on its own and covers what is behind it. A shorter clip is the start of a longer
    one. The module's docstring says why real video is harder.

    Parameters
    ----------
    name : str
        A scene of ``SCENES``: ``default``, ``cat`` or ``portrait``.
    frames : int
        Length, >= 1.
    height, width : int
        Size of a frame in pixels, >= 16 and no larger than the photograph stays sharp.

    Returns
    -------
    ndarray of uint8, shape (frames, height, width, 3)
        RGB frames, the same bits in every call.

    Raises
    ------
    InputError
        For an unknown name, a length below 1, or a size that is too small or too large.
    """
    if frames < 1:
        raise InputError(f"embedded clip: frames: expected an integer >= 1, got {frames}")
    render = _renderer(name, height, width)
    clip = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        clip[index] = render(index)
    return clip


class EmbeddedSource(Source):
    """A scene that is rendered as it is read; it has no end.

    Parameters
    ----------
    name : str
    height, width : int
        As for `embedded_clip`.
    """

    def __init__(self, name: str, height: int, width: int) -> None:
        super().__init__(Path(f"embedded clip {name}"))
        self._render = _renderer(name, height, width)
        self.facts |= {"container": "embedded scene", "pixels": "RGB, uint8", "colours": "RGB"}

    def frames(self, start: int, stop: int | None) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
        """See `Source`."""
        if stop is None:
            raise InputError("embedded clip: it has no end; say how many frames (--frames N)")
        for index in range(start, stop):
            yield f"frame {index}", self._render(index)


def _renderer(name: str, height: int, width: int) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Return what renders one frame of a scene."""
    if name not in SCENES:
        raise InputError(f"embedded clip: {name!r} is unknown{suggest(name, SCENES)}")
    if min(height, width) < _MIN_SIZE:
        raise InputError(
            f"embedded clip: size: expected at least {_MIN_SIZE}x{_MIN_SIZE}, got {width}x{height}"
        )
    scene = SCENES[name]
    photo = _photo(scene.camera.photo)
    _check_sharp(name, scene.camera, photo.shape, height, width)
    piece = None if scene.cutout is None else _cut(scene.cutout)

    def render(index: int) -> npt.NDArray[np.uint8]:
        picture = _view(photo, scene.camera, index, height, width)
        if scene.cutout is not None and piece is not None:
            front = _front(piece, scene.cutout, index, height, width)
            picture = front[..., :3] + (1 - front[..., 3:]) * picture
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    return render


def photo_path(file_name: str) -> Path:
    """Return the path of a photograph inside the installed scikit-image.

    Parameters
    ----------
    file_name : str
        Name in scikit-image's data folder.

    Raises
    ------
    InputError
        When this version of scikit-image does not carry it.
    """
    path = Path(str(resources.files("skimage").joinpath("data", file_name)))
    if not path.is_file():
        raise InputError(
            f"embedded clip: {path} is missing; this scikit-image carries no such photograph "
            "(version 0.26 does); give a clip of your own"
        )
    return path


def _photo(file_name: str) -> npt.NDArray[np.float64]:
    return _read(photo_path(file_name)).astype(np.float64)


@lru_cache(maxsize=8)  # decompressing a photograph takes longer than a frame of it
def _read(path: Path) -> npt.NDArray[np.uint8]:
    photo = read_image(path)
    photo.flags.writeable = False
    return photo


def _largest_view(shape: tuple[int, ...], height: int, width: int) -> float:
    """Return how many photograph pixels one frame pixel may span at most (the whole photograph)."""
    return min(shape[0] / height, shape[1] / width)


def _check_sharp(
    name: str, camera: Camera, shape: tuple[int, ...], height: int, width: int
) -> None:
    """Refuse a frame so large that the photograph would be magnified, hence blurred."""
    tightest = camera.zoom.centre - abs(camera.zoom.amplitude)
    if _largest_view(shape, height, width) * tightest < 1:
        raise InputError(
            f"embedded clip: size: scene {name!r} is sharp up to {math.floor(shape[1] * tightest)}x"
            f"{math.floor(shape[0] * tightest)} (width x height), got {width}x{height}; take a "
            "smaller frame or give a clip of your own"
        )


def _view(
    photo: npt.NDArray[np.float64], camera: Camera, frame: int, height: int, width: int
) -> npt.NDArray[np.float64]:
    """Return what the camera sees at a frame: [height, width, 3] in 0..255."""
    scale = _largest_view(photo.shape, height, width) * camera.zoom.at(frame)
    corner = []
    for length, size, position, tremor in (
        (photo.shape[0], height, camera.y, _TREMOR_Y),
        (photo.shape[1], width, camera.x, _TREMOR_X),
    ):
        free = length - size * scale
        offset = free / 2 * (1 + position.at(frame)) + scale * sum(w.at(frame) for w in tremor)
        corner.append(min(max(offset, 0.0), free))
    return _resample(photo, corner[0], corner[1], scale, height, width)


@lru_cache(maxsize=4)
def _cut(cutout: Cutout) -> npt.NDArray[np.float64]:
    """Return a cut-out as [h, w, 4]: colours times coverage (0..255), coverage (0..1)."""
    from PIL import Image, ImageDraw
    from scipy.ndimage import gaussian_filter

    photo = _photo(cutout.photo)
    drawing = Image.new("L", (photo.shape[1], photo.shape[0]), 0)
    ImageDraw.Draw(drawing).polygon(list(cutout.outline), fill=1)
    inside = np.asarray(drawing, dtype=np.float64)
    # only the inner half of the blurred edge, so that no rim of the old background comes along
    coverage = np.clip(2 * gaussian_filter(inside, _EDGE_SOFTNESS, mode="nearest") - 1, 0, 1)
    piece = np.concatenate([photo * coverage[..., np.newaxis], coverage[..., np.newaxis]], axis=2)
    piece.flags.writeable = False
    return piece


def _front(
    piece: npt.NDArray[np.float64], cutout: Cutout, frame: int, height: int, width: int
) -> npt.NDArray[np.float64]:
    """Return the cut-out as it stands in a frame: [height, width, 4], see `_cut`."""
    xs, ys = np.array(cutout.outline, dtype=np.float64).T
    scale = float(ys.max() - ys.min()) / (cutout.height * height)
    left = float(xs.max() + xs.min()) / 2 - scale * width * cutout.x.at(frame)
    top = float(ys.max() + ys.min()) / 2 - scale * height * cutout.y.at(frame)
    return _resample(piece, top, left, scale, height, width)


def _resample(
    photo: npt.NDArray[np.float64], top: float, left: float, scale: float, height: int, width: int
) -> npt.NDArray[np.float64]:
    """Average a photograph over the squares of a pixel grid; nothing (0) lies outside it.

    Parameters
    ----------
    photo : ndarray of float64, shape (h, w, c)
    top, left : float
        Corner of the grid in photograph pixels.
    scale : float
        Side of one square in photograph pixels.
    height, width : int
        Size of the grid.

    Returns
    -------
    ndarray of float64, shape (height, width, c)
    """
    n_rows, n_cols, n_channels = photo.shape
    by_row = _area_weights(top, scale, height, n_rows) @ photo.reshape(n_rows, -1)
    turned = by_row.reshape(height, n_cols, n_channels).transpose(1, 0, 2).reshape(n_cols, -1)
    by_col = _area_weights(left, scale, width, n_cols) @ turned
    picture: npt.NDArray[np.float64] = by_col.reshape(width, height, n_channels).transpose(1, 0, 2)
    return picture


def _area_weights(start: float, scale: float, n_out: int, n_in: int) -> csr_array:
    """Return the share of each input pixel in each output pixel, sparse [n_out, n_in].

    Output ``i`` spans ``start + i * scale`` to ``start + (i + 1) * scale`` in input pixels.
    """
    from scipy.sparse import csr_array

    low = start + scale * np.arange(n_out)[:, np.newaxis]
    pixel = np.arange(n_in)[np.newaxis, :]
    overlap = np.minimum(low + scale, pixel + 1) - np.maximum(low, pixel)
    return csr_array(np.maximum(overlap, 0) / scale)
