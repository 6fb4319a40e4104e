"""``cimsim run`` of a clip: a network that denoises it, on the chip and in float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cimsim.cli.ask import print_result
from cimsim.cli.clips import clip_notes, pair, write_video
from cimsim.cli.prepared import Prepared, trained_for, weights_doubts
from cimsim.cli.steps import Bars, exported, write_timeline
from cimsim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.text import Text

    from cimsim.chip.spec import Chip
    from cimsim.mapping.mapping import Mapping
    from cimsim.session.loading import Network
    from cimsim.session.programmed import ProgrammedChip
    from cimsim.session.result import Result
    from cimsim.studies.whole import Asked
    from cimsim.video.clip import Clip

_WRITTEN = "before_after.png, plots/, layers.csv, result.json"


@dataclass(frozen=True)
class _Opened:
    """The clip to run, the clean one to judge it by, its noise, and what was assumed about it."""

    frames: Clip
    judge: Clip | None
    sigma: float
    notes: tuple[str, ...]


def denoise(run: Prepared) -> None:
    """Run a clip and print and write what it gave."""
    from cimsim.display.styled import Screen, styled
    from cimsim.session.loading import load_network
    from cimsim.studies.whole import Whole

    output = run.output
    # JSON has the output for itself
    console = Screen(stderr=output.as_json)
    asked = _asked(run)
    # files that stand elsewhere are made anew, and code of the user's own may have changed
    files = output.trace_file or output.picture or output.video
    apart = files or run.metrics or run.writers or run.draws.device
    cached = not output.no_cache and not apart
    whole = Whole.of(asked, run.command, cached, strict=output.strict)
    again = whole.written(run.target, unique=output.out is None)
    if again is not None:
        print_result(*again, [], console, output, _WRITTEN)
        return
    opened = _opened(run)
    network = load_network(
        run.network.model, run.options, run.network.weights, run.chip_seed, run.chip.name
    )
    networks = [network.streaming(), network] if run.network.streaming else [network]
    with Bars(console, output.quiet) as report:
        placed = _placed(run, asked, networks, opened.frames.size, report)
        result = _simulated(run, networks[0], placed, opened, report)
        report("writing", 0, 1)
        written: list[str | Text] = []
        try:
            folder = _write(run, result, written)
        except InputError:
            # a full disk must not take the numbers along
            from cimsim.report.run.tables import print_result as print_tables

            print_tables(result, console)
            raise
        report("writing", 1, 1)
        whole.keep(folder, whole=result.frame[0] == len(opened.frames))
        height, columns = opened.frames.size
        written += write_timeline(
            placed[0], run.on.schedule.value, f"{networks[0].title}, {columns} x {height}",
            output.trace_file, output.picture, report,
        )  # fmt: skip
        if output.video is not None:
            write_video(output.video, result, opened.frames.fps)
            written.append(styled("video: [bold]{}[/]", output.video))
    print_result(result, folder, written, console, output, _WRITTEN)


def _asked(run: Prepared) -> Asked:
    """Return what the key of the run holds beside its options."""
    from cimsim.studies.points import Network as Net
    from cimsim.studies.whole import Asked

    network, clip = run.network, run.clip
    return Asked(
        Net.of(network.model, run.options, network.weights, network.streaming), run.chip, run.on.hw,
        run.on.mapping, run.on.allocation, run.chip_seed,
        [one for one in (clip.clip, clip.noisy, clip.reference) if one],
        [run.draws.programmed] if run.draws.programmed else [],
    )  # fmt: skip


def _opened(run: Prepared) -> _Opened:
    frames, judge = pair(run.reading, run.clip.clip, run.clip.noisy, run.clip.reference)
    sigma, told = _sigma(run.clip.sigma, run.held, frames, run.clip.noisy is not None)
    return _Opened(frames, judge, sigma, (*clip_notes(frames, judge), *told))


def _sigma(
    sigma: float | None, held: ProgrammedChip | None, clip: Clip, noisy: bool
) -> tuple[float, tuple[str, ...]]:
    """Return the noise as given, as the programmed chip knows it, or as the clip has it."""
    from cimsim.session.asked import estimated_sigma

    if sigma is not None:
        return sigma, ()
    if noisy:
        return estimated_sigma(clip)
    return held.sigma if held else 15.0, ()


def _placed(
    run: Prepared, asked: Asked, networks: list[Network], size: tuple[int, int], report: Bars
) -> list[Mapping]:
    """Return each network, exported for frames of a size, on the chip."""
    import cimsim
    from cimsim.studies.graphs import KeptGraph

    output, placed = run.output, []
    for done, made in enumerate(networks):
        report("tracing", done, len(networks))
        net = replace(asked.network, streaming=run.network.streaming and done == 0)
        kept = KeptGraph.of(net, size, run.chip, asked.seed, not output.no_cache)
        graph = exported(made, size, output.strict, output.partial, run.chip, kept)
        placed.append(cimsim.map_graph(graph, run.chip, run.on.mapping, run.on.allocation))
    report("tracing", 1, 1)
    return placed


def _simulated(
    run: Prepared, network: Network, placed: list[Mapping], opened: _Opened, report: Bars
) -> Result:
    """Run the clip, and say of each layer what its weights' card knows."""
    import cimsim
    from cimsim.report.run.contributions import doubts, with_contributions
    from cimsim.session.loading import weights_hash

    doubted, card = weights_doubts(network, run.chip) + network.doubts(opened.sigma), network.card
    if card is not None:
        doubted += doubts(placed[0].graph, card.contributions, card.contributions_on)
    result = cimsim.simulate(
        placed[0], opened.frames, noise_sigma=opened.sigma, seed=run.seed,
        schedule=run.on.schedule.value, title=network.title,
        identity=network.identity | {"hash": weights_hash(network.module)},
        threads=run.draws.threads, progress=report,
        notes=(*_notes(network, run.chip), *opened.notes), doubts=doubted,
        as_written=placed[1] if run.network.streaming else None, programmed=run.held,
        frame_rate_hz=run.draws.fps, programmings=run.draws.seeds,
        noisy=run.clip.noisy is not None, reference=opened.judge, command=run.command,
        metrics=run.metrics, device=run.draws.device,
    )  # fmt: skip
    return result if card is None else with_contributions(result, card.contributions)


def _write(run: Prepared, result: Result, written: list[str | Text]) -> Path:
    from cimsim.report.run.folder import write

    return write(
        result, run.target, unique=run.output.out is None, writers=run.writers, say=written.append
    )


def _notes(network: Network, chip: Chip) -> tuple[str, ...]:
    from cimsim.chip.differences import differences

    found = []
    trained = trained_for(network)
    if trained is not None and not differences(chip, trained[1]):
        found.append(f"weights {trained[0]}: trained for this chip (--weights takes others)")
    if network.random_weights:
        found.append("random weights: PSNR means nothing")
    if network.is_cascade:
        found.append(
            "the network runs as written; with --streaming it reuses results of its first stage"
        )
    return tuple(found)
