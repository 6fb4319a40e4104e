"""``cimsim clip``: what a clip is read as."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.checked import App
from cimsim.cli.clips import (
    BlackOption,
    ClipOptions,
    StartOption,
    TolerateOption,
    WhiteOption,
)
from cimsim.cli.options import JsonOption
from cimsim.cli.steps import print_json

app = App(no_args_is_help=True, help="Clips: what is decoded and what is assumed.")


@app.command("show")
def show(
    file: Annotated[
        Path,
        typer.Argument(metavar="CLIP", help="A video, image, folder, pattern, animation or array."),
    ],
    frames: Annotated[
        str, typer.Option("--frames", metavar="N|all", help="Frames to decode and check.")
    ] = "all",
    start: StartOption = 0,
    black: BlackOption = None,
    white: WhiteOption = None,
    tolerate_damage: TolerateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Decode a clip as cimsim run does, and say what was found, assumed and changed.

    Every frame is decoded, so damage shows. Exit code 2 when cimsim run would
    refuse the clip, with the reason.

    \b
    cimsim clip show phone.mov
    cimsim clip show 'scan/f%03d.tif' --white 4095
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    from cimsim.display.styled import Screen
    from cimsim.video.sigma import MEANING

    options = ClipOptions(frames, start, None, black, white, tolerate_damage)
    clip = options.opened(file)
    count, height, width, _ = clip.shape
    low, high = clip.extremes
    if as_json:
        print_json({
            "file": str(file), "frames": count, "height": height, "width": width,
            "frames_per_second": clip.fps, "facts": clip.facts, "low": int(low),
            "high": int(high), "sigma": float(clip.sigma()), "notes": list(clip.notes),
        })  # fmt: skip
        return
    console = Screen(highlight=False, soft_wrap=True)
    rate = f", {clip.fps:.6g} frames/s" if clip.fps else ""
    console.print(f"{file}: {count} frame{'' if count == 1 else 's'} of {width} x {height}{rate}")
    for name in ("container", "codec", "pixels", "colours"):
        if name in clip.facts:
            console.print(f"{name + ':':<11}{clip.facts[name]}")
    console.print(f"{'values:':<11}{low}..{high} of 0..255, {MEANING} {clip.sigma():.1f}")
    for note in clip.notes or ("nothing was assumed",):
        console.print(f"note: {note}")
