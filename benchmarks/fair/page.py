"""Rewrite docs/like_with_like.md and the statements that other pages take from it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fair import decompose, picture, told
from benchmarks.fair.measure import FAST
from benchmarks.fair.record import Record
from benchmarks.paper.document import rewrite

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "like_with_like.md"
STATEMENT = "like_with_like"  # markers in pages that quote the statement of the first chip
TRAINED = "trained"  # markers of the table of chips that networks were trained for
QUOTING = (DOCS.parent / "README.md", DOCS / "latency.md", DOCS / "findings.md")


def parts(record: Record) -> dict[str, str]:
    """Return the generated parts of the page by the name of their markers."""
    chips = told.trained_chips(record) or [told.FIRST]
    found = {
        "statement": "\n\n".join(told.statement(record, hw) for hw in chips),
        TRAINED: told.trained_table(record),
        "tables": told.tables(record),
        "split_time": told.split_table(record, decompose.interval, FAST),
        "split_latency": told.split_table(record, decompose.latency, FAST),
        "split_energy": told.energy_table(record),
        "chips": "\n\n".join(
            text for network in (told.CIMNET, told.FOLD) if (text := told.ratios(record, network))
        )
        or "One chip so far.",
        "stride": "Not measured yet.",
    }
    if record.points:
        found["stride"] = (
            f"{told.stride_told(record.points)}\n\n![strides](like_with_like/strides.png)\n\n"
            f"{told.stride_table(record.points)}"
        )
    found["stride_db"] = "Not measured yet."
    if record.strides:
        found["stride_db"] = "\n\n".join(
            [told.stride_db_told(record.strides),
             told.stride_db_table(record.strides, record.points),
             told.strides_measured(record.strides)]
        )  # fmt: skip
    return found


def quoted(record: Record, hw: str = told.FIRST) -> str:
    """Return what other pages say, with its markers: they are rewritten by `write`."""
    text = told.statement(record, hw)
    return f"<!-- begin {STATEMENT} -->\n{text}\n<!-- end {STATEMENT} -->\n"


def write(record: Record, page: Path = PAGE, quoting: tuple[Path, ...] = QUOTING) -> None:
    """Draw the pictures and rewrite what stands between markers, here and in quoting pages.

    Raises
    ------
    InputError
        When a page lacks its markers.
    """
    folder = page.parent / page.stem
    picture.draw_trade_off(record, told.FIRST, folder / "trade_off.png")
    if record.points:
        picture.draw_strides(record.points, folder / "strides.png", record.strides)
    rewrite(page, parts(record))
    for other in quoting:
        quotations = {STATEMENT: told.statement(record)}
        if f"<!-- begin {TRAINED} -->" in other.read_text(encoding="utf-8"):
            quotations[TRAINED] = told.trained_table(record)
        rewrite(other, quotations)
