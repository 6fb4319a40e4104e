"""Write docs/latency.md: cycles, frames per second and bottlenecks of CIM-NET and FastDVDnet.

python -m benchmarks.latency                                   # eflash40nm, 480x270 and 960x540
python -m benchmarks.latency --hw my_chip.yaml --size 480x270 --out /tmp/latency.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import cimsim
from benchmarks.fair.page import quoted
from benchmarks.fair.record import Record
from benchmarks.paper.console import make_console, run_command
from cimsim.cli.options import parse_size
from cimsim.files import replacing
from cimsim.mapping.mapping import Mapping
from cimsim.timing.analysis.advice import advice
from cimsim.timing.simulate import simulate
from cimsim.timing.timeline import Timeline

NETWORKS = (
    ("FastDVDnet block", "fastdvdnet-block", {}),
    ("FastDVDnet, 4 block runs", "fastdvdnet", {}),
    ("CIM-NET, S = 2", "cimnet", {"stride": 2}),
    ("CIM-NET, S = 4", "cimnet", {"stride": 4}),
    ("CIM-NET, S = 8", "cimnet", {"stride": 8, "coarse": 1}),
)
UNLIMITED = {"buffer.overflow": "ignore", "frames": "resident"}  # no memory is ever full


@dataclass(frozen=True)
class Row:
    """One network at one size in several ways of running it."""

    title: str
    mapping: Mapping
    pipelined: Timeline
    sequential: Timeline
    replicated: Timeline
    replicas: Mapping
    unlimited: Timeline


def measure(title: str, name: str, options: dict[str, int], size: str, hw: str) -> Row:
    """Map and simulate one network; no weights are needed."""
    network = cimsim.load_network(name, options, "random")
    graph = cimsim.trace(network.module, network.example(*parse_size(size)), name=name)
    mapping = cimsim.map_graph(graph, cimsim.load_hw(hw))
    replicas = cimsim.map_graph(graph, mapping.chip, allocation="whole_copies")
    unlimited = cimsim.map_graph(graph, cimsim.load_hw(hw, UNLIMITED))
    return Row(
        title, mapping, simulate(mapping), simulate(mapping, 1, "sequential"), simulate(replicas),
        replicas, simulate(unlimited),
    )  # fmt: skip


def document(rows: dict[str, list[Row]], hw: str) -> str:
    """Return the page."""
    parts = [HEAD.format(hw=hw)]
    for size, found in rows.items():
        parts.append(f"## {size}\n")
        parts.append(_table(found))
    parts += [_ratios(rows), _like_with_like(hw), _memories(rows), _what_helps(rows)]
    return "\n".join(parts)


HEAD = """# Latency of CIM-NET and FastDVDnet

*CIM-NET, S = 8* is here the network as its paper draws it (`--arg coarse=1`). The zoo's has two of
its fourteen layers, as the others give nothing ([ablation.md](ablation.md)): at 960x540 the same
52.9 ms, with 6 arrays and 18 mJ instead of 27 and 48.

Written by `python -m benchmarks.latency` on `{hw}`; nothing below is typed in. *Pipelined*: a layer
starts as soon as its rows are there and frames stream; *sequential*: layer after layer, frame after
frame. *Latency* is that of the first frame, *interval* the time between frames in the steady state.
Frames come from where the chip keeps them, and line buffers that its tiles do not hold are kept in
the global buffer or in DRAM, in time and energy at their cost. All networks are mapped plainly
(`im2col`, one copy of each layer) unless said otherwise: what a ratio is worth where each network
has its best mapping stands [below](#each-under-its-best-mapping). Cycles follow from the
description; what is not known of it (width of the bus, ports) has no interval here.
"""


def _table(rows: list[Row]) -> str:
    lines = [
        "| network | windows | arrays | latency | interval | frames/s | bottleneck | sequential |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        clock, slowest = row.mapping.chip.process.clock_hz, row.pipelined.bottleneck
        lines.append(
            f"| {row.title} | {row.mapping.total.windows:,} | {row.mapping.arrays_used} "
            f"| {row.pipelined.cycles_first_frame:,} cycles = "
            f"{_ms(row.pipelined.cycles_first_frame, clock)} "
            f"| {row.pipelined.interval:,} = {_ms(row.pipelined.interval, clock)} "
            f"| {row.pipelined.frames_per_second(clock):.3g} "
            f"| {_layer(row.mapping, slowest.name)} {slowest.stage} {slowest.share:.0%} "
            f"| {row.sequential.cycles:,} = {_ms(row.sequential.cycles, clock)} |"
        )
    return "\n".join(lines) + "\n"


def _layer(mapping: Mapping, name: str) -> str:
    """First operation that uses a programmed matrix."""
    return {layer.name: layer.ops[0] for layer in mapping.layers}.get(name, name)


def _ratios(rows: dict[str, list[Row]]) -> str:
    lines = [
        "## Where the ratio of windows goes\n",
        "FastDVDnet block divided by CIM-NET, S = 8:\n",
        "| size | windows | windows of the busiest layer | interval | latency | sequential "
        "| interval, spare arrays used |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    told = ""
    for size, found in rows.items():
        block, net = found[0], found[-1]
        ratio = {
            "windows": block.mapping.total.windows / net.mapping.total.windows,
            "busiest": _busiest(block) / _busiest(net),
            "interval": block.pipelined.interval / net.pipelined.interval,
            "latency": block.pipelined.cycles_first_frame / net.pipelined.cycles_first_frame,
            "sequential": block.sequential.cycles / net.sequential.cycles,
            "spare": block.replicated.interval / net.replicated.interval,
        }
        lines.append(f"| {size} | " + " | ".join(f"{r:.1f}" for r in ratio.values()) + " |")
        slow = [max(_services(row)) for row in (block, net)]
        told = EXPLAINED.format(
            **ratio, block_ii=slow[0], net_ii=slow[1],
            block_arrays=block.mapping.arrays_used, net_arrays=net.mapping.arrays_used,
            block_spare=block.replicas.arrays_used, net_spare=net.replicas.arrays_used,
        )  # fmt: skip
    return "\n".join([*lines, "", told])


EXPLAINED = """Layer after layer, time follows the windows: {windows:.1f} times as many take
{sequential:.1f} times as long; the rest is that an activation of CIM-NET's widest layer takes
{net_ii} cycles (its columns go through the converters one group after another) and one of the
block takes {block_ii} (reading the array). Pipelined, only the busiest layer counts: the block does
its four full-resolution layers on every pixel while CIM-NET's busiest layers run once per 8 x 8
block, {busiest:.0f} : 1, so mapped plainly the interval gains **more** than the windows say,
{interval:.1f}. The first frame gains {latency:.1f}: CIM-NET has to wait for whole rows of blocks
before its next layer can start. With the spare arrays holding replicas (CIM-NET: {net_arrays}
arrays become {net_spare}; block: {block_arrays} become {block_spare}) the ratio is {spare:.1f}:
the block, with few large layers, has more to gain from replicas than CIM-NET, whose layers are
equally busy.
"""


def _busiest(row: Row) -> int:
    matrices = [node.windows for node in row.pipelined.nodes if node.kind == "matrix"]
    return max(matrices) // row.pipelined.frames


def _services(row: Row) -> list[int]:
    return [
        max(node.busy) // (node.windows // node.replicas)
        for node in row.pipelined.nodes
        if node.kind == "matrix"
    ]


def _like_with_like(hw: str) -> str:
    """Quote the comparison of best mappings, which has a benchmark of its own."""
    return f"{LIKE_WITH_LIKE}\n{quoted(Record.read(), hw)}"


LIKE_WITH_LIKE = """## Each under its best mapping

The ratios above hold for one mapping. The next paragraphs come from the record of
`python -m benchmarks.fair` (frames of 960x540), which maps each network as well as the chip allows:
[like_with_like.md](like_with_like.md).
"""


def _memories(rows: dict[str, list[Row]]) -> str:
    chip = next(iter(rows.values()))[0].mapping.chip
    lines = [
        "## What memories cost\n",
        f"Frames come from `{chip.frames}`; a tile has {chip.buffer.size_b / 1024:.0f} KiB, the "
        f"global buffer {chip.global_buffer.size_b / 1024:,.0f} KiB. Beside it the same with "
        "memories that are never full (`buffer.overflow=ignore`, `frames=resident`).\n",
        "| size | network | line buffers | largest | kept in the global buffer | in DRAM "
        "| interval | without limits | more |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size, found in rows.items():
        for row in found:
            clock, edges = row.mapping.chip.process.clock_hz, row.unlimited.edges
            kept = list(row.pipelined.spilled.values())
            more = row.pipelined.interval / row.unlimited.interval - 1
            lines.append(
                f"| {size} | {row.title} | {sum(edge.n_bytes for edge in edges) / 1024:,.0f} KiB "
                f"| {max(edge.n_bytes for edge in edges) / 1024:,.0f} KiB "
                f"| {kept.count('global_buffer')} of {len(edges)} | {kept.count('dram')} "
                f"| {_ms(row.pipelined.interval, clock)} | {_ms(row.unlimited.interval, clock)} "
                f"| {100 * more:.1f} % |"
            )
    return "\n".join(lines) + "\n"


def _what_helps(rows: dict[str, list[Row]]) -> str:
    lines = [
        "## What would help\n",
        "Each line is one change, simulated anew at the first size.\n",
        "| network | change | interval | gain |", "|---|---|---:|---:|",
    ]  # fmt: skip
    for row in next(iter(rows.values())):
        clock = row.mapping.chip.process.clock_hz
        for change in advice(row.mapping, row.pipelined)[:4]:
            option = f" (`{change.option}`)" if change.option else ""
            lines.append(
                f"| {row.title} | {change.what}{option} | {_ms(change.interval, clock)} "
                f"| {change.gain:.2f} x |"
            )
    return "\n".join(lines) + "\n"


def _ms(cycles: int, clock_hz: float) -> str:
    ms = 1e3 * cycles / clock_hz
    return f"{ms:,.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def main(
    hw: Annotated[str, typer.Option(help="hardware description")] = "eflash40nm",
    size: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT, may be repeated")] = None,
    out: Annotated[Path, typer.Option(help="page to write")] = Path("docs/latency.md"),
) -> None:
    """Map and simulate the networks, then write the page."""
    console = make_console()
    rows: dict[str, list[Row]] = {}
    for one in size or ["480x270", "960x540"]:
        for title, name, options in NETWORKS:
            console.print(f"{one}  {title}")
            rows.setdefault(one, []).append(measure(title, name, options, one, hw))
    with replacing(out) as scratch:
        scratch.write_text(document(rows, hw), encoding="utf-8")
    console.print(f"{out}")


if __name__ == "__main__":
    run_command(main)
