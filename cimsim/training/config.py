"""Everything a training run depends on, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cimsim.errors import ConfigError
from cimsim.zoo import registry

SCHEDULES = ("cosine", "steps")
OPTIMISERS = ("muon", "adam")
AUTO, RANDOM = "auto", "random"
CLOSED_FORM = ("wiener", "shrinkage")
IDENTITY = (
    "model",
    "options",
    "hw",
    "overrides",
    "optimiser",
    "teacher",
    "teacher_weight",
    "rates",
    "freeze",
)  # a checkpoint of another one is refused
# options of CIM-NET with which its first layer's channels reach its last layer as they are
HANDED_ON = {"skip": "add", "before": 1, "behind": 1}
FREE = (  # may differ from a checkpoint's without a word
    "data", "out", "minutes", "steps", "resume", "checkpoint_minutes", "checkpoint_steps", "device",
    "workers",
)  # fmt: skip


_PLAIN: Mapping[str, object] = {"rates": {}, "freeze": ()}  # of checkpoints that do not say


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything a training run depends on.

    Attributes
    ----------
    model : str
        Name in the zoo.
    data, out : Path
        Folder of clips with its manifest; folder for checkpoints and the log.
    options : mapping
        Options of the network, such as ``{"stride": 8}``.
    minutes, steps : float, int
        Budget; the schedule follows the one that ends first. At least one must be given; only a
        run bounded by steps alone gives the same weights on every machine.
    batch, crop : int
        Crops per step and their edge in pixels.
    sigma : (float, float)
        Range of the noise in 8-bit steps. Validation uses the middle.
    lr, warmup_steps : float, int
        Peak learning rate after a linear start; see `peak_lr` when it is not given.
    schedule : {"cosine", "steps"}
        How it falls, see `cimsim.training.schedule.learning_rate`.
    optimiser : {"muon", "adam"}
        What a gradient does to a kernel, see `cimsim.training.muon`. The papers use Adam.
    lr_fan_in : int, optional
        Convolutions without a batch norm and with more inputs than this learn more slowly, by
        the ratio: an update moves their outputs in proportion to their fan-in. 288 when not given;
        less from a start in closed form, which a faster rate would undo: 10, or 200 from shrinkage
        with muon.
    rates : mapping of str to float
        Pattern for names of parameters to a factor of their learning rate, as in
        ``{"block1.down*": 4.0}``; factors of several patterns multiply.
    freeze : tuple of str
        Patterns for names of parameters that keep their start; batch norms among them keep their
        statistics.
    tied : float, optional
        With adam: how much faster than single weights the kernels learn that all positions of a
        CIM-CONV's block share, see `cimsim.training.tied`; 0: they do not. 3 when not given; 0
        from the shrinkage start, whose units are no pixels.
    grad_clip : float
        Gradients longer than this many times their running mean are shortened; 0: never.
    ema : float
        Decay of the averaged copy of weights and batch-norm statistics, which is what is
        validated and saved; 0: none.
    freeze_bn_at : float
        Share of the budget after which batch norms use their running statistics, as on the chip.
    stills : float
        Share of crops taken from photographs.
    start : str
        ``random``, ``wiener`` or ``shrinkage`` (CIM-NET and Abla-NET, see the modules of these
        names), the path of a weight file, or ``auto``: shrinkage for those two at strides of 4
        and more, wiener for CIM-NET at 2 (without a residual, chance starts far below the noisy
        frame), else random.
    teacher : str, optional
        A trained network to learn from beside the clean frames: a name of the zoo, shipped weights
        by name, or a weight file, see `cimsim.training.teacher`.
    teacher_weight : float
        The loss is the error against the clean frames plus this many times that against what the
        teacher makes of the same noisy frames.
    hw : str, optional
        A chip to train for: its rounding, programming errors, read noise and converters are in
        the loop, see `cimsim.training.hardware`. Batch norms are frozen then.
    overrides : tuple of str
        Changes of that chip, such as ``adc.bits=6``.
    resume : bool
        Go on from the checkpoint in ``out`` when there is one.
    checkpoint_minutes, checkpoint_steps : float, int
        Time between checkpoints, each with a validation; or, when given, steps.
    validation_scenes, validation_crop : int
        How many scenes are held out (the same ones for every seed), and the edge of the crop of
        each of their clips that is looked at.
    device : str
        Where to train, as torch spells it.
    amp : bool, optional
        Compute in bfloat16 where torch thinks it safe. By default where the device is fast at it.
    workers : int, optional
        Threads that prepare batches ahead; never changes a batch. By default 0 on a CPU, which
        is busy anyway, and 8 beside a GPU.
    seed : int
        Of everything: start, crops, noise, errors of the chip.
    """

    model: str
    data: Path
    out: Path
    options: Mapping[str, int | str] = field(default_factory=dict)
    minutes: float | None = None
    steps: int | None = None
    batch: int = 8
    crop: int = 64
    sigma: tuple[float, float] = (15.0, 15.0)
    lr: float | None = None
    warmup_steps: int = 100
    schedule: str = "cosine"
    optimiser: str = "muon"
    lr_fan_in: int | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    tied: float | None = None
    grad_clip: float = 3.0
    ema: float = 0.998
    freeze_bn_at: float = 0.9
    stills: float = 0.3
    start: str = AUTO
    teacher: str | None = None
    teacher_weight: float = 0.5
    hw: str | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = True
    checkpoint_minutes: float = 3.0
    checkpoint_steps: int | None = None
    validation_scenes: int = 10
    validation_crop: int = 192
    device: str = "cpu"
    amp: bool | None = None
    workers: int | None = None
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the parts below would only trip over later."""
        if self.minutes is None and self.steps is None:
            raise ConfigError("train: give a budget: minutes, steps or both")
        for name in (
            "minutes",
            "steps",
            "batch",
            "crop",
            "lr",
            "validation_scenes",
            "validation_crop",
            "checkpoint_minutes",
            "checkpoint_steps",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"train: {name}: expected a positive number, got {value}")
        for name, known in (("schedule", SCHEDULES), ("optimiser", OPTIMISERS)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"train: {name}: expected {' or '.join(known)}, got '{value}'")
        if self.lr_fan_in is not None and self.lr_fan_in < 1:
            raise ConfigError(f"train: lr_fan_in: expected an integer >= 1, got {self.lr_fan_in}")
        for name in ("ema", "freeze_bn_at", "stills"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"train: {name}: expected 0..1, got {getattr(self, name)}")
        for name in ("tied", "grad_clip", "warmup_steps", "workers", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"train: {name}: expected 0 or more, got {value}")
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Check what only makes sense together."""
        low, high = self.sigma
        if not (0 <= low <= high <= 255 and high > 0):
            raise ConfigError(
                f"train: sigma: expected 0 <= low <= high <= 255 and high > 0, got {low}, {high}"
            )
        if not 0 < self.teacher_weight < math.inf:
            raise ConfigError(
                f"train: teacher_weight: expected a positive number, got {self.teacher_weight}"
            )
        for pattern, factor in self.rates.items():
            if not factor > 0:
                raise ConfigError(
                    f"train: rates: {pattern}: expected a positive factor, got {factor}; to keep "
                    "parameters as they are, freeze them"
                )
        if self.overrides and self.hw is None:
            raise ConfigError("train: changes of a chip (--set) need a chip: give --hw too")
        if self.tied and self.optimiser != "adam":
            raise ConfigError(
                f"train: tied: shared kernels are moved by adam alone, not by {self.optimiser}; "
                "give --optimiser adam or leave out --tied"
            )

    @property
    def resolved_start(self) -> str:
        """``start`` with ``auto`` decided."""
        if self.start != AUTO:
            return self.start
        options = registry.info(self.model).resolve(self.options)
        if self.model not in ("cimnet", "abla-net") or options.get("stages", 1) != 1:
            return RANDOM
        if self.model == "cimnet" and any(options[name] != v for name, v in HANDED_ON.items()):
            return RANDOM
        if int(options["stride"]) >= 4 and options.get("smoothing") != "conv":
            return "shrinkage"
        return "wiener" if self.model == "cimnet" else RANDOM

    @property
    def peak_lr(self) -> float:
        """``lr`` with its default filled in: less where trained weights are to be kept."""
        if self.lr is not None:
            return self.lr
        trained = self.resolved_start not in (RANDOM, *CLOSED_FORM)
        fresh, kept = (8e-3, 2e-3) if self.optimiser == "muon" else (1e-3, 3e-4)
        return kept if trained else fresh

    @property
    def fan_in(self) -> int:
        """``lr_fan_in`` with its default filled in."""
        if self.lr_fan_in is not None:
            return self.lr_fan_in
        if self.resolved_start not in CLOSED_FORM:
            return 288
        return 200 if (self.resolved_start, self.optimiser) == ("shrinkage", "muon") else 10

    @property
    def tied_share(self) -> float:
        """``tied`` with its default filled in."""
        if self.tied is not None:
            return self.tied
        return 0.0 if self.resolved_start == "shrinkage" else 3.0

    @property
    def frozen_from(self) -> float:
        """Share of the budget after which batch norms are frozen; 0 with a chip in the loop."""
        return 0.0 if self.hw is not None else self.freeze_bn_at

    @property
    def validation_sigma(self) -> float:
        """Noise of the validation crops, in 8-bit steps."""
        return (self.sigma[0] + self.sigma[1]) / 2

    def plain(self) -> dict[str, object]:
        """Return the configuration as plain values, for checkpoints."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    def changed_since(self, saved: Mapping[str, object]) -> list[str]:
        """Return how this configuration differs from a checkpoint's, but for budget and place."""
        wanted = self.plain()
        return [
            f"{name} was {saved[name]}, is {wanted[name]}"
            for name in wanted
            if name not in FREE and name in saved and saved[name] != wanted[name]
        ]

    def check_resumable(self, saved: Mapping[str, object], where: Path) -> None:
        """Raise `ConfigError` when a checkpoint's configuration is of another network or chip."""
        wanted = self.plain()
        resolve = registry.info(self.model).resolve
        for name in IDENTITY:
            # a checkpoint of before there was a field has its default
            default = type(self).__dataclass_fields__[name].default
            held = saved.get(name, _PLAIN.get(name, default))
            same = held == wanted[name]
            if name == "teacher_weight" and self.teacher is None:
                continue
            if name == "options" and not same:  # a default may have been left out
                options = saved["options"]
                same = isinstance(options, Mapping) and resolve(options) == resolve(self.options)
            if not same:
                raise ConfigError(
                    f"{where}: {name}: this checkpoint is of {held!r}, not of "
                    f"{wanted[name]!r}; train into another folder, or start again with --fresh"
                )
