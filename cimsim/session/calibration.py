"""What a chip that denoises is calibrated on, and the chip written and calibrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cimsim.engine.written import written
from cimsim.mapping.mapping import Mapping
from cimsim.session.frames import Clip, Frames, Progress, as_float, clip_inputs, digest_of
from cimsim.tasks.contract import Contract, Tensors

if TYPE_CHECKING:
    from cimsim.engine.calibrated import CalibratedMapping
    from cimsim.engine.written import Learned

CALIBRATION_SCENES = ("cat", "portrait")
TILE = 224  # pixels: the embedded scenes stay sharp up to here


@dataclass(frozen=True, eq=False)
class Programmed:
    """A chip that is ready to run, and what it was calibrated on.

    Attributes
    ----------
    calibrated : CalibratedMapping
    scene : str
        SHA-256 of the clean calibration frames.
    learned : dict
        ``frames``, ``samples`` and ``integers``: the same for any cells, so who compares many
        need not learn them again for each.
    """

    calibrated: CalibratedMapping
    scene: str
    learned: Learned


def programmed(
    mapping: Mapping, sigma: float, seed: int, calibration: Clip | None, threads: int | None,
    report: Progress,
) -> Programmed:  # fmt: skip
    """Write the arrays of a mapping and calibrate ranges and corrections.

    Parameters
    ----------
    mapping : Mapping
    sigma : float
        Noise on the calibration frames, in 8-bit steps.
    seed : int
    calibration : uint8 or float32 [T, H, W, 3], or None
        Clean frames; None: a chequerboard of two embedded scenes.
    threads : int or None
    report : callable
        ``report(stage, done, total)``.
    """
    clean, inputs = calibration_inputs(mapping, sigma, seed, calibration)
    found, learned = written(mapping, inputs, seed, threads, report)
    return Programmed(found, digest_of(clean), learned)


def calibration_inputs(
    mapping: Mapping, sigma: float, seed: int, calibration: Clip | None
) -> tuple[Frames, list[Tensors]]:
    """Return the clean calibration frames and the network's inputs for them, noise added.

    Parameters
    ----------
    mapping : Mapping
    sigma : float
        Noise, in 8-bit steps; of a stream of its own.
    seed : int
    calibration : uint8 or float32 [T, H, W, 3], or None
        Clean frames; None: a chequerboard of two embedded scenes.
    """
    from cimsim.rng import key
    from cimsim.video.noise import add_awgn

    frames = mapping.chip.calibration.frames
    contract = Contract.of(mapping.graph)
    chosen = _scene(frames, *contract.size) if calibration is None else calibration
    clean = as_float(chosen, contract.channels)
    # a noise stream of its own: the chip must not see the noise that it is judged on
    noisy = add_awgn(clean, sigma, key("calibration", seed) % 2**32)
    return clean, clip_inputs(mapping, noisy, min(frames, len(noisy)), sigma)


def _scene(frames: int, height: int, width: int) -> Frames:
    """Calibration frames of any size: a chequerboard of two embedded scenes.

    With one scene alone, clips that differ much from it saturate converters. The clip of the demo
    is none of the two.
    """
    from cimsim.video.embedded import embedded_clip

    tall = min(TILE, max(16, height))
    wide = min(TILE, max(16, -(-width // 2)))
    scenes = [embedded_clip(name, frames, tall, wide) for name in CALIBRATION_SCENES]
    rows = []
    for row in range(-(-height // tall)):
        tiles = [scenes[(row + column) % 2] for column in range(-(-width // wide))]
        rows.append(np.concatenate(tiles, axis=2))
    return as_float(np.concatenate(rows, axis=1)[:, :height, :width])
