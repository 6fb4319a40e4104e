"""``cimsim count``: windows, activations and conversions; no weights needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cimsim.boundary import json_text
from cimsim.cli.groups import ChipOptions, grouped
from cimsim.cli.options import (
    ArgOption,
    InnerOption,
    InputShapeOption,
    MappingOption,
    NoCacheOption,
    PartialOption,
    PerFrameOption,
    WidthOption,
    model_options,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cimsim.chip.spec import Chip
    from cimsim.graph.ir import LayerGraph
    from cimsim.report.chip.counts import CountRow, Ratio
    from cimsim.session.loading import Network

# the paper's networks, as it draws them: CIM-NET with its coarse path at every stride
_DRAWN: dict[str, int | str] = {"coarse": 1}
_DEFAULT = ("fastdvdnet-block", "baseline-o1", "baseline-o2", "abla-net", "cimnet")


@dataclass(frozen=True)
class CountedNetworks:
    """The networks, and options of theirs."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Network, package.module:Class, .onnx or .pt2 (give it several times); default: "
            "the block, o1, o2, Abla-NET, CIM-NET.",
        ),
    ] = None
    stride: Annotated[
        list[int] | None,
        typer.Option("--stride", metavar="S", help="Strides of strided networks; default: all."),
    ] = None
    width: WidthOption = None
    per_frame: PerFrameOption = None
    inner: InnerOption = None
    arg: ArgOption = None

    @property
    def given(self) -> dict[str, int | str]:
        """Options that were given; without a network, the paper's own."""
        given = model_options(
            self.arg, width=self.width, per_frame=self.per_frame, inner=self.inner
        )
        return given if self.model is not None else _DRAWN | given


@dataclass(frozen=True)
class _Size:
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size; a multiple of 32 is exact.")
    ] = "256x256"


@dataclass(frozen=True)
class OnArrays(ChipOptions, _Size):
    """The frame, and the chip whose arrays are counted."""

    mapping: MappingOption = "im2col"


@dataclass(frozen=True)
class How:
    """What is taken, kept and printed."""

    input_shape: InputShapeOption = None
    partial: PartialOption = False
    no_cache: NoCacheOption = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False


@grouped
def count(networks: CountedNetworks, on: OnArrays, how: How) -> None:
    """Count windows (MVMs), array activations, ADC conversions and weights of networks.

    Only the array size and the converters of the chip matter here; the network need not fit.

    Without --model CIM-NET stands here as its paper draws it; by name it is the zoo's, which from
    S = 8 on has no coarse path (--arg coarse=1 is the paper's).

    \b
    cimsim count
    cimsim count --model cimnet --model fastdvdnet --size 960x544
    cimsim count --stride 8 --set array.rows=512 --set array.cols=512 --json
    cimsim count --model net.onnx
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.chip.load import load_hw
    from cimsim.display.styled import Screen
    from cimsim.report.chip.counts import comparisons

    chip, frame = load_hw(on.hw, on.overrides), parse_size(on.size)
    counter = _Counter(chip, frame, on, how)
    with Screen(stderr=True).status("tracing networks") as status:
        named = networks.model or list(_DEFAULT)
        for name, title, network in _networks(named, networks.stride, networks.given):
            status.update(f"tracing {title}")
            counter.add(name, title, network)
    counter.kept.flush()
    ratios = comparisons(counter.rows)
    if how.as_json:
        data = {
            "size": {"height": frame[0], "width": frame[1]},
            "array": {"rows": chip.array.rows, "cols": chip.weight_cols},
            "networks": [row.to_dict() for row in counter.rows],
            "comparisons": [asdict(ratio) for ratio in ratios],
        }
        typer.echo(json_text.dump(data))
        return
    array = f"{chip.array.rows} x {chip.weight_cols}"
    _print(counter.rows, ratios, array, " or ".join(counter.looked_at))


class _Counter:
    """Counts networks one after another: from the store, from an outline, or exported."""

    def __init__(self, chip: Chip, frame: tuple[int, int], on: OnArrays, how: How) -> None:
        self._chip, self._frame, self._on, self._how = chip, frame, on, how
        self.kept = _Kept(chip, on.mapping, frame, how.no_cache)
        self.rows: list[CountRow] = []
        self.looked_at: dict[str, None] = {}

    def add(self, name: str, title: str, network: partial[Network]) -> None:
        """Count a network, which is built where its counts are not known."""
        from cimsim.graph.coverage import check
        from cimsim.report.chip.counts import count_row
        from cimsim.report.chip.outlines import outline
        from cimsim.session.loading import is_own

        shapes = self._how.input_shape
        own = is_own(name) or shapes is not None
        row = None if own else self.kept.row(name, title, network.args)
        if row is not None:
            self.rows.append(row)
            self.looked_at[self._on.size] = None
            return
        # strategies of the user's may look at more than shapes
        known = None
        if self.kept.plain and not own:
            known = outline(network.args[0], network.args[1], self._frame)
        graph = known or _trace(network().taking(shapes), self._frame)
        check(graph, self._how.partial, self._chip)
        self.rows.append(count_row(name, title, graph, self._chip, self._on.mapping))
        taken = " and ".join("x".join(map(str, op.output.shape)) for op in graph.inputs)
        self.looked_at[taken if is_own(name) else self._on.size] = None
        if not own:
            self.kept.keep(self.rows[-1], network.args)


class _Kept:
    """Counts of networks of the zoo that were worked out before, by all that they depend on."""

    def __init__(self, chip: Chip, mapping: str, frame: tuple[int, int], off: bool) -> None:
        from cimsim.studies.keys import Stage, values_of
        from cimsim.studies.stages import PLAIN_STRATEGIES
        from cimsim.studies.store import Store

        own = mapping.partition(":")[0] not in PLAIN_STRATEGIES  # foreign code may change
        self.plain = not own
        self._store = None if off or own else Store.usual()
        self._stage, self._values = Stage("count", reads=("*",)), values_of(chip)
        self._what = {"mapping": mapping, "frame": list(frame)}

    def _key(self, network: Sequence[object]) -> str:
        return self._stage.key((), self._values, network=list(network), **self._what)

    def row(self, name: str, title: str, network: Sequence[object]) -> CountRow | None:
        """Return the counts of a network as it is built, or None."""
        from cimsim.report.chip.counts import RowData, row_of

        entry = None if self._store is None else self._store.get(self._key(network))
        if entry is None or not isinstance(entry.data, dict):
            return None
        return row_of(cast("RowData", entry.data | {"name": name, "title": title}))

    def keep(self, row: CountRow, network: Sequence[object]) -> None:
        """Keep the counts of a network that is modelled as a whole."""
        if self._store is not None and row.coverage.complete:
            self._store.put(self._key(network), "count", asdict(row))

    def flush(self) -> None:
        """Tell the index what was used."""
        if self._store is not None:
            self._store.flush()


def _networks(
    names: Sequence[str], strides: list[int] | None, given: dict[str, int | str]
) -> Iterator[tuple[str, str, partial[Network]]]:
    """Yield (key, title, builder) of each network at each stride asked for.

    The other options go to the networks that have them.
    """
    from cimsim.errors import InputError
    from cimsim.session.loading import RANDOM, is_own, load_network, load_outline
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.registry import flag, info

    own = [name for name in names if is_own(name)]
    try:
        entries = {name: info(name) for name in names if name not in own}
        options = {
            name: {key: value for key, value in given.items() if key in entry.options}
            for name, entry in entries.items()
        }
        for name, entry in entries.items():
            entry.resolve(options[name])
    except ZooError as error:
        raise InputError(str(error)) from None
    for key in given:
        if not own and not any(key in taken for taken in options.values()):
            raise InputError(f"{flag(key)}: none of {', '.join(names)} has this option")
    for name in names:
        if name in own:
            yield name, name, partial(load_network, name, given, RANDOM)
            continue
        entry = entries[name]
        if "stride" not in entry.options:
            key = entry.weights_stem(options[name]).replace("_", "-")
            yield (
                key,
                entry.titled(options[name]),
                partial(load_outline, name, options[name]),
            )
            continue
        # the paper's figures stop at 8 for all but CIM-NET
        usual = [
            s
            for s in entry.options["stride"].allowed
            if isinstance(s, int) and (s <= 8 or name == "cimnet")
        ]
        for stride in strides or usual:
            build = partial(load_outline, name, options[name] | {"stride": stride})
            coarse = entry.resolve(options[name] | {"stride": stride}).get("coarse", 1)
            alone = "" if coarse else ", no coarse path"
            yield f"{name}-s{stride}", f"{entry.title} S={stride}{alone}", build


def _trace(network: Network, frame: tuple[int, int]) -> LayerGraph:
    import cimsim

    graph: LayerGraph = cimsim.trace(network.module, network.example(*frame), name=network.title)
    return graph


def _print(rows: Sequence[CountRow], ratios: Sequence[Ratio], array: str, size: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from cimsim.display.styled import Screen, styled

    console = Screen(highlight=False)
    heads = (
        "windows (MVMs)",
        "array activations",
        "ADC conversions",
        "weights, as placed",
        "arrays",
    )
    table = Table("network", title_justify="left", title_style="bold cyan", box=None)
    table.title = f"One frame of {size} on arrays of {array} weights; per pixel in grey"
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        pairs = [
            styled(f"{getattr(row.counts, column):,}\n[dim]{row.per_pixel(column):.10g}[/]")
            for column in ("windows", "activations", "conversions")
        ]
        c = row.counts
        placed = "" if c.cells == c.weights else f"\n[dim]{c.cells:,}[/]"
        table.add_row(row.title, *pairs, styled(f"{c.weights:,}{placed}"), f"{c.arrays:,}")
    console.print(table)
    for row in rows:
        if not row.coverage.complete or row.coverage.macs_digital:
            for line in row.coverage.lines():
                console.print(f"{row.title}: {line}")
    networks = list(dict.fromkeys(ratio.network for ratio in ratios))
    if not networks:
        return
    names = list(dict.fromkeys(ratio.name for ratio in ratios))
    compared = Table("compared", title_justify="left", title_style="bold cyan", box=None)
    compared.title = "CIM-NET against the others"
    for name in networks:
        compared.add_column(name, justify="right", no_wrap=True)
    values = {(r.name, r.network): f"{r.value:.4g} {r.unit}" for r in ratios}
    meaning = {r.name: r.meaning for r in ratios}
    for name in names:
        cells = [values.get((name, network), "") for network in networks]
        compared.add_row(Text.assemble(name, "\n", (meaning[name], "dim")), *cells)
    console.print()
    console.print(compared)
