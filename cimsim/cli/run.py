"""``cimsim run``: quality, cycles and energy of a network on a chip."""

from __future__ import annotations

import typer

from cimsim.cli.ask import ask
from cimsim.cli.denoise import denoise
from cimsim.cli.groups import grouped
from cimsim.cli.prepared import Draws, Output, RunClip, RunNetwork, RunOnChip, prepare
from cimsim.cli.question import Question


@grouped
def run(
    context: typer.Context, network: RunNetwork, on: RunOnChip, clip: RunClip, draws: Draws,
    question: Question, output: Output,
) -> None:  # fmt: skip
    """Run a network on a chip: quality, cycles and energy per frame. Default: denoise a clip.

    The same mapping is executed (quality), timed (cycles) and charged (energy).
    Tables go to the screen, everything else to runs/<time>-<model>/.

    \b
    cimsim run
    cimsim run --model fastdvdnet-block --input clip.mp4 --sigma 25 --frames 10
    cimsim run --model fastdvdnet --weights model.pth --streaming
    cimsim run --model cimnet --hw my_chip.yaml --set adc.bits=6 --set tile.count=40
    cimsim run --noisy night.mp4 --start 100 --frames all --video denoised.mp4
    cimsim run --set device.kind=pcm --time 30d
    cimsim run --seeds 5
    cimsim run --model mynets:LeNet --weights lenet.pt --task classification --data digits.npz
    cimsim run --model mynets:Keywords --arg classes=12 --input-shape 1x98x40
    cimsim run --task keywords --hw wtm2101 --model keyword-lstm
    cimsim program --out chip.safetensors && cimsim run --programmed chip.safetensors
    """  # noqa: D301 - \b keeps typer from re-flowing the examples
    prepared = prepare(context, network, on, clip, draws, question, output)
    if prepared.question.asked:
        ask(prepared)
    else:
        denoise(prepared)
