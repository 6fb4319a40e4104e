"""Pictures of a study from Python: each method returns axes of matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.display import drawing
from cimsim.report.show import axes_of
from cimsim.studies import pictures

if TYPE_CHECKING:
    from cimsim.studies.study import Outcome


@dataclass(frozen=True)
class StudyPictures(drawing.StudyPictures):
    """Pictures of an `Outcome`."""

    outcome: Outcome

    def over(self, x: str, y: str) -> drawing.Drawn:
        """Draw a number over a setting, as in ``over("adc.bits", "psnr")``; bands are 5 .. 95 %.

        Raises
        ------
        InputError
            No such setting or number, or more lines than can be told apart.
        """
        figure, axes = pictures.draw_over(self.outcome.table, x, y)
        pictures.finish(axes)
        return axes_of(figure)

    def pareto(self, y: str, x: str) -> drawing.Drawn:
        """Draw two objectives and the front that no point beats: ``pareto("psnr", "energy")``.

        Raises
        ------
        InputError
            None of this study's numbers.
        """
        figure, axes = pictures.draw_pareto(self.outcome.table, [y, x])
        pictures.finish(axes)
        return axes_of(figure)
