"""cimsim: what a network does on a computing-in-memory chip - quality, cycles and energy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A wheel holds frontends/ and hwconfigs/ in here, a source checkout has them beside this folder.
_here = Path(__file__).resolve().parent
if not (_here / "frontends" / "__init__.py").is_file():
    __path__.append(str(_here.parent))
