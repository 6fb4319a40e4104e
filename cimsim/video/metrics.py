"""Picture quality: PSNR and SSIM per frame, the latter by scikit-image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cimsim.errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]

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
    from skimage.metrics import structural_similarity

    clean, shown = _prepare(reference, image)
    if min(clean.shape[:2]) < _SSIM_WINDOW:
        raise InputError(
            f"ssim: frames must be at least {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels, got "
            f"{clean.shape[1]}x{clean.shape[0]}"
        )
    value = structural_similarity(  # type: ignore[no-untyped-call]
        clean, shown, data_range=1, channel_axis=-1
    )
    return float(value)


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
