"""The parts of a result, and the numbers that each of them reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cimsim.energy.model import COMPONENTS, number_of
from cimsim.graph.coverage import Coverage
from cimsim.tasks.measures import Measure


@dataclass(frozen=True, slots=True)
class Number:
    """One reported number; the interval is 5 .. 95 % where there is one."""

    value: float | int | str | None
    unit: str
    meaning: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """PSNR in dB and SSIM of each frame against the clean one, frames clipped to [0, 1].

    Attributes
    ----------
    noisy_psnr, float_psnr, chip_psnr : tuple of float
        The input, the float32 network, and the network on the chip.
    noisy_ssim, float_ssim, chip_ssim : tuple of float
    """

    noisy_psnr: tuple[float, ...]
    float_psnr: tuple[float, ...]
    chip_psnr: tuple[float, ...]
    noisy_ssim: tuple[float, ...]
    float_ssim: tuple[float, ...]
    chip_ssim: tuple[float, ...]

    @property
    def psnr_db(self) -> float:
        """Mean PSNR on the chip."""
        return mean(self.chip_psnr)

    def mean(self, name: str) -> float:
        """Mean over frames of one of the six series."""
        return mean(getattr(self, name))

    @property
    def is_noisy(self) -> bool:
        """Whether the input differs from the clean frames; its PSNR is infinite if not."""
        return math.isfinite(self.mean("noisy_psnr"))


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles and seconds per frame.

    Attributes
    ----------
    latency_cycles : int
        From the start of the first frame to its last output.
    cycles_per_frame : int
        Cycles between two finished frames when frames stream.
    clock_hz : float
    bottleneck : str
        Layer and stage that the interval waits for.
    bottleneck_busy : float
        Share of the time that it is busy, 0 ... 1.
    schedule : str
    """

    latency_cycles: int
    cycles_per_frame: int
    clock_hz: float
    bottleneck: str
    bottleneck_busy: float
    schedule: str

    @property
    def latency_s(self) -> float:
        """Latency of the first frame in seconds."""
        return self.latency_cycles / self.clock_hz

    @property
    def seconds_per_frame(self) -> float:
        """Interval between frames in seconds."""
        return self.cycles_per_frame / self.clock_hz

    @property
    def frames_per_second(self) -> float:
        """Throughput."""
        return self.clock_hz / self.cycles_per_frame


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one frame.

    Attributes
    ----------
    by_component : dict
        Component -> J per frame.
    total_j, average_power_w, tops_per_w : float
    array_energy_from : str
        ``operands``, ``statistics`` or ``activity``, see `cimsim.energy.model.EnergyReport`.
    programming_j, programming_s : float
        Writing all weights once; not part of the energy per frame.
    frame_rate_hz : float or None
        Rate at which frames come; None: back to back.
    compensation_j, compensation_s : float
        Reading the aged cells for what is taken back of their drift, once; 0 where nothing is.
    """

    by_component: dict[str, float]
    total_j: float
    average_power_w: float
    tops_per_w: float
    array_energy_from: str
    programming_j: float
    programming_s: float
    frame_rate_hz: float | None = None
    compensation_j: float = 0.0
    compensation_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the network takes of the chip and what it does there for one frame."""

    chip: str
    arrays_used: int
    arrays: int
    utilisation: float
    weights: int
    area_m2: float
    area_used_m2: float
    windows: int
    activations: int
    conversions: int
    macs: int


@dataclass(frozen=True, slots=True)
class AsWritten:
    """A streaming cascade without reuse, on the same chip: the first stage for every window anew.

    Attributes
    ----------
    cycles_per_frame, latency_cycles : int
        As in `Timing`.
    energy_j : float
        One frame; the arrays' share from the operands of the streaming run where there was one.
    arrays_used, windows, activations, conversions : int
        As in `Hardware`.
    reused : int
        Matrices that a frame uses more than once, from one copy each.
    uses : int
        How often it uses them.
    """

    cycles_per_frame: int
    latency_cycles: int
    energy_j: float
    arrays_used: int
    windows: int
    activations: int
    conversions: int
    reused: int
    uses: int


def mean(values: tuple[float, ...]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def timing_numbers(t: Timing) -> dict[str, Number]:
    """Report cycles and seconds."""
    return {
        "timing.latency": Number(t.latency_cycles, "cycles", "first frame, start to end"),
        "timing.latency_s": Number(t.latency_s, "s", "first frame, start to end"),
        "timing.cycles_per_frame": Number(
            t.cycles_per_frame, "cycles", "between two frames when frames stream"
        ),
        "timing.seconds_per_frame": Number(
            t.seconds_per_frame, "s", "between two frames when frames stream"
        ),
        "timing.frames_per_second": Number(t.frames_per_second, "1/s", "throughput"),
        "timing.bottleneck": Number(t.bottleneck, "", "what the interval waits for"),
        "timing.bottleneck_busy": Number(t.bottleneck_busy, "1", "its share of busy time"),
    }


def energy_numbers(e: Energy) -> dict[str, Number]:
    """Report energy and power, by component too."""
    found = {
        "energy.per_frame": Number(e.total_j, "J", "one frame, static energy included"),
        "energy.average_power": Number(
            e.average_power_w,
            "W",
            "while frames stream"
            if e.frame_rate_hz is None
            else f"at {e.frame_rate_hz:g} frames per second",
        ),
        "energy.tops_per_w": Number(e.tops_per_w, "TOPS/W", "2 operations per MAC"),
        "energy.programming": Number(e.programming_j, "J", "writing all weights once"),
        "energy.programming_time": Number(e.programming_s, "s", "writing all weights once"),
    }
    if e.compensation_s > 0:
        found["energy.compensation"] = Number(
            e.compensation_j, "J", "reading aged cells, each time they are compensated"
        )
        found["energy.compensation_time"] = Number(
            e.compensation_s, "s", "the same; no frame is computed meanwhile"
        )
    return found | {
        number_of(name): Number(value, "J", f"one frame, {COMPONENTS.get(name, name)}")
        for name, value in e.by_component.items()
    }


def hardware_numbers(h: Hardware) -> dict[str, Number]:
    """Report what is taken of the chip, and done there."""
    return {
        "hardware.arrays_used": Number(h.arrays_used, "arrays", "arrays holding weights"),
        "hardware.arrays": Number(h.arrays, "arrays", "arrays of the chip"),
        "hardware.utilisation": Number(h.utilisation, "1", "cells holding weights in used arrays"),
        "hardware.weights": Number(h.weights, "weights", "of the network, bias not counted"),
        "hardware.area": Number(h.area_m2, "m2", "whole chip"),
        "hardware.area_used": Number(h.area_used_m2, "m2", "tiles used and chip level parts"),
        "work.windows": Number(h.windows, "1/frame", "sliding windows, MVMs"),
        "work.activations": Number(h.activations, "1/frame", "array activations"),
        "work.conversions": Number(h.conversions, "1/frame", "ADC conversions"),
        "work.macs": Number(h.macs, "1/frame", "multiply-accumulates"),
    }


def written_numbers(written: AsWritten, time: Timing, energy: Energy) -> dict[str, Number]:
    """Report what streaming saves."""
    return {
        "as_written.cycles_per_frame": Number(
            written.cycles_per_frame, "cycles", "without reuse, between two frames"
        ),
        "as_written.latency": Number(written.latency_cycles, "cycles", "without reuse"),
        "as_written.energy": Number(written.energy_j, "J", "one frame without reuse"),
        "as_written.windows": Number(written.windows, "1/frame", "sliding windows without reuse"),
        "streaming.speedup": Number(
            written.cycles_per_frame / time.cycles_per_frame, "1", "cycles as written / streaming"
        ),
        "streaming.energy_ratio": Number(
            written.energy_j / energy.total_j, "1", "energy as written / streaming"
        ),
    }


def measured_numbers(measures: tuple[Measure, ...]) -> dict[str, Number]:
    """Report what a task measured."""
    found = {}
    for m in measures:
        several = f", mean of {len(m.chip)} chips" if len(m.chip) > 1 else ""
        found[f"quality.{m.name}"] = Number(m.mean, m.unit, f"on the chip{several}: {m.meaning}")
        if m.reference is not None:
            found[f"quality.float_{m.name}"] = Number(m.reference, m.unit, f"float: {m.meaning}")
        if m.noisy is not None:
            found[f"quality.noisy_{m.name}"] = Number(m.noisy, m.unit, f"noisy: {m.meaning}")
    return found


def coverage_numbers(coverage: Coverage) -> dict[str, Number]:
    """Report which share of a network has time and energy."""
    text = "share that has time and energy"
    return {
        "coverage.macs": Number(coverage.macs, "1", f"MACs: {text}"),
        "coverage.weights": Number(coverage.weights, "1", f"weights: {text}"),
        "coverage.moved": Number(coverage.moved, "1", f"bytes that operations store: {text}"),
    }


def quality_numbers(quality: Quality) -> dict[str, Number]:
    """Report PSNR and SSIM, means over the frames."""
    who = {"noisy": "noisy input", "float": "float32 network", "chip": "network on the chip"}
    found = {
        f"quality.{name}_psnr": Number(quality.mean(f"{name}_psnr"), "dB", f"PSNR of the {text}")
        for name, text in who.items()
    }
    found |= {
        f"quality.{name}_ssim": Number(quality.mean(f"{name}_ssim"), "1", f"SSIM of the {text}")
        for name, text in who.items()
    }
    lost = quality.mean("float_psnr") - quality.psnr_db
    meaning = "PSNR lost on the chip: float minus chip, below 0 where the chip is better"
    found["quality.loss"] = Number(0.0 if math.isnan(lost) else lost, "dB", meaning)
    return found
