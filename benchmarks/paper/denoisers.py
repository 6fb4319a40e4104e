"""Ways to denoise a frame that stand beside each other: networks in float, and classical ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.paper.clips import Frames
from benchmarks.paper.networks import Weights
from cimsim.errors import ConfigError, InputError
from cimsim.session.frames import picture, window_of_frames
from cimsim.zoo.recognise import SKIPPED, identify
from cimsim.zoo.weights import read_state

if TYPE_CHECKING:
    from cimsim.session.loading import Network

Frame = Any  # ndarray of float32 [H, W, 3]
NON_LOCAL = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
STRENGTH = 0.6  # of non-local means, in standard deviations of the noise: skimage's own example


class Denoiser(Protocol):
    """Something that estimates one frame of a noisy clip.

    Attributes
    ----------
    name : str
        For tables; with ``key``, what a measured row is about.
    key : str
        Hash of weights, or settings of a classical method: another key, another row.
    saw : str
        Noise seen in training, ``15`` or ``5..55``; empty where there was none.
    """

    @property
    def name(self) -> str:  # noqa: D102 - above
        ...
    @property
    def key(self) -> str:  # noqa: D102 - above
        ...
    @property
    def saw(self) -> str:  # noqa: D102 - above
        ...

    def estimate(self, noisy: Frames, t: int, sigma: float) -> Frame:
        """Return the estimate [H, W, 3] of frame ``t``.

        Parameters
        ----------
        noisy : ndarray of float32 [T, H, W, 3]
            Unclipped.
        t : int
        sigma : float
            True standard deviation of the noise in 8-bit steps.
        """
        ...


@dataclass(frozen=True)
class Classical:
    """A method without training that looks at one frame, told the true sigma.

    Attributes
    ----------
    name, key : str
    method : callable
        Noisy frame [H, W, 3] and sigma in [0, 1] -> estimate.
    """

    name: str
    key: str
    method: Callable[[Frame, float], Frame]
    saw: str = ""

    def estimate(self, noisy: Frames, t: int, sigma: float) -> Frame:
        """Return the estimate of frame ``t``; its neighbours are not looked at."""
        return np.asarray(self.method(noisy[t], sigma / 255), np.float32)


def noisy_input() -> Classical:
    """Return the input itself."""
    return Classical("noisy input", "", lambda frame, _: frame)


def non_local_means() -> Classical:
    """Return skimage's non-local means in colour."""
    from skimage.restoration import denoise_nl_means

    return Classical(
        "non-local means",
        f"skimage, h = {STRENGTH} sigma, " + ", ".join(f"{k} {v}" for k, v in NON_LOCAL.items()),
        lambda frame, sigma: denoise_nl_means(frame, h=STRENGTH * sigma, sigma=sigma, **NON_LOCAL),
    )


def cbm3d() -> Classical:
    """Return BM3D for colour frames.

    Raises
    ------
    ConfigError
        When the package is missing: it belongs to the extra ``bench``.
    """
    try:
        from bm3d import bm3d_rgb
    except ImportError:
        raise ConfigError(
            "CBM3D: the package bm3d is missing; pip install 'cimsim[bench]', or --skip cbm3d"
        ) from None
    return Classical(
        "CBM3D, one frame", "bm3d_rgb, its default profile",
        lambda frame, sigma: bm3d_rgb(frame.astype(np.float64), sigma),
    )  # fmt: skip


@dataclass(frozen=True)
class FloatNetwork:
    """A network of the zoo in float, with the frames around and the noise map it asks for.

    Attributes
    ----------
    name, key : str
        Stem and hash of the weight file.
    model : str
    options : dict
    file : Path
    saw : str
    """

    name: str
    key: str
    model: str
    options: dict[str, int | str]
    file: Path
    saw: str

    @classmethod
    def of(cls, weights: Weights) -> FloatNetwork:
        """Return the network of a weight file with a card."""
        card = weights.card
        assert card.file is not None
        return cls(
            weights.stem, card.sha256, card.model, dict(card.options), card.file,
            weights.trained_sigma,
        )  # fmt: skip

    @classmethod
    def of_file(cls, name: str, path: Path) -> FloatNetwork:
        """Return the network of a weight file without a card, known by its tensors.

        Raises
        ------
        InputError
            When the file is missing, cannot be read or fits no network of the zoo.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such weight file")
        shapes = {
            key: tuple(value.shape) for key, value in read_state(path).items() if SKIPPED not in key
        }
        found = identify(shapes)
        if found is None:
            raise InputError(f"{path}: its tensors fit no network of the zoo (cimsim models list)")
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return cls(name, digest, *found, path, "")

    @cached_property
    def _loaded(self) -> Network:
        from cimsim.session.loading import load_network

        return load_network(self.model, self.options, self.file)

    def estimate(self, noisy: Frames, t: int, sigma: float) -> Frame:
        """Return the estimate of frame ``t``; the clip is mirrored at its ends."""
        import torch

        network = self._loaded
        inputs = window_of_frames(noisy, t, network.n_frames, sigma, 2 if network.noise_map else 1)
        with torch.inference_mode():
            return picture(network.module(*inputs))
