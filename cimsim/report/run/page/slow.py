"""Timeline, critical path and what would help, as they stand in a page."""

from __future__ import annotations

from cimsim.report.run.page.parts import Cell, Table, count, table, words
from cimsim.report.timeline.slow import SlowData
from cimsim.units import format_si

_SEEN = 0.0005  # of the latency: smaller parts say nothing


def slow_parts(found: SlowData | None) -> dict[str, object]:
    """Return what a template shows; empty values without data.

    Parameters
    ----------
    found : mapping
        As `cimsim.report.timeline.slow.slow_data` returned it.
    """
    if found is None:
        return {"timeline": None, "spent": None, "path": None, "changes": None}
    shown = {
        "states": found["states"], "rows": found["rows"], "frames_s": found["frames_s"],
        "interval_s": found["interval_s"],
    }  # fmt: skip
    return {
        "timeline": shown if found["rows"] else None,
        "spent": _spent(found), "path": _path(found), "changes": _changes(found),
    }  # fmt: skip


def _spent(found: SlowData) -> Table:
    """Return the timeline in words: what each layer did, mean over all of it."""
    rows = []
    for row in found["rows"]:
        means = [sum(shares) / max(1, len(shares)) for shares in row["shares"]]
        rest = max(0.0, 100 - sum(means))
        rows.append([words(row["name"]), *(Cell(f"{v:.0f} %", v) for v in (*means, rest))])
    heads = ("layer", *(name for name, _ in found["states"]), "idle")
    return table("spent-table", "What each layer's pipeline did, share of the time shown", heads,
                 rows)  # fmt: skip


def _path(found: SlowData) -> Table:
    rows = [
        [words(p["unit"]), words(p["what"]), count(p["cycles"]),
         Cell(format_si(p["s"], "s"), p["s"]), Cell(f"{p['share']:.1%}", p["share"])]
        for p in found["path"] if p["share"] >= _SEEN
    ]  # fmt: skip
    heads = ("layer", "what it did", "cycles", "time", "share")
    return table("path-table", "Critical path of the first frame: what made up its latency", heads,
                 rows)  # fmt: skip


def _changes(found: SlowData) -> Table:
    rows = [
        [words(c["what"], "fold"), words(c["option"]), Cell(format_si(c["interval_s"], "s"),
         c["interval_s"]), Cell(format_si(c["latency_s"], "s"), c["latency_s"]),
         Cell(f"{c['gain']:.2f} x", c["gain"])]
        for c in found["changes"]
    ]  # fmt: skip
    heads = ("change", "option", "frame interval", "latency", "gain")
    return table("change-table", "What would help, each simulated alone", heads, rows)
