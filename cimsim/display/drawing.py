"""Pictures that an object has, although those who draw them stand above it.

They are drawn by `cimsim.report.show`, which objects of lower rooms find by name, as they find code
of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Drawn: TypeAlias = Axes | NDArray[np.object_]
    """Axes, or an array of them where a picture has several panels."""


class MappingPictures(Protocol):
    """Pictures of a mapping; each method returns axes of matplotlib."""

    def floorplan(self, load: int = 0) -> Drawn:
        """Draw every used array with the layers on it; of several loads, one."""

    def timeline(self) -> Drawn:
        """Draw what every layer does over time, two frames: three panels."""


class TimelinePictures(Protocol):
    """Pictures of a timeline; each method returns axes of matplotlib."""

    def stages(self) -> Drawn:
        """Draw the busiest stage of each unit: shares of cycles in service, waiting, blocked."""


class ResultPictures(Protocol):
    """Pictures of a result; each method returns axes of matplotlib."""

    def energy(self) -> Drawn:
        """Draw the energy of a frame by component, and of each layer: two panels."""

    def time(self) -> Drawn:
        """Draw the cycles of each layer by stage."""

    def sensitivity(self) -> Drawn:
        """Draw which numbers of the chip the energy of a frame depends on most."""

    def psnr(self) -> Drawn:
        """Draw the PSNR of each frame: noisy, float32, on the chip."""

    def before_after(self) -> Drawn:
        """Draw the middle frame: clean, noisy, float32 and on the chip."""


class StudyPictures(Protocol):
    """Pictures of a study's outcome; each method returns axes of matplotlib."""

    def over(self, x: str, y: str) -> Drawn:
        """Draw a number over a setting, as in ``over("adc.bits", "psnr")``; bands are 5 .. 95 %."""

    def pareto(self, y: str, x: str) -> Drawn:
        """Draw two objectives and the front that no point beats: ``pareto("psnr", "energy")``."""


def above(name: str) -> Callable[..., object]:
    """Return what a room above has under a name, ``cimsim.report.run.folder:write``.

    Only methods that an object has for convenience, to draw or to write itself, reach up this way;
    `tests/architecture/test_imports.py` has the list.
    """
    room, _, attribute = name.partition(":")
    found: Callable[..., object] = getattr(import_module(room), attribute)
    return found
