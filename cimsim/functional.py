"""Run a clip through the float network and through the chip."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimsim.contract import Contract, Tensors
from cimsim.engine.written import written as written
from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.units import format_celsius, format_duration

if TYPE_CHECKING:
    import torch

    from cimsim.chip.spec import Chip
    from cimsim.engine.calibrated import CalibratedMapping
    from cimsim.programmed import ProgrammedChip
    from cimsim.report.result import Quality

CALIBRATION_SCENES = ("cat", "portrait")
TILE = 224  # pixels: the embedded scenes stay sharp up to here

Frames = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


class FunctionalRun:
    """One programmed chip and one clip.

    A network that streams (see `Contract`) hands results of its first stage on from frame to frame:
    the chip its own ones, the float network its own ones. Two steps before the first frame fill
    them, with the clip mirrored at its ends as for the network as written, so every frame of the
    clip gets its estimate.

    Parameters
    ----------
    mapping : Mapping
    clip : uint8 or float32 [T, H, W, 3]
        Clean frames.
    sigma : float
        Noise added, in 8-bit steps.
    seed : int
    threads : int or None
    noise_seed : int, optional
        Of the clip's noise, where other chips run on the same frames; default: ``seed``.
    """

    def __init__(
        self, mapping: Mapping, clip: Any, sigma: float, seed: int, threads: int | None,
        noise_seed: int | None = None,
    ) -> None:  # fmt: skip
        from cimsim.video.noise import add_awgn

        self.mapping, self.sigma, self.seed, self.threads = mapping, sigma, seed, threads
        self.contract = Contract.of(mapping.graph)
        self.clean = as_float(clip)
        if self.clean.shape[1:3] != self.contract.size:
            height, width = self.contract.size
            raise InputError(
                f"clip: frames of {self.clean.shape[2]} x {self.clean.shape[1]}, but the network "
                f"was traced for {width} x {height}; trace it again for this size"
            )
        self.noisy = add_awgn(self.clean, sigma, seed if noise_seed is None else noise_seed)
        self.scene = ""
        self.written: dict[str, Any] = {}
        self.float: list[Frames] = []
        self.chip: list[Frames] = []
        self.statistics: Any = None
        self.learned: dict[str, Any] = {}
        self.notes: list[str] = []

    def prepare(self, calibration: Any, report: Progress) -> None:
        """Program the arrays and calibrate ranges and corrections."""
        made = programmed(
            self.mapping, self.sigma, self.seed, calibration, self.threads, report
        )  # fmt: skip
        self.calibrated, self.scene, self.learned = made.calibrated, made.scene, made.learned
        self.notes += _condition_notes(self.mapping.chip)

    def take(self, chip: ProgrammedChip) -> None:
        """Run on a chip that was programmed and calibrated before.

        Raises
        ------
        InputError
            When it is not one of this mapping.
        """
        self.calibrated, self.scene = chip.on(self.mapping), str(chip.header["calibration"])
        if (chip.seed, chip.sigma) != (self.seed, self.sigma):
            # no run that programs its own chip has these bits, so the hash must be another
            self.written = {"seed": chip.seed, "sigma": chip.sigma}
        name = "" if chip.file is None else f" {chip.file.name}"
        self.notes.append(
            f"programmed chip{name} ({chip.hash[:12]}): cells written with seed {chip.seed}, "
            f"calibrated at sigma {chip.sigma:g}"
        )
        self.notes += _condition_notes(self.mapping.chip)

    def execute(self, report: Progress) -> None:
        """Denoise every frame, in float32 and on the chip; Ctrl-C keeps the frames done so far."""
        from cimsim.engine.execute import execute

        total, ahead = len(self.noisy), self.contract.steps_ahead
        float_kept, chip_kept = self.contract.blank(), self.contract.blank()
        report("denoising", 0, total)
        try:
            for step in range(ahead + total):
                window = _window(self.mapping, self.noisy, step, self.sigma)
                expected = self.mapping.graph.reference(*window, *float_kept)
                inputs = (*window, *chip_kept)
                done = execute(self.calibrated, inputs, step, self.seed, threads=self.threads)
                float_kept = _shifted(float_kept, expected)
                chip_kept = _shifted(chip_kept, done.outputs)
                if step < ahead:
                    continue
                self.float.append(picture(expected[0]))
                self.chip.append(picture(done.outputs[0]))
                last = self.statistics
                self.statistics = done.statistics if last is None else last + done.statistics
                report("denoising", step - ahead + 1, total)
        except KeyboardInterrupt:
            if not self.chip:
                raise
            self.notes.append(f"interrupted after {len(self.chip)} of {total} frames")
        self.float = self.float[: len(self.chip)]

    @property
    def pulses_per_cell(self) -> float | None:
        """Mean programming pulses of a cell, where write-verify was run as a loop."""
        return self.calibrated.programmed.pulses_per_cell

    @property
    def conductance_sums(self) -> dict[str, float]:
        """Operation -> applied operand sum per frame, see `cimsim.energy.model.energy`."""
        done = len(self.chip)
        return {name: s.conductance_s / done for name, s in self.statistics.by_op.items()}

    @property
    def frames(self) -> dict[str, Frames]:
        """Clean, noisy and denoised frames."""
        done = len(self.chip)
        return {
            "clean": self.clean[:done], "noisy": self.noisy[:done],
            "float": np.stack(self.float), "chip": np.stack(self.chip),
        }  # fmt: skip

    @property
    def identity(self) -> dict[str, Any]:
        """What the frames depend on, for the result's hash."""
        return {
            "clip": _digest(self.clean), "calibration": self.scene,
            "frames": len(self.chip), "sigma": self.sigma, "seed": self.seed,
            **({"programmed": self.written} if self.written else {}),
        }  # fmt: skip

    def quality(self) -> Quality:
        """PSNR and SSIM of input, float network and chip."""
        from cimsim.report.result import Quality
        from cimsim.video.metrics import per_frame

        frames = self.frames
        scores = {
            name: per_frame(frames["clean"], frames[name]) for name in ("noisy", "float", "chip")
        }
        psnr = [tuple(map(float, s.psnr_db)) for s in scores.values()]
        ssim = [tuple(map(float, s.ssim)) for s in scores.values()]
        return Quality(*psnr, *ssim)


def operand_sums(
    mapping: Mapping, clip: Any, sigma: float, seed: int, calibration: Any = None
) -> dict[str, float]:
    """Estimate array energy's operand sums for a noisy clip without running the chip.

    Parameters
    ----------
    mapping : Mapping
    clip : uint8 or float32 [T, H, W, 3]
        Clean frames.
    sigma : float
        Noise, in 8-bit steps.
    seed : int
    calibration : frames like ``clip``, optional
        What ranges of input codes come from, as in `programmed`.

    Returns
    -------
    dict
        See `cimsim.energy.operands.estimate_sums`.
    """
    from cimsim.energy.operands import estimate_sums
    from cimsim.video.noise import add_awgn

    noisy = add_awgn(as_float(clip), sigma, seed)
    frames = clip_inputs(mapping, noisy, len(noisy), sigma)
    return estimate_sums(mapping, frames, calibration_inputs(mapping, sigma, seed, calibration)[1])


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
    learned: dict[str, Any]


def programmed(
    mapping: Mapping, sigma: float, seed: int, calibration: Any, threads: int | None,
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
    return Programmed(found, _digest(clean), learned)


def calibration_inputs(
    mapping: Mapping, sigma: float, seed: int, calibration: Any
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
    height, width = Contract.of(mapping.graph).size
    clean = _scene(frames, height, width) if calibration is None else as_float(calibration)
    # a noise stream of its own: the chip must not see the noise that it is judged on
    noisy = add_awgn(clean, sigma, key("calibration", seed) % 2**32)
    return clean, clip_inputs(mapping, noisy, min(frames, len(noisy)), sigma)


def clip_inputs(mapping: Mapping, noisy: Frames, count: int, sigma: float) -> list[Tensors]:
    """Return the inputs for the first frames; kept results are those of the float network."""
    contract = Contract.of(mapping.graph)
    kept, found, ahead = contract.blank(), list[Tensors](), contract.steps_ahead
    for step in range(ahead + count):
        inputs = (*_window(mapping, noisy, step, sigma), *kept)
        if step >= ahead:
            found.append(inputs)
        if kept and len(found) < count:
            kept = _shifted(kept, mapping.graph.reference(*inputs))
    return found


def _window(mapping: Mapping, noisy: Frames, step: int, sigma: float) -> Tensors:
    """Noisy frames and noise map of one step; a streaming one reads one frame further on."""
    contract = Contract.of(mapping.graph)
    centre = step - contract.steps_ahead // 2
    n_inputs = min(2, len(mapping.graph.inputs))
    return window_of_frames(noisy, centre, contract.n_frames, sigma, n_inputs)


def _condition_notes(chip: Chip) -> list[str]:
    """Say what the cells went through before the first frame."""
    found, conditions, faults = [], chip.conditions, chip.faults
    if not conditions.fresh:
        when = "at this time" if conditions.recalibrate else "right after programming, at 25 °C"
        found.append(
            f"cells {format_duration(conditions.time_s)} after programming at "
            f"{format_celsius(conditions.temperature_k)}; the chip was calibrated {when}"
        )
    if not faults.none:
        shares = [
            f"{100 * getattr(faults, kind):g} % {kind.replace('_', ' ')}"
            for kind in ("stuck_off", "stuck_on", "open")
            if getattr(faults, kind) > 0
        ]
        shares += [f"those of {Path(faults.map).name}"] if faults.map is not None else []
        found.append(f"faulty cells: {', '.join(shares)}")
    return found


def _digest(frames: Frames) -> str:
    return hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()


def window_of_frames(
    noisy: Frames, t: int, n_frames: int, sigma: float, n_inputs: int
) -> tuple[torch.Tensor, ...]:
    """Return the inputs for frame ``t``; the clip is mirrored at its ends.

    Returns
    -------
    tuple of torch.Tensor
        [1, n_frames * 3, H, W] and, for two inputs, [1, 1, H, W] filled with ``sigma / 255``.
    """
    import torch

    around = range(t - n_frames // 2, t - n_frames // 2 + n_frames)
    chosen = noisy[[_mirror(index, len(noisy)) for index in around]]
    height, width = noisy.shape[1:3]
    stacked = chosen.transpose(0, 3, 1, 2).reshape(1, 3 * n_frames, height, width)
    frames = torch.from_numpy(np.ascontiguousarray(stacked))
    return (frames, torch.full((1, 1, height, width), sigma / 255))[:n_inputs]


def _mirror(index: int, length: int) -> int:
    if length == 1:
        return 0
    index = abs(index) % (2 * length - 2)
    return index if index < length else 2 * length - 2 - index


def _shifted(kept: Tensors, outputs: Tensors) -> Tensors:
    """Kept results after a step: the oldest goes, the newest comes last."""
    from cimsim.zoo.streaming import shifted

    return tuple(shifted(results, outputs[1]) for results in kept)


def as_float(clip: Any) -> Frames:
    """Return frames [T, H, W, 3] as float32 in [0, 1].

    Raises
    ------
    InputError
        For another shape.
    """
    from cimsim.video.io import to_float

    array = np.asarray(clip)
    if array.ndim != 4 or array.shape[3] != 3:
        raise InputError(f"clip: expected frames [T, H, W, 3], got shape {array.shape}")
    return to_float(array) if array.dtype == np.uint8 else array.astype(np.float32)


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


def picture(output: torch.Tensor) -> Frames:
    """Return a network's output [1, 3, H, W] as a frame [H, W, 3]."""
    return np.ascontiguousarray(output[0].detach().float().cpu().numpy().transpose(1, 2, 0))
