"""Clean clips in memory, split by scene, and random noisy crops of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cimsim import rng
from cimsim.boundary.tables import read_table
from cimsim.errors import InputError
from cimsim.video.io import read_clip

logger = logging.getLogger(__name__)

Frames = npt.NDArray[np.uint8]
MAX_SPEED_PX = 4.0  # of the motion given to photographs, per frame and axis


@dataclass(frozen=True, slots=True)
class Clip:
    """Consecutive clean frames of one scene.

    Attributes
    ----------
    name : str
        File name.
    scene : str
        Clips of one scene never fall on both sides of the training/validation split.
    frames : ndarray of uint8 [T, H, W, 3]
        A photograph is a clip of one frame.
    """

    name: str
    scene: str
    frames: Frames


@dataclass(frozen=True, slots=True)
class Dataset:
    """What `load_dataset` found: clips to train on, clips to validate on, photographs to train on.

    Photographs are listed apart because the sampler gives them synthetic motion.
    """

    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    stills: tuple[Clip, ...]

    @property
    def scenes(self) -> tuple[set[str], set[str]]:
        """Names of the training scenes and of the validation scenes."""
        return {clip.scene for clip in self.train}, {clip.scene for clip in self.validation}


def load_dataset(folder: Path, *, validation_scenes: int = 10) -> Dataset:
    """Decode every clip of a folder into memory.

    The folder holds ``manifest.csv`` with the columns ``file`` and ``scene`` (rows whose file is
    missing are an error), and optionally ``stills/*.mp4``, whose frames are photographs.

    Parameters
    ----------
    folder : Path
        The data folder.
    validation_scenes : int
        How many scenes are held out: the same ones for every run, so that runs can be compared.

    Raises
    ------
    InputError
        When there is no manifest, a file is missing, or there are too few scenes.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise InputError(
            f"{manifest}: not found; a training folder needs a manifest.csv with the columns "
            "file and scene beside its clips"
        )
    try:
        held = read_table(manifest, ("file", "scene")).rows
    except (OSError, ValueError) as error:
        raise InputError(f"{manifest}: cannot be read: {error}") from None
    entries = [dict(zip(held[0][1], cells, strict=False)) for _, cells in held[1:]]
    rows = [row for row in entries if not row.get("file", "").startswith("stills/")]
    if not rows or not all(row.get("file") and row.get("scene") for row in rows):
        raise InputError(f"{manifest}: expected the columns file and scene and at least one clip")
    held_out = choose_scenes({row["scene"] for row in rows}, validation_scenes)
    train: list[Clip] = []
    validation: list[Clip] = []
    for row in rows:
        clip = Clip(row["file"], row["scene"], read_clip(folder / row["file"]))
        (validation if clip.scene in held_out else train).append(clip)
    stills = [
        Clip(f"{path.name}:{index}", f"{path.stem}:{index}", frame[None])
        for path in sorted((folder / "stills").glob("*.mp4"))
        for index, frame in enumerate(read_clip(path))
    ]
    logger.info(
        "%d training clips, %d held out, %d stills", len(train), len(validation), len(stills)
    )
    return Dataset(tuple(train), tuple(validation), tuple(stills))


def choose_scenes(scenes: set[str], count: int) -> set[str]:
    """Draw ``count`` scenes to hold out; the same for the same names."""
    if count >= len(scenes):
        raise InputError(
            f"validation scenes: {count} asked, but the data has {len(scenes)} scenes and at least "
            "one must be left to train on; take fewer (--validation-scenes)"
        )
    generator = rng.stream(0, "training", "split")
    return set(generator.choice(sorted(scenes), size=count, replace=False).tolist())


def clip_window(clip: Clip, start: int, top: int, left: int, n_frames: int, crop: int) -> Frames:
    """Return frames from ``start`` on, cut out: [n_frames, crop, crop, 3]."""
    return clip.frames[start : start + n_frames, top : top + crop, left : left + crop]


def moving_window(
    photo: Frames, n_frames: int, crop: int, generator: np.random.Generator
) -> Frames:
    """Return a crop that moves smoothly over a photograph, in whole pixels.

    A constant speed of up to `MAX_SPEED_PX` per axis and a small acceleration; whole pixels
    keep the sharpness that interpolation would lose.

    Parameters
    ----------
    photo : ndarray of uint8 [H, W, 3]
    n_frames, crop : int
        Shape of the result: [n_frames, crop, crop, 3].
    generator : numpy.random.Generator
        Source of the motion.
    """
    time = np.arange(n_frames) - n_frames // 2
    path = np.empty((2, n_frames), dtype=np.int64)
    for axis in range(2):
        speed = generator.uniform(-MAX_SPEED_PX, MAX_SPEED_PX)
        bend = generator.uniform(-0.5, 0.5)
        room = photo.shape[axis] - crop
        way = np.rint(speed * time + bend * time**2).astype(np.int64)
        path[axis] = np.clip(generator.integers(0, room + 1) + way, 0, room)
    return np.stack([photo[y : y + crop, x : x + crop] for y, x in path.T])


def recolour(window: Frames, generator: np.random.Generator) -> Frames:
    """Exchange the colours of a window at random and darken each by up to 40 %.

    A few dozen scenes show few strong colour casts; a network without residual that has seen none
    errs on them by several dB.
    """
    gain = generator.uniform(0.6, 1.0, size=3)
    return np.rint(window[..., generator.permutation(3)] * gain).astype(np.uint8)


class Sampler:
    """Endless random training batches; batch ``k`` depends on the seed and ``k`` alone.

    Parameters
    ----------
    dataset : Dataset
    n_frames : int
        Window length.
    crop : int
        Edge of the crops in pixels.
    batch : int
        Crops per batch.
    sigma : (float, float)
        Range of the noise's standard deviation in 8-bit steps; one draw per crop.
    stills : float
        Share of crops taken from photographs.
    seed : int
    recoloured : float
        Share of crops whose colours are changed, see `recolour`.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        n_frames: int,
        crop: int,
        batch: int,
        sigma: tuple[float, float],
        stills: float,
        seed: int,
        recoloured: float = 0.5,
    ) -> None:
        self.clips = [clip for clip in dataset.train if _fits(clip, n_frames, crop)]
        self.stills = [clip for clip in dataset.stills if _fits(clip, 1, crop)]
        if not self.clips:
            raise InputError(
                f"crop {crop} with {n_frames} frames fits into none of the {len(dataset.train)} "
                "training clips; use a smaller crop"
            )
        self.n_frames, self.crop, self.batch = n_frames, crop, batch
        self.sigma, self.seed = sigma, seed
        self.recoloured = recoloured
        self.share_of_stills = stills if self.stills else 0.0

    def clean(self, generator: np.random.Generator) -> Frames:
        """Draw one clean crop, flipped and turned at random: [n_frames, crop, crop, 3]."""
        crop, n_frames = self.crop, self.n_frames
        if generator.random() < self.share_of_stills:
            photo = self.stills[generator.integers(len(self.stills))].frames[0]
            window = moving_window(photo, n_frames, crop, generator)
        else:
            clip = self.clips[generator.integers(len(self.clips))]
            total, height, width = clip.frames.shape[:3]
            start, top, left = (
                int(generator.integers(room + 1))
                for room in (total - n_frames, height - crop, width - crop)
            )
            window = clip_window(clip, start, top, left, n_frames, crop)
        if generator.random() < 0.5:
            window = window[:, :, ::-1]
        if generator.random() < 0.5:
            window = window[::-1]  # time runs backwards
        window = np.rot90(window, k=int(generator.integers(4)), axes=(1, 2))
        return recolour(window, generator) if generator.random() < self.recoloured else window

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return batch ``step``.

        Returns
        -------
        noisy : Tensor [B, n_frames * 3, crop, crop]
            Clean frames in [0, 1] plus Gaussian noise, not clipped.
        noise_map : Tensor [B, 1, crop, crop]
            ``sigma / 255``.
        clean : Tensor [B, 3, crop, crop]
            The centre frame.
        """
        generator = rng.stream(self.seed, "training", "batch", step)
        windows = np.stack([self.clean(generator) for _ in range(self.batch)])
        sigma = generator.uniform(*self.sigma, size=self.batch)
        return noisy_batch(windows, sigma, generator)


def noisy_batch(
    windows: Frames, sigma: npt.NDArray[np.float64], generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add noise to windows [B, n_frames, H, W, 3]; returns what `Sampler.draw` describes.

    ``sigma`` [B] is in 8-bit steps.
    """
    n_batch, n_frames, height, width = windows.shape[:4]
    pixels = windows.transpose(0, 1, 4, 2, 3).reshape(n_batch, n_frames * 3, height, width)
    clean = pixels.astype(np.float32) / np.float32(255)
    scale = (sigma / 255).astype(np.float32).reshape(-1, 1, 1, 1)
    noise = generator.standard_normal(clean.shape, dtype=np.float32)
    centre = 3 * (n_frames // 2)
    noise_map = np.broadcast_to(scale, (n_batch, 1, height, width)).copy()
    return (
        torch.from_numpy(clean + scale * noise),
        torch.from_numpy(noise_map),
        torch.from_numpy(clean[:, centre : centre + 3].copy()),
    )


def validation_batch(
    dataset: Dataset, *, n_frames: int, sigma: float, crop: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return one fixed centre crop in the middle of every held-out clip that is large enough.

    Returns what `Sampler.draw` describes; crops and noise are the same in every run.
    """
    clips = [clip for clip in dataset.validation if _fits(clip, n_frames, crop)]
    if not clips:
        raise InputError(
            f"validation: crop {crop} fits into none of the held-out clips with {n_frames} frames; "
            "take a smaller --validation-crop"
        )
    windows = []
    for clip in clips:
        total, height, width = clip.frames.shape[:3]
        start, top, left = (total - n_frames) // 2, (height - crop) // 2, (width - crop) // 2
        windows.append(clip_window(clip, start, top, left, n_frames, crop))
    generator = rng.stream(0, "training", "validation")
    return noisy_batch(np.stack(windows), np.full(len(clips), sigma), generator)


def _fits(clip: Clip, n_frames: int, crop: int) -> bool:
    shape: tuple[int, ...] = clip.frames.shape
    return bool(shape[0] >= n_frames and shape[1] >= crop and shape[2] >= crop)
