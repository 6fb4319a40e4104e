"""How a stored picture is turned and mirrored before it is shown."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

P = TypeVar("P", bound=np.generic)

ORIENTATION = 274  # tag of Exif and TIFF
# Exif 2.32, table of that tag: (rows and columns change places, left-right, upside down), in turn
EXIF = {
    1: (False, False, False), 2: (False, True, False), 3: (False, True, True),
    4: (False, False, True), 5: (True, False, False), 6: (True, True, False),
    7: (True, True, True), 8: (True, False, True),
}  # fmt: skip
Turn = tuple[bool, bool, bool]
UPRIGHT: Turn = (False, False, False)


def turned(picture: npt.NDArray[P], turn: Turn) -> npt.NDArray[P]:
    """Return a picture [H, W, C] as it is to be shown."""
    swap, mirror, flip = turn
    picture = picture.swapaxes(0, 1) if swap else picture
    picture = picture[:, ::-1] if mirror else picture
    picture = picture[::-1] if flip else picture
    return np.ascontiguousarray(picture)


def of_matrix(matrix: npt.NDArray[np.int32]) -> Turn | None:
    """Turn of a display matrix [9] (ISO/IEC 14496-12, 8.2.2); None for another angle.

    A pixel at (x, y) is shown at (a x + c y, b x + d y), in units of 1 / 65536.
    """
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    if not b and not c and a and d:
        return False, a < 0, d < 0
    if not a and not d and b and c:
        return True, c < 0, b < 0
    return None


def shows_nothing(matrix: npt.NDArray[np.int32]) -> bool:
    """Tell a display matrix [9] that puts all pixels on one line or point."""
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    return a * d == b * c


def scales(matrix: npt.NDArray[np.int32]) -> tuple[float, float]:
    """Return how many times wider and higher a display matrix [9] shows a stored picture."""
    a, b, c, d = (int(matrix[index]) / 65536 for index in (0, 1, 3, 4))
    return math.hypot(a, b), math.hypot(c, d)


def in_words(turn: Turn) -> str:
    """Say what was done."""
    swap, mirror, flip = turn
    if not swap:
        return {
            (True, True): "turned by 180 degrees", (True, False): "mirrored left to right",
            (False, True): "mirrored upside down", (False, False): "",
        }[mirror, flip]  # fmt: skip
    return {
        (True, False): "turned by 90 degrees clockwise",
        (False, True): "turned by 90 degrees counter-clockwise",
        (False, False): "transposed", (True, True): "transposed along the other diagonal",
    }[mirror, flip]  # fmt: skip
