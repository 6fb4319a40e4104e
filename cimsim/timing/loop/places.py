"""Records of the event loop that are found by address, in compiled code."""

from __future__ import annotations

from cimsim.timing.loop.accessors import first, reference
from cimsim.timing.loop.records import Header, StageState

stage_at = reference(StageState)
header_of = first(Header)
