"""Pictures of objects from Python: ``result.plot.energy()`` and the like return matplotlib axes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cimsim.display import drawing
from cimsim.errors import InputError
from cimsim.report.chip.floorplan import floorplan
from cimsim.report.run import plots
from cimsim.report.timeline.plot import draw_timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.mapping.mapping import Mapping
    from cimsim.session.result import Result
    from cimsim.timing.timeline import Timeline


def axes_of(figure: Figure) -> drawing.Drawn:
    """Hand a figure to pyplot, so that a notebook or ``plt.show()`` shows it; return its axes.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them where the picture has several panels
    """
    import matplotlib.pyplot as plt

    # matplotlib before 3.11 manages only what it has made itself: the axes are all there is then
    with contextlib.suppress(ValueError):
        plt.figure(figure)
    found = figure.axes
    return found[0] if len(found) == 1 else np.array(found, dtype=object)


@dataclass(frozen=True)
class ResultPictures(drawing.ResultPictures):
    """Pictures of a `Result`; each method returns axes of matplotlib."""

    result: Result

    def energy(self) -> drawing.Drawn:
        """Draw the energy of a frame by component, and of each layer: two panels."""
        return axes_of(plots.energy_by_layer(self.result))

    def time(self) -> drawing.Drawn:
        """Draw the cycles of each layer by stage."""
        return axes_of(plots.time_by_layer(self.result))

    def sensitivity(self) -> drawing.Drawn:
        """Draw which numbers of the chip the energy of a frame depends on most.

        Raises
        ------
        InputError
            The chip's numbers have no ranges.
        """
        if not self.result.sensitivity:
            raise InputError("plot.sensitivity: no number of this chip has a range")
        return axes_of(plots.tornado(self.result))

    def psnr(self) -> drawing.Drawn:
        """Draw the PSNR of each frame: noisy, float32, on the chip.

        Raises
        ------
        InputError
            No clip was run, or nothing is known to judge it by.
        """
        if self.result.quality is None:
            raise InputError("plot.psnr: this result has no PSNR; run a clip with clean frames")
        return axes_of(plots.psnr_per_frame(self.result))

    def before_after(self) -> drawing.Drawn:
        """Draw the middle frame: clean, noisy, float32 and on the chip.

        Raises
        ------
        InputError
            The result has no frames; one that was loaded has left them on the disk.
        """
        if not self.result.frames:
            raise InputError(
                "plot.before_after: this result holds no frames (those of a loaded one are on "
                "the disk, beside result.json)"
            )
        return axes_of(plots.before_after(self.result))


@dataclass(frozen=True)
class MappingPictures(drawing.MappingPictures):
    """Pictures of a `Mapping`; each method returns axes of matplotlib."""

    mapping: Mapping

    def floorplan(self, load: int = 0) -> drawing.Drawn:
        """Draw every used array with the layers on it; of several loads, one."""
        return axes_of(floorplan(self.mapping, load))

    def timeline(self) -> drawing.Drawn:
        """Draw what every layer does over time, two frames: three panels."""
        from cimsim.timing.simulate import simulate

        return axes_of(draw_timeline(self.mapping, simulate(self.mapping, trace=True)))


@dataclass(frozen=True)
class TimelinePictures(drawing.TimelinePictures):
    """Pictures of a `Timeline`; each method returns axes of matplotlib."""

    timeline: Timeline

    def stages(self) -> drawing.Drawn:
        """Draw the busiest stage of each unit: shares of cycles in service, waiting, blocked."""
        return axes_of(plots.busiest_stages(self.timeline))
