"""Causes of a chip's loss measured one by one: the whole chip without a cause, and with it alone.

The honest and slow way, and what `cimsim.studies.diagnosis` is held against: a chip is programmed,
calibrated and run anew for each. The Shapley value of a cause lies near the mean of the two
numbers, exactly so where no three causes act on each other. Weights stay rounded in all runs, as a
chip cannot hold others; an input code is switched off by 16 bits of it, where drivers apply a code
at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.cells.base import AbstractDevice
from cimsim.chip.parts.cells import Conditions
from cimsim.engine.execute import execute
from cimsim.engine.prepare import calibrated, cells
from cimsim.engine.without import without
from cimsim.engine.written import Learned, learn
from cimsim.mapping.mapping import Mapping
from cimsim.studies.diagnosis import Asked, asked_of
from cimsim.studies.diagnosis_result import Diagnosis, Switched
from cimsim.studies.losses import OutputError

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip
    from cimsim.session.frames import Clip, Progress
    from cimsim.tasks.questions import Task

GROUPS: dict[str, tuple[str, ...]] = {
    "input code": ("input bits", "input clipping"),
    "programming": ("programming",),
    "faults": ("faults",),
    "drift": ("drift",),
    "cell curve": ("cell curve",),
    "wires": ("wires",),
    "drivers": ("drivers",),
    "read noise": ("read noise",),
    "converters": ("converter clipping", "converter steps", "converter errors"),
}
"""What is switched -> causes of `cimsim.engine.error_parts.CAUSES` that go with it."""


def switched(
    diagnosis: Diagnosis,
    mapping: Mapping,
    clip: Clip | None = None,
    *,
    task: Task | None = None,
    noise_sigma: float = 15.0,
    seed: int = 0,
    calibration: Clip | None = None,
    name: str = "clip",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Run the chip with each cause switched off and with it alone.

    Parameters
    ----------
    diagnosis : Diagnosis
        Of the same mapping, data and seed.
    mapping, clip, task, noise_sigma, seed, calibration, name, threads, progress
        See `cimsim.studies.diagnosis.diagnose`.

    Returns
    -------
    Diagnosis
        With ``switched`` filled in.
    """
    from cimsim.engine.workers import one_torch_thread

    report = progress or (lambda stage, done, total: None)
    asked = asked_of(mapping, clip, task, noise_sigma, seed, calibration, name)
    groups = [g for g in GROUPS if set(GROUPS[g]) & set(diagnosis.causes) and _can(g, mapping.chip)]
    steps, done = 2 * len(groups) + 2, 0
    with one_torch_thread():
        world = _World(mapping, asked, diagnosis.first.name, seed, threads)

        def lost(off: set[str]) -> float:
            nonlocal done
            report("switching", done, steps)
            done += 1
            return world.lost(off)

        whole, none = lost(set()), lost(set(groups))
        rows = []
        for group in groups:
            off = whole - lost({group})
            on = lost(set(groups) - {group}) - none
            rows.append((group, off, on))
        report("switching", steps, steps)
    per = 100 / whole if diagnosis.first.name == OutputError.name and whole > 0 else 1.0
    return replace(
        diagnosis, switched=tuple(Switched(g, per * off, per * on) for g, off, on in rows)
    )


def _can(group: str, chip: Chip) -> bool:
    return group != "input code" or chip.dac.bits >= chip.inputs.bits


class _World:
    """Chips that differ in what is switched off."""

    def __init__(
        self, mapping: Mapping, asked: Asked, loss: str, seed: int, threads: int | None
    ) -> None:
        from cimsim.chip.cells import device_of

        self.mapping, self.asked, self.seed, self.threads = mapping, asked, seed, threads
        self.loss = next(type(one) for one in asked.losses if one.name == loss)
        self.device = device_of(mapping.chip)
        self.learned = learn(mapping, asked.calibration, threads)

    def lost(self, off: set[str]) -> float:
        """Return the loss with some causes switched off."""
        reduced, device = without(self.mapping.chip, self.device, off)
        mapping = replace(self.mapping, chip=_without(reduced, off))
        device = _device(device, off)
        learned = self.learned
        if "input code" in off:  # other codes, other samples of their ends; the weights stay
            anew = learn(mapping, self.asked.calibration, self.threads)
            learned = Learned(
                frames=anew["frames"], samples=anew["samples"], integers=learned["integers"]
            )
        fresh, aged = cells(mapping, device, self.seed, learned["integers"])
        chip = calibrated(
            fresh, aged, self.asked.calibration, self.seed, self.threads, learned["samples"]
        )
        loss = self.loss()
        for number in range(self.asked.count):
            sample, inputs = self.asked.inputs(number)
            expected = mapping.graph.reference(*inputs)
            got = execute(chip, inputs, number, self.seed, self.threads).outputs
            loss.weights(number, sample, expected, got)
        return float(loss.error) if isinstance(loss, OutputError) else float(loss.measured()[2])


def _without(chip: Chip, off: set[str]) -> Chip:
    """Switch off what the engine leaves on: codes, converters, and time and temperature."""
    new: dict[str, object] = {}
    if "drift" in off:
        new["conditions"] = Conditions()
    if "input code" in off:
        new["inputs"] = chip.inputs.model_copy(update={"bits": 16, "percentile": 100.0})
        new["dac"] = chip.dac.model_copy(update={"bits": 16})
    if "converters" in off:
        new["adc"] = chip.adc.model_copy(update={"kind": "ideal"})
    return chip.model_copy(update=new)


def _device(device: AbstractDevice, off: set[str]) -> AbstractDevice:
    """Return the same cells, written exactly or read without noise where asked."""
    if off & {"programming", "read noise"}:
        return _Switched(device, "programming" in off, "read noise" in off)
    return device


class _Switched(AbstractDevice):
    """A device without programming error or without read noise."""

    def __init__(self, device: AbstractDevice, exact: bool, still: bool) -> None:
        self._device, self._exact, self._still = device, exact, still
        self.conduction, self.max_bits = device.conduction, device.max_bits
        self.nonlinearity = device.nonlinearity

    @property
    def g_min_s(self) -> float:
        """See `AbstractDevice`."""
        return self._device.g_min_s

    @property
    def g_max_s(self) -> float:
        """See `AbstractDevice`."""
        return self._device.g_max_s

    @property
    def is_exact(self) -> bool:
        """See `AbstractDevice`."""
        return self._device.is_exact or (self._exact and self._still)

    @property
    def name(self) -> str:
        """See `AbstractDevice`."""
        return self._device.name

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """See `AbstractDevice`."""
        return target_s if self._exact else self._device.program(target_s, rng)

    def write(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """See `AbstractDevice`."""
        return (target_s, None) if self._exact else self._device.write(target_s, rng)

    def check_conditions(self, time_s: float, temperature_k: float) -> None:
        """See `AbstractDevice`."""
        self._device.check_conditions(time_s, temperature_k)

    def age(
        self, g_s: NDArray[np.float64], time_s: float, temperature_k: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:  # fmt: skip
        """See `AbstractDevice`."""
        return self._device.age(g_s, time_s, temperature_k, rng)

    def read_sigma(
        self, g_s: NDArray[np.float64], time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """See `AbstractDevice`."""
        if self._still:
            return np.zeros_like(g_s)
        return self._device.read_sigma(g_s, time_s, written_s)
