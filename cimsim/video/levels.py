"""Code values to 8 bits: which value is black and which is white, given, known or found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError
from cimsim.video.options import ReadOptions

UInt8Array = npt.NDArray[np.uint8]

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and converters deliver; a container of 16 bits may hold any of them."""
SEARCHED = 16
"""Pictures that are searched for the largest value."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Code values of black and white.

    Attributes
    ----------
    black, white : float
    note : str
        What was assumed and how to say otherwise; empty where nothing was.
    guessed : bool
        True when the levels are those that the first pictures allow; a later one may not fit.
    """

    black: float
    white: float
    note: str = ""
    guessed: bool = False

    def to_8_bit(self, name: str, pixels: npt.NDArray[np.generic]) -> UInt8Array:
        """Scale code values to 0..255, rounded half to even and clipped.

        Raises
        ------
        InputError
            When guessed levels turn out not to hold all values, or for NaN.
        """
        if pixels.dtype == np.bool_:
            return pixels.astype(np.uint8) * np.uint8(255)
        if pixels.dtype == np.uint8 and (self.black, self.white) == (0, 255):
            return np.ascontiguousarray(pixels)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise InputError(f"{name}: holds NaN or infinity, which no pixel value can show")
        if self.guessed and pixels.size:
            self._check(name, pixels)
        scaled = (pixels.astype(np.float64) - self.black) * 255 / (self.white - self.black)
        return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)

    def _check(self, name: str, pixels: npt.NDArray[np.generic]) -> None:
        low, high = pixels.min(), pixels.max()
        if low >= self.black and high <= self.white:
            return
        deep = pixels.dtype.kind == "u"
        way = "white is (--white 65535 for full 16 bits)" if deep else (
            "black and white are (--black, --white)"
        )  # fmt: skip
        raise InputError(
            f"{name}: holds the value {high if high > self.white else low}, but the pictures "
            f"before it fitted into {self.black:g}..{self.white:g}; say what {way}"
        )


def find_levels(
    name: str,
    pictures: Iterable[npt.NDArray[np.generic]],
    options: ReadOptions,
    bits: int | None = None,
) -> Levels:
    """Return the levels of a clip from what the user said, the format says, or its first pictures.

    Integers of 16 bits are taken for the least usual depth that holds their largest value, since
    converters of 10, 12 and 14 bits are stored that way.

    Parameters
    ----------
    name : str
        Of the clip, for messages.
    pictures : iterable of ndarray
        Code values; at most `SEARCHED` are read, and only where they must be.
    options : ReadOptions
    bits : int, optional
        Depth that the format states.

    Raises
    ------
    InputError
        For signed or wide integers, and for floats outside 0..1, without a white level.
    """
    shown = iter(pictures)
    first = next(shown)
    kind = first.dtype.kind
    if options.has_levels:
        return _given(first, options, bits)
    if kind == "b" or (kind == "u" and first.dtype.itemsize == 1 and bits in (None, 8)):
        return Levels(0, 255)
    if bits is not None and kind == "u":
        return Levels(0, 2**bits - 1)
    low, high = _range(first, shown)
    if kind == "f" and low >= 0 and high <= 1:
        return Levels(0, 1, guessed=True)
    if first.dtype != np.uint16:
        raise InputError(
            f"{name}: pixels are {first.dtype} in {low}..{high}; expected 8 or 16 bit, or floats "
            "in 0..1; or say which values are black and white (--black, --white)"
        )
    depth = next(d for d in DEPTHS if high < 2**d) if high > 0 else 16
    if depth == 16:
        return Levels(0, 65535)
    note = (
        f"16-bit samples whose largest value is {high:g}: taken as {depth} bits (black 0, white "
        f"{2**depth - 1}); --black and --white say otherwise"
    )
    return Levels(0, 2**depth - 1, note, guessed=True)


def _given(first: npt.NDArray[np.generic], options: ReadOptions, bits: int | None) -> Levels:
    kind = first.dtype.kind
    if options.white is not None:
        white = options.white
    elif kind == "f" or kind == "b":
        white = 1.0
    else:
        white = float(2 ** (bits or 8 * first.dtype.itemsize) - 1)
    black = options.black or 0.0
    if white <= black:
        raise InputError(f"black: expected less than white ({white:g}), got {black:g}")
    return Levels(black, white, f"levels as given: black {black:g}, white {white:g}")


def _range(
    first: npt.NDArray[np.generic], others: Iterable[npt.NDArray[np.generic]]
) -> tuple[float | int, float | int]:
    low, high = first.min(), first.max()
    for number, picture in enumerate(others, start=2):
        low, high = min(low, picture.min()), max(high, picture.max())
        if number == SEARCHED:
            break
    return low, high
