"""Measure the PSNR of float networks on clips, as the paper does."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.paper.clips import ClipSet, Frames
from benchmarks.paper.networks import Weights, windows_of
from benchmarks.paper.record import NOISY, Row, merged, read, write
from cimsim.session.frames import picture, window_of_frames
from cimsim.session.loading import Network, load_network
from cimsim.video.metrics import psnr
from cimsim.video.noise import add_awgn
from cimsim.zoo.lineage import total_minutes

NOISE_SEED = 0


def denoise(network: Network, noisy: Frames, sigma: float, device: str = "cpu") -> Iterator[Frames]:
    """Yield the float network's estimate of each frame [H, W, 3]; the clip is mirrored at its ends.

    Parameters
    ----------
    network : Network
        Already on ``device``.
    noisy : ndarray of float32 [T, H, W, 3]
    sigma : float
        True standard deviation in 8-bit steps, which the noise map tells.
    device : str
    """
    import torch

    n_inputs = 2 if network.noise_map else 1
    for t in range(len(noisy)):
        inputs = window_of_frames(noisy, t, network.n_frames, sigma, n_inputs)
        with torch.inference_mode():
            estimate = network.module(*(part.to(device) for part in inputs))
        yield picture(estimate)


@dataclass(frozen=True)
class Evaluator:
    """Measures networks on one test set and keeps every row, so that a run can be repeated.

    Attributes
    ----------
    clips : ClipSet
    kept : Path
        CSV of rows measured before; a row of the same weights is not measured again.
    device : str
    progress : callable, optional
        Called with a short text before each measurement.
    """

    clips: ClipSet
    kept: Path
    device: str = "cpu"
    progress: Callable[[str], None] | None = None

    def network(self, weights: Weights, sigma: float) -> Row:
        """Return the row of a network, measured now or before."""
        card = weights.card
        known = self._known(weights.stem, sigma, card.sha256)
        if known is not None:
            return known
        self._say(f"{weights.stem} at sigma {sigma:g}")
        loaded = load_network(card.model, dict(card.options), card.file)
        loaded.module.to(self.device)
        per_clip = {
            name: self._mean(clean, denoise(loaded, noisy, sigma, self.device))
            for name, clean, noisy in self._noisy(sigma)
        }
        stride = card.options.get("stride")
        done = weights.done
        minutes = done.minutes if done else total_minutes(card.stages)
        row = Row(
            network=weights.stem, model=card.model, stride=stride,
            windows_per_pixel=windows_of(card.model, card.options), clips=self.clips.name,
            sigma=sigma, psnr_db=float(np.mean(list(per_clip.values()))), per_clip=per_clip,
            trained_sigma=weights.trained_sigma, minutes=minutes,
            crops=done.crops if done else None, device=done.device if done else card.device,
            seed=card.seed, date=_today(), sha256=card.sha256,
        )  # fmt: skip
        return self._keep(row)

    def noisy(self, sigma: float) -> Row:
        """Return the row of the noisy input."""
        known = self._known(NOISY, sigma, "")
        if known is not None:
            return known
        per_clip = {
            name: self._mean(clean, iter(noisy)) for name, clean, noisy in self._noisy(sigma)
        }
        return self._keep(
            Row(
                NOISY, NOISY, None, None, self.clips.name, sigma,
                float(np.mean(list(per_clip.values()))), per_clip, date=_today(),
            )
        )  # fmt: skip

    def _noisy(self, sigma: float) -> Iterator[tuple[str, Frames, Frames]]:
        for name, clean in self.clips.clips.items():
            yield name, clean, add_awgn(clean, sigma, NOISE_SEED)

    def _mean(self, clean: Frames, shown: Iterator[Frames]) -> float:
        return float(np.mean([psnr(a, b) for a, b in zip(clean, shown, strict=True)]))

    def _known(self, network: str, sigma: float, sha256: str) -> Row | None:
        wanted = (network, self.clips.name, sigma, sha256)
        for row in read(self.kept):
            if (row.network, row.clips, row.sigma, row.sha256) == wanted:
                return row
        return None

    def _keep(self, row: Row) -> Row:
        rounded = {name: round(value, 4) for name, value in row.per_clip.items()}
        row = replace(row, psnr_db=round(row.psnr_db, 4), per_clip=rounded)
        write(self.kept, merged(read(self.kept), [row], by_weights=True))
        return row

    def _say(self, text: str) -> None:
        if self.progress is not None:
            self.progress(text)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
