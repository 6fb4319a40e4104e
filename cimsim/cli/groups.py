"""Options that belong together: a command takes a few groups of them, each declared once.

A group is a frozen dataclass whose fields are options. What several commands share stands here; a
command whose options are worded otherwise has a group of its own, which may derive from one of
these. Help pages and command lines know nothing of groups.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, get_type_hints

from cimsim.cli.options import (
    AllocationOption,
    ArgOption,
    HwOption,
    InnerOption,
    MappingOption,
    ModelOption,
    PerFrameOption,
    ReprogramOption,
    SetOption,
    StagesOption,
    StrideOption,
    TemperatureOption,
    TimeOption,
    WeightsOption,
    WidthOption,
    model_options,
    with_conditions,
)

if TYPE_CHECKING:
    from cimsim.chip.spec import Chip


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups: typer sees their fields in their places, one option each.

    Parameters
    ----------
    command : callable
        Arguments that are annotated with a dataclass are groups, others are options themselves.

    Returns
    -------
    callable
        Takes one keyword for each option, as typer calls it.
    """
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _options(hints[name])
        else:
            option = parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
            parameters.append(option)

    def called(**given: object) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**made, **given)

    called.__name__, called.__qualname__ = command.__name__, command.__qualname__
    called.__module__, called.__doc__ = command.__module__, command.__doc__
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    # two groups with an option of one name are refused here
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _options(group: type) -> list[inspect.Parameter]:
    """Return the fields of a group as arguments of a command."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name],
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(group)
    ]  # fmt: skip


@dataclass(frozen=True)
class NetworkOptions:
    """A network of the zoo or of the user's own, and its options."""

    model: ModelOption = "cimnet"
    stride: StrideOption = None
    stages: StagesOption = None
    width: WidthOption = None
    per_frame: PerFrameOption = None
    inner: InnerOption = None
    arg: ArgOption = None

    @property
    def options(self) -> dict[str, int | str]:
        """The options of the network that were given.

        Raises
        ------
        ConfigError
            See `model_options`.
        """
        return model_options(
            self.arg, stride=self.stride, stages=self.stages, width=self.width,
            per_frame=self.per_frame, inner=self.inner,
        )  # fmt: skip


@dataclass(frozen=True)
class TrainedNetwork(NetworkOptions):
    """A network and its weights."""

    weights: WeightsOption = None


@dataclass(frozen=True)
class ChipOptions:
    """A chip, and which of its fields are changed."""

    hw: HwOption = "eflash40nm"
    overrides: SetOption = None


@dataclass(frozen=True)
class AgedChipOptions(ChipOptions):
    """A chip some time after it was written, and at which temperature it is read."""

    time: TimeOption = None
    temperature: TemperatureOption = None


@dataclass(frozen=True)
class PlacingOptions:
    """How a network is laid onto a chip."""

    mapping: MappingOption = "im2col"
    allocation: AllocationOption = "in_order"


@dataclass(frozen=True)
class ReloadedOptions(PlacingOptions):
    """The same for a chip that may be written load after load."""

    reprogram: ReprogramOption = False


@dataclass(frozen=True)
class OnChip(ReloadedOptions, ChipOptions):
    """A chip and what is laid onto it, where neither age nor temperature matters."""

    def load(self) -> Chip:
        """Load the chip.

        Raises
        ------
        ConfigError
            No chip of that name, or one that cannot be.
        """
        from cimsim.chip.load import load_hw

        return load_hw(self.hw, with_conditions(self.overrides, reprogram=self.reprogram))


@dataclass(frozen=True)
class OnAgedChip(ReloadedOptions, AgedChipOptions):
    """A chip of some age and what is laid onto it."""

    def load(self) -> Chip:
        """Load the chip, and check all of it and the mapping's name before the long wait.

        Raises
        ------
        ConfigError
            No chip or mapping of that name, or a chip that cannot be.
        """
        from cimsim.chip.cells import device_of
        from cimsim.chip.load import load_hw
        from cimsim.crossbar.faults import fault_map
        from cimsim.placing import by_name

        given = with_conditions(self.overrides, self.time, self.temperature, self.reprogram)
        chip = load_hw(self.hw, given)
        by_name.check(self.mapping, self.allocation)
        device_of(chip, self.hw)
        fault_map(chip)
        return chip
