"""cimsim: what a network does on a computing-in-memory chip - quality, cycles and energy.

>>> import cimsim
>>> chip = cimsim.load_hw("eflash40nm", overrides={"adc.bits": 6})
>>> chip.adc.bits
6
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.3.0"

_HERE = Path(__file__).resolve().parent


class _Beside:
    """Finds frontends/ and hwconfigs/, which a checkout has beside this folder, a wheel in it."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`; everything else in the checkout is no part of us."""
        if name not in ("cimsim.frontends", "cimsim.hwconfigs"):
            return None
        folder = _HERE.parent / name.rpartition(".")[2]
        return spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if not (_HERE / "frontends" / "__init__.py").is_file():
    sys.meta_path.append(_Beside)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from cimsim.chip.load import load_hw as load_hw
    from cimsim.chip.spec import Chip as Chip
    from cimsim.frontends.onnx.network import load_onnx as load_onnx
    from cimsim.frontends.torch_export import trace as trace
    from cimsim.frontends.trainers import trained_for as trained_for
    from cimsim.mapping.mapping import Mapping as Mapping
    from cimsim.placing.by_name import map_graph as map_graph
    from cimsim.session.loading import load_network as load_network
    from cimsim.session.programmed import ProgrammedChip as ProgrammedChip
    from cimsim.session.programmed import program as program
    from cimsim.session.result import Result as Result
    from cimsim.session.simulation import run as run
    from cimsim.session.simulation import simulate as simulate
    from cimsim.studies.ablation import ablate as ablate
    from cimsim.studies.diagnosis import diagnose as diagnose
    from cimsim.studies.optimise import Search as Search
    from cimsim.studies.study import Study as Study
    from cimsim.video.clip import load_clip as load_clip

# Public names are imported when they are first used: torch and numba take their time.
_PUBLIC = {
    "Chip": "cimsim.chip.spec",
    "Mapping": "cimsim.mapping.mapping",
    "ProgrammedChip": "cimsim.session.programmed",
    "Result": "cimsim.session.result",
    "Search": "cimsim.studies.optimise",
    "Study": "cimsim.studies.study",
    "ablate": "cimsim.studies.ablation",
    "diagnose": "cimsim.studies.diagnosis",
    "load_clip": "cimsim.video.clip",
    "load_hw": "cimsim.chip.load",
    "load_network": "cimsim.session.loading",
    "load_onnx": "cimsim.frontends.onnx.network",
    "map_graph": "cimsim.placing.by_name",
    "program": "cimsim.session.programmed",
    "run": "cimsim.session.simulation",
    "simulate": "cimsim.session.simulation",
    "trace": "cimsim.frontends.torch_export",
    "trained_for": "cimsim.frontends.trainers",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cimsim' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
