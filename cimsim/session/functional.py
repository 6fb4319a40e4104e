"""Run a clip through the float network and through the chip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cimsim.errors import InputError
from cimsim.graph.reference import TorchWeights
from cimsim.mapping.mapping import Mapping
from cimsim.session.calibration import calibration_inputs, programmed
from cimsim.session.frames import (
    Clip,
    Frames,
    Progress,
    Series,
    as_float,
    clip_inputs,
    digest_of,
    picture,
    shifted_results,
    step_inputs,
)
from cimsim.tasks.contract import Contract
from cimsim.tasks.metrics import AbstractMetric, Judged, digests
from cimsim.units import format_celsius, format_duration
from cimsim.video.reel import NoisyReel, Reel, Spool

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.engine.statistics import Statistics
    from cimsim.engine.written import Learned
    from cimsim.session.parts import Quality
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.tasks.questions import Score
    from cimsim.video.clip import Clip as LongClip


_KINDS = ("clean", "noisy", "float", "chip")


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What a clip is, and what its frames are judged by.

    Attributes
    ----------
    noisy : bool
        The clip is noisy as it is: nothing is added.
    reference : like the clip, optional
        With ``noisy``: the clean frames to judge by; without, there is no quality.
    metrics : sequence of type
        Of `cimsim.tasks.metrics.AbstractMetric`, beside PSNR and SSIM.
    noise_seed : int, optional
        Of the noise that is added, where other chips run on the same frames; default: the chip's.
    """

    noisy: bool = False
    reference: Clip | LongClip | Series | None = None
    metrics: Sequence[type[AbstractMetric]] = ()
    noise_seed: int | None = None


class FunctionalRun:
    """One programmed chip and one clip.

    A network that streams (see `Contract`) hands results of its first stage on from frame to frame:
    the chip its own ones, the float network its own ones. Two steps before the first frame fill
    them, with the clip mirrored at its ends as for the network as written, so every frame of the
    clip gets its estimate.

    Parameters
    ----------
    mapping : Mapping
    clip : uint8 or float32 [T, H, W, 3], or Clip
        Clean frames. Those of a `cimsim.video.clip.Clip` are read as the run goes on and its
        results kept on disk, as 8 bit, so that memory does not grow with the length.
    sigma : float
        Noise added, in 8-bit steps; with ``noisy``, what the clip has.
    seed : int
    threads : int or None
    judging : Judging
        By default the clip is clean, and judged by itself.
    """

    def __init__(
        self, mapping: Mapping, clip: Clip | LongClip | Series, sigma: float, seed: int,
        threads: int | None,
        judging: Judging | None = None,
    ) -> None:  # fmt: skip
        from cimsim.video.clip import Clip as LongClip

        judging = judging or Judging()
        noisy, reference, metrics = judging.noisy, judging.reference, judging.metrics

        self.mapping, self.sigma, self.seed, self.threads = mapping, sigma, seed, threads
        self.contract = Contract.of(mapping.graph)
        self.long = isinstance(clip, LongClip)
        given = self._frames("clip", clip, noisy)
        self.clean: Series | None = given
        if not noisy:
            noise = seed if judging.noise_seed is None else judging.noise_seed
            self.noisy: Series = _with_noise(given, sigma, noise)
        else:
            self.noisy = given
            self.clean = None if reference is None else self._frames("reference", reference)
            if self.clean is not None and len(self.clean) != len(given):
                raise InputError(
                    f"reference: {len(self.clean)} frames, the noisy clip has {len(given)}"
                )
        self.is_noisy_clip = noisy
        if metrics and self.clean is None:
            names = ", ".join(metric.name for metric in metrics)
            raise InputError(
                f"--metric: '{names}': judges frames by clean ones, of which there are none; give "
                "them (--reference)"
            )
        self.metrics, self._judged = tuple(metrics), Judged(metrics, ("noisy", "float", "chip"))
        self._scores: dict[str, list[tuple[float, float]]] = {}
        self._digests = {name: hashlib.sha256() for name in _KINDS}
        self._loss: list[float] = []
        self.scene = ""
        self.written: dict[str, int | float] = {}
        self.float: Spool | list[Frames] = Spool() if self.long else []
        self.chip: Spool | list[Frames] = Spool() if self.long else []
        self._shown = {name: Spool() for name in ("clean", "noisy")}
        self.statistics: Statistics | None = None
        self.learned: Learned | None = None
        self.notes: list[str] = []

    def prepare(self, calibration: Clip | None, report: Progress) -> None:
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
        weights = TorchWeights()  # of the float network, the same for all frames
        report("denoising", 0, total)
        try:
            for step in range(ahead + total):
                window = step_inputs(self.mapping.graph, self.noisy, step, self.sigma)
                expected = self.mapping.graph.reference(*window, *float_kept, weights=weights)
                inputs = (*window, *chip_kept)
                done = execute(self.calibrated, inputs, step, self.seed, threads=self.threads)
                float_kept = shifted_results(float_kept, expected)
                chip_kept = shifted_results(chip_kept, done.outputs)
                if step < ahead:
                    continue
                self._keep(step - ahead, picture(expected[0]), picture(done.outputs[0]))
                last = self.statistics
                self.statistics = done.statistics if last is None else last + done.statistics
                report("denoising", step - ahead + 1, total)
        except KeyboardInterrupt:
            if not len(self.chip):
                raise
            self.notes.append(f"interrupted after {len(self.chip)} of {total} frames")
        if isinstance(self.float, Spool):
            for spool in (self.float, *self._shown.values()):
                spool.cut(len(self.chip))
        else:
            self.float = self.float[: len(self.chip)]
        self.notes += self._without_reference()

    def _frames(self, name: str, clip: Clip | LongClip | Series, noisy: bool = False) -> Series:
        """Return a clip as floats, of the size and the channels that the network asks for."""
        from cimsim.video.clip import Clip as LongClip

        channels = self.contract.channels
        frames: Series = (
            Reel(clip, channels, self.contract.n_frames) if isinstance(clip, LongClip)
            else as_float(clip, channels, noisy=noisy)
        )  # fmt: skip
        if not len(frames):
            raise InputError(f"{name}: expected frames [T, H, W, 3], got none")
        if tuple(frames.shape[1:3]) != self.contract.size:
            height, width = self.contract.size
            raise InputError(
                f"{name}: frames of {frames.shape[2]} x {frames.shape[1]}, but the network "
                f"was exported for {width} x {height}; call cimsim.trace again for this size"
            )
        return frames

    def _keep(self, index: int, expected: Frames, found: Frames) -> None:
        """Judge and keep one frame; what it adds is complete once the chip's frame is appended."""
        from cimsim.video.metrics import psnr

        frames = {"noisy": self.noisy[index], "float": expected, "chip": found}
        if self.clean is None:
            self._loss[index:] = [psnr(np.clip(expected, 0, 1), found)]
        else:
            frames["clean"] = self.clean[index]
        if self.metrics:
            shown = {name: np.clip(frame, 0, 1) for name, frame in frames.items()}
            self._judged.add(index, shown["clean"], shown)
        if self.long:
            if self.clean is not None:
                self._judge(index, frames)
            for name, frame in frames.items():
                self._digests[name].update(np.ascontiguousarray(frame).tobytes())
            for name in set(frames) & set(self._shown):
                self._shown[name].append(frames[name])
        self.float.append(expected)
        self.chip.append(found)

    def _judge(self, index: int, frames: dict[str, Frames]) -> None:
        from cimsim.video.metrics import psnr, ssim

        for name in ("noisy", "float", "chip"):
            clean, shown = frames["clean"], frames[name]
            self._scores.setdefault(name, [])[index:] = [(psnr(clean, shown), ssim(clean, shown))]

    def _without_reference(self) -> list[str]:
        """Say how near the chip comes to the float network, where nothing better is known."""
        if self.clean is not None:
            return []
        loss = float(np.mean(self._loss[: len(self.chip)]))
        return [
            "no clean reference: PSNR and SSIM are not known (--reference); the chip's frames lie "
            f"{loss:.2f} dB (PSNR) from those of the float32 network"
        ]

    @property
    def pulses_per_cell(self) -> float | None:
        """Mean programming pulses of a cell, where write-verify was run as a loop."""
        return self.calibrated.programmed.pulses_per_cell

    @property
    def conductance_sums(self) -> dict[str, float]:
        """Operation -> applied operand sum per frame, see `cimsim.energy.model.energy`."""
        done = len(self.chip)
        assert self.statistics is not None
        return {name: s.conductance_s / done for name, s in self.statistics.by_op.items()}

    @property
    def frames(self) -> dict[str, Frames] | dict[str, Spool]:
        """Clean, noisy and denoised frames; arrays, or a `Spool` each for a `Clip`."""
        if isinstance(self.float, Spool) and isinstance(self.chip, Spool):
            shown = {name: frames for name, frames in self._shown.items() if len(frames)}
            return {**shown, "float": self.float, "chip": self.chip}
        return self._arrays()

    def _arrays(self) -> dict[str, Frames]:
        """Return the frames of a clip that was given as an array."""
        done = len(self.chip)
        given = {"clean": self.clean, "noisy": self.noisy}
        found = {name: np.asarray(v)[:done] for name, v in given.items() if v is not None}
        found = {name: frames for name, frames in found.items() if len(frames)}
        return found | {"float": np.stack(list(self.float)), "chip": np.stack(list(self.chip))}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the float32 frames: noisy, float network, chip."""
        if self.long:
            return {name: self._digests[name].hexdigest() for name in ("noisy", "float", "chip")}
        return {name: digest_of(held) for name, held in self._arrays().items() if name != "clean"}

    @property
    def identity(self) -> dict[str, object]:
        """What the frames depend on, for the result's hash."""
        kind = "noisy" if self.is_noisy_clip else "clean"
        clip = self._digests[kind].hexdigest() if self.long else digest_of(getattr(self, kind))
        more: dict[str, object] = {"programmed": self.written} if self.written else {}
        if self.is_noisy_clip:
            more["noisy_clip"] = True
            if self.clean is not None:
                reference = self._digests["clean"].hexdigest()
                more["reference"] = reference if self.long else digest_of(self.clean)
        return {
            "clip": clip, "calibration": self.scene,
            "frames": len(self.chip), "sigma": self.sigma, "seed": self.seed, **more,
        } | ({"metrics": digests(self.metrics)} if self.metrics else {})  # fmt: skip

    def scores(self) -> list[Score]:
        """Return what the metrics found, in the order in which they were given."""
        return self._judged.scores(len(self.chip))

    def quality(self) -> Quality | None:
        """PSNR and SSIM of input, float network and chip; None without clean frames."""
        from cimsim.session.parts import Quality
        from cimsim.video.metrics import per_frame

        if self.clean is None:
            return None
        if self.long:
            done = [self._scores[n][: len(self.chip)] for n in ("noisy", "float", "chip")]
            columns = [tuple(row[column] for row in rows) for column in (0, 1) for rows in done]
            return Quality(*columns)
        frames = self._arrays()
        scores = {
            name: per_frame(frames["clean"], frames[name]) for name in ("noisy", "float", "chip")
        }
        psnr = [tuple(map(float, s.psnr_db)) for s in scores.values()]
        ssim = [tuple(map(float, s.ssim)) for s in scores.values()]
        return Quality(*psnr, *ssim)


def operand_sums(
    mapping: Mapping, clip: Clip, sigma: float, seed: int, calibration: Clip | None = None
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


_COMPENSATED = {
    "none": "",
    "global": ", each array is scaled to what it gave then",
    "column": ", gain and offset of its columns anew at this time",
}


def _with_noise(clean: Series, sigma: float, seed: int) -> Series:
    """Add noise to an array, or to a reel as its frames are taken."""
    from cimsim.video.noise import add_awgn

    if isinstance(clean, Reel):
        return NoisyReel(clean, sigma, seed)
    return add_awgn(np.asarray(clean), sigma, seed)


def _condition_notes(chip: Chip) -> list[str]:
    """Say what the cells went through before the first frame."""
    found, conditions, faults = [], chip.conditions, chip.faults
    if not conditions.fresh:
        when = "at this time" if conditions.recalibrate else "right after programming, at 25 °C"
        found.append(
            f"cells {format_duration(conditions.time_s)} after programming at "
            f"{format_celsius(conditions.temperature_k)}; the chip was calibrated {when}"
            f"{_COMPENSATED[conditions.compensation]}"
        )
    if not faults.none:
        shares = [
            f"{100 * getattr(faults, kind):g} % {kind.replace('_', ' ')}"
            for kind in ("stuck_off", "stuck_on", "open", "dead_rows", "dead_cols")
            if getattr(faults, kind) > 0
        ]
        shares += [f"those of {Path(faults.map).name}"] if faults.map is not None else []
        spares = [
            f"{getattr(faults, kind)} {kind.replace('_', ' ')}"
            for kind in ("spare_rows", "spare_cols")
            if getattr(faults, kind)
        ]
        repair = f"; repaired by {' and '.join(spares)} in each array" if spares else ""
        found.append(f"faulty cells: {', '.join(shares)}{repair}")
    return found
