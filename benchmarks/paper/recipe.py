"""The training recipe as data: networks, common settings, what differs; read from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from benchmarks.paper.job import Budget, Job
from cimsim.errors import ConfigError, suggest
from cimsim.zoo import registry
from cimsim.zoo.errors import ZooError

DEFAULT = Path(__file__).with_name("train_all.yaml")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Settings(_Part):
    """Settings of the trainer that a recipe may give; what is left out keeps the trainer's default.

    The meaning of each is described by `cimsim.training.config.TrainConfig`.
    """

    batch: int | None = Field(default=None, gt=0)
    crop: int | None = Field(default=None, gt=0)
    sigma: tuple[float, float] | None = None
    stills: float | None = Field(default=None, ge=0, le=1)
    start: str | None = None
    lr: float | None = Field(default=None, gt=0)
    schedule: Literal["cosine", "steps"] | None = None
    optimiser: Literal["muon", "adam"] | None = None
    warmup_steps: int | None = Field(default=None, ge=0)
    lr_fan_in: int | None = Field(default=None, gt=0)
    rates: dict[str, float] | None = None
    freeze: tuple[str, ...] | None = None
    tied: float | None = Field(default=None, ge=0)
    grad_clip: float | None = Field(default=None, ge=0)
    ema: float | None = Field(default=None, ge=0, le=1)
    freeze_bn_at: float | None = Field(default=None, ge=0, le=1)
    validation_crop: int | None = Field(default=None, gt=0)
    checkpoint_minutes: float | None = Field(default=None, gt=0)

    @field_validator("sigma", mode="before")
    @classmethod
    def _range(cls, value: Any) -> Any:
        """``15`` stands for ``[15, 15]``."""
        return (value, value) if isinstance(value, int | float) else value

    @field_validator("sigma")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError(f"expected 0 <= low <= high, got {value[0]:g}, {value[1]:g}")
        return value

    def given(self) -> dict[str, Any]:
        """Return what the recipe sets."""
        return {name: value for name, value in self if value is not None}


class Common(Settings):
    """Settings of all networks; seed and split can only stand here."""

    seed: int = Field(default=0, ge=0)
    validation_scenes: int = Field(default=10, gt=0)


class Entry(_Part):
    """One network of the recipe.

    Attributes
    ----------
    model, stride
        Name in the zoo and its stride.
    args : mapping
        Further options of the network.
    variant : str, optional
        Tells two trainings of one network apart: ``cimnet_s8_blind``.
    label : str
        What tables call it; its stem when empty.
    after : str, optional
        Stem of the network whose weights, trained just before under the same budget, are the start.
    optional : bool
        Trained only on request.
    overrides : Settings
        What differs from the common settings.
    """

    model: str
    stride: int | None = None
    args: dict[str, int | str] = {}
    variant: str | None = Field(default=None, pattern=r"^[a-z0-9]+$")
    label: str = ""
    after: str | None = None
    optional: bool = False
    overrides: Settings = Settings()

    @property
    def options(self) -> dict[str, int | str]:
        """Options of the network's factory."""
        return ({} if self.stride is None else {"stride": self.stride}) | self.args

    @property
    def stem(self) -> str:
        """Name of the network and its folder, such as ``cimnet_s8``."""
        return self.weights_stem + ("" if self.variant is None else f"_{self.variant}")

    @property
    def weights_stem(self) -> str:
        """Name that the trainer gives the weight file in that folder."""
        return registry.info(self.model).weights_stem(self.options)

    @model_validator(mode="after")
    def _exists(self) -> Entry:
        try:
            entry = registry.info(self.model)
            entry.resolve(self.options)
        except ZooError as error:
            raise ValueError(str(error)) from None
        if "stride" in entry.options and self.stride is None:
            raise ValueError(f"{self.model}: stride: missing, the figures need it written out")
        return self


class Recipe(_Part):
    """A whole recipe file."""

    common: Common = Common()
    networks: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Recipe:
        stems = [entry.stem for entry in self.networks]
        twice = sorted({stem for stem in stems if stems.count(stem) > 1})
        if twice:
            raise ValueError(f"networks: {', '.join(twice)}: listed more than once")
        for number, entry in enumerate(self.networks):
            if entry.after is not None and entry.after not in stems[:number]:
                raise ValueError(
                    f"networks: {entry.stem}: after: no network of the name {entry.after} "
                    f"before it{suggest(entry.after, stems[:number])}"
                )
        return self

    def named(self, stem: str) -> Entry:
        """Return the network of that stem."""
        return next(entry for entry in self.networks if entry.stem == stem)

    def seeded(self, seed: int) -> Recipe:
        """Return the recipe with another seed."""
        return self.model_copy(update={"common": self.common.model_copy(update={"seed": seed})})

    def settings(self, entry: Entry) -> dict[str, Any]:
        """Return the trainer's keywords for a network: common ones, then its own."""
        return self.common.given() | entry.overrides.given()

    def job(self, entry: Entry, budget: Budget) -> Job:
        """Return what the runner trains for a network, and before it."""
        after = None if entry.after is None else self.job(self.named(entry.after), budget)
        return Job(entry.stem, entry.model, entry.options, budget, self.settings(entry), after)

    def select(self, only: Sequence[str] = (), *, everything: bool = False) -> list[Entry]:
        """Return the networks to train, in the order of the file.

        Parameters
        ----------
        only : sequence of str
            Names or patterns: ``cimnet_s8``, ``'cimnet_*'``, ``cimnet`` (all its strides that are
            not optional). Naming an optional network in full chooses it.
        everything : bool
            Optional networks too.

        Raises
        ------
        ConfigError
            When a name fits nothing.
        """
        stems = [entry.stem for entry in self.networks]
        for name in only:
            if not any(_fits(entry, name) for entry in self.networks):
                raise ConfigError(f"--only {name}: no such network{suggest(name, stems)}")
        return [
            entry
            for entry in self.networks
            if (not entry.optional or everything or entry.stem in only)
            and (not only or any(_fits(entry, name) for name in only))
        ]


def _fits(entry: Entry, name: str) -> bool:
    return name == entry.model or fnmatchcase(entry.stem, name)


def load_recipe(path: Path = DEFAULT) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    ConfigError
        ``FILE: place: what was expected``, one line for each fault.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'file'}: {_message(fault)}"
            for fault in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from None


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        place = fault["loc"]
        known: type[BaseModel] = (
            Entry if place[0] == "networks" and "overrides" not in place else Settings
        )
        if place[0] == "common":
            known = Common
        if len(place) == 1:
            known = Recipe
        return f"unknown key{suggest(str(place[-1]), known.model_fields)}"
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in ("value_error", "missing"):
        return str(text)
    return f"{text}, got {fault['input']!r}"
