"""Picture quality: PSNR and SSIM per frame, the latter with the bits of scikit-image's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError

FloatArray = npt.NDArray[np.floating]

_SSIM_WINDOW = 7  # scikit-image's default: uniform 7 x 7


@dataclass(frozen=True, slots=True, eq=False)
class FrameQuality:
    """Quality of each frame of a clip; the means are over frames.

    Attributes
    ----------
    psnr_db : ndarray of float64, shape (T,)
        Peak signal-to-noise ratio in dB, ``inf`` for equal frames.
    ssim : ndarray of float64, shape (T,)
        Structural similarity, at most 1.
    """

    psnr_db: npt.NDArray[np.float64]
    ssim: npt.NDArray[np.float64]

    @property
    def mean_psnr_db(self) -> float:
        """Mean over frames of the PSNR in dB (not the PSNR of the mean error)."""
        return float(np.mean(self.psnr_db))

    @property
    def mean_ssim(self) -> float:
        """Mean over frames of the SSIM."""
        return float(np.mean(self.ssim))


def psnr(reference: FloatArray, image: FloatArray) -> float:
    """Return the peak signal-to-noise ratio ``10 log10(1 / mse)`` of one frame in dB.

    Parameters
    ----------
    reference : ndarray of float, shape (H, W, C)
        Clean frame in [0, 1].
    image : ndarray of float, shape (H, W, C)
        Frame to judge; clipped to [0, 1] first, as a display would.

    Returns
    -------
    float
        PSNR in dB over all samples, ``inf`` when the frames are equal.

    Raises
    ------
    InputError
        For frames of different shape, not floating-point or not finite, or a reference outside
        [0, 1].
    """
    clean, shown = _prepare(reference, image)
    with np.errstate(under="ignore"):  # squares below 1e-308 count as equal
        mse = float(np.mean((clean - shown) ** 2, dtype=np.float64))
    return 10 * math.log10(1 / mse) if mse > 0 else math.inf


def ssim(reference: FloatArray, image: FloatArray) -> float:
    """Return the structural similarity of one frame, mean over pixels and channels.

    scikit-image's default: uniform window of 7 x 7 pixels, K1 = 0.01, K2 = 0.03, sample covariance
    (Wang et al., IEEE TIP 13(4), 2004, use a Gaussian window instead).

    Parameters
    ----------
    reference, image : ndarray of float, shape (H, W, C)
        As for `psnr`; H and W at least 7.

    Returns
    -------
    float
        At most 1, which means equal.

    Raises
    ------
    InputError
        As for `psnr`, and for frames smaller than the window.
    """
    clean, shown = _prepare(reference, image)
    if min(clean.shape[:2]) < _SSIM_WINDOW:
        raise InputError(
            f"ssim: frames must be at least {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels, got "
            f"{clean.shape[1]}x{clean.shape[0]}"
        )
    by_channel = [
        _similarity(known, np.ascontiguousarray(shown[..., channel]))
        for channel, known in enumerate(_CLEAN.moments(clean))
    ]
    return float(np.array(by_channel).mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """One channel of a frame, its mean in every window, and that mean's square and the variance."""

    values: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    square: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> _Moments:
        mean = _windowed(values)
        square = mean * mean
        return cls(values, mean, square, _SAMPLE * (_windowed(values * values) - square))


class _Kept:
    """Moments of the last clean frames: several pictures are judged by the same one."""

    def __init__(self) -> None:
        self._frames: list[tuple[npt.NDArray[np.float64], list[_Moments]]] = []

    def moments(self, clean: npt.NDArray[np.float64]) -> list[_Moments]:
        """Return the moments of each channel of a frame [H, W, C]."""
        for frame, moments in reversed(tuple(self._frames)):
            if frame.shape == clean.shape and np.array_equal(frame, clean):
                return moments
        channels = range(clean.shape[2])
        moments = [_Moments.of(np.ascontiguousarray(clean[..., c])) for c in channels]
        room = min(_KEPT_FRAMES, _KEPT_BYTES // (5 * clean.nbytes))
        self._frames = ([*self._frames, (clean, moments)])[-room:] if room else []
        return moments


_SAMPLE = _SSIM_WINDOW**2 / (_SSIM_WINDOW**2 - 1)  # of a sample: divided by one value less
_SMALL = 0.01**2, 0.03**2  # keep quotients of nothing at bay
_KEPT_BYTES = 2**26
_KEPT_FRAMES = 32  # each is looked at for every picture: thousands of small ones cost time
_CLEAN = _Kept()


def _windowed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from scipy.ndimage import uniform_filter

    means: npt.NDArray[np.float64] = uniform_filter(values, size=_SSIM_WINDOW)
    return means


def _similarity(clean: _Moments, values: npt.NDArray[np.float64]) -> float:
    """Return the mean similarity of one channel, in scikit-image's order of operations."""
    shown = _Moments.of(values)
    covariance = _SAMPLE * (_windowed(clean.values * values) - clean.mean * shown.mean)
    means = 2 * clean.mean * shown.mean + _SMALL[0]
    spreads = 2 * covariance + _SMALL[1]
    below = (clean.square + shown.square + _SMALL[0]) * (
        clean.variance + shown.variance + _SMALL[1]
    )
    edge = _SSIM_WINDOW // 2
    inner = (means * spreads / below)[edge:-edge, edge:-edge]
    return float(inner.mean(dtype=np.float64))


def per_frame(reference: FloatArray, images: FloatArray) -> FrameQuality:
    """Return PSNR and SSIM of each frame of a clip.

    Parameters
    ----------
    reference, images : ndarray of float, shape (T, H, W, C)
        Clean clip in [0, 1] and the clip to judge; T >= 1.

    Returns
    -------
    FrameQuality
        Read-only arrays of length T.

    Raises
    ------
    InputError
        As for `psnr` and `ssim`, and for an empty clip.
    """
    if reference.ndim != 4 or reference.shape != images.shape or len(reference) == 0:
        raise InputError(
            "per_frame: expected two clips of one shape (T, H, W, C), T >= 1, got "
            f"{reference.shape} and {images.shape}"
        )
    pairs = list(zip(reference, images, strict=True))
    psnr_db = np.array([psnr(clean, shown) for clean, shown in pairs])
    similarity = np.array([ssim(clean, shown) for clean, shown in pairs])
    psnr_db.setflags(write=False)
    similarity.setflags(write=False)
    return FrameQuality(psnr_db=psnr_db, ssim=similarity)


def _prepare(
    reference: FloatArray, image: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Check one pair of frames; return both in float64, the image clipped."""
    if reference.ndim != 3 or reference.shape != image.shape or reference.size == 0:
        raise InputError(
            f"expected two frames of one shape (H, W, C), got {reference.shape} and {image.shape}"
        )
    for name, frame in (("reference", reference), ("image", image)):
        if not np.issubdtype(frame.dtype, np.floating):
            raise InputError(f"{name}: expected floats in [0, 1], got {frame.dtype}; use to_float")
        if not np.isfinite(frame).all():
            raise InputError(f"{name}: holds NaN or infinity, its quality is not defined")
    low, high = float(reference.min()), float(reference.max())
    if low < 0 or high > 1:
        raise InputError(f"reference: expected values in [0, 1], got {low:g}..{high:g}")
    return reference.astype(np.float64), np.clip(image.astype(np.float64), 0, 1)
