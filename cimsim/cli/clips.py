"""Options that say which clip a command reads and how, and the clip that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import SizeOption, parse_size
from cimsim.errors import ConfigError

if TYPE_CHECKING:
    from cimsim.session.result import Result
    from cimsim.video.clip import Clip

InputOption = Annotated[
    Path | None,
    typer.Option(
        "--input",
        "-i",
        metavar="CLIP",
        help="Clean clip; noise is added. A video file, an image or a folder of images, a pattern "
        "(f%03d.png, 'f*.png'), an animation or an array (.npy). Default: the embedded clip.",
    ),
]
NoisyOption = Annotated[
    Path | None,
    typer.Option(
        "--noisy",
        metavar="CLIP",
        help="A clip that is noisy as it is, instead of --input: no noise is added; --sigma says "
        "how noisy it is, or it is estimated.",
    ),
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference", metavar="CLIP", help="Clean frames of the --noisy clip, to judge by."
    ),
]
FramesOption = Annotated[
    str | None,
    typer.Option(
        "--frames",
        metavar="N|all",
        help="Frames to denoise; 'all' for the whole clip, of any length.",
        show_default="5, or all of a shorter clip",
    ),
]
StartOption = Annotated[
    int, typer.Option("--start", metavar="N", help="First frame of the clip, counted from 0.")
]
BlackOption = Annotated[
    float | None,
    typer.Option(
        "--black",
        metavar="V",
        help="Code value of black in pictures and arrays.",
        show_default="0",
    ),
]
WhiteOption = Annotated[
    float | None,
    typer.Option(
        "--white",
        metavar="V",
        help="Code value of white, such as 4095 for 12 bits in 16.",
        show_default="as the file says, or the depth that holds its largest value",
    ),
]
TolerateOption = Annotated[
    bool,
    typer.Option(
        "--tolerate-damage",
        help="Go on where frames are damaged, missing or repeated, and say how many.",
    ),
]
VideoOption = Annotated[
    Path | None,
    typer.Option(
        "--video",
        metavar="FILE",
        help="Write the chip's frames as a video, too: .mp4 (H.264), .mkv (FFV1, lossless).",
    ),
]
_USUAL = 5
VIDEOS = (".mp4", ".mkv")


@dataclass(frozen=True)
class ClipOptions:
    """What the options say of a clip; ``frames`` as written, None where not given."""

    frames: str | None = None
    start: int = 0
    size: tuple[int, int] | None = None
    black: float | None = None
    white: float | None = None
    tolerate_damage: bool = False

    @property
    def count(self) -> int | None:
        """Frames asked for; None for all.

        Raises
        ------
        ConfigError
            No positive whole number and not ``all``.
        """
        text = (self.frames or str(_USUAL)).strip().lower()
        if text == "all":
            return None
        if not (text.isascii() and text.isdecimal() and int(text[:19]) > 0 and len(text) < 19):
            raise ConfigError(f"--frames: expected at least 1, or 'all', got {self.frames}")
        return int(text)

    def opened(self, path: Path | None) -> Clip:
        """Open a clip (None: the embedded one), and decode it once.

        Raises
        ------
        ConfigError, InputError
            What cannot be read, is damaged, too short or too small.
        """
        from cimsim.video.clip import Clip, load_clip
        from cimsim.video.embedded import EmbeddedSource

        if self.start < 0:
            raise ConfigError(f"--start: expected at least 0, got {self.start}")
        count = self.count
        if path is None:
            if self.black is not None or self.white is not None:
                raise ConfigError("--black, --white: say levels of a clip of your own (--input)")
            height, width = self.size or (256, 256)
            clip = Clip(EmbeddedSource("default", height, width), count, self.start)
        else:
            clip = load_clip(
                path, count, self.start, size=self.size, black=self.black, white=self.white,
                tolerate_damage=self.tolerate_damage, at_most=self.frames is None,
            )  # fmt: skip
        clip.check()
        return clip


@dataclass(frozen=True)
class ReadingOptions:
    """A group of options: which part of a clip is read, and how."""

    start: StartOption = 0
    size: SizeOption = None
    black: BlackOption = None
    white: WhiteOption = None
    tolerate_damage: TolerateOption = False

    def of(self, frames: str | None) -> ClipOptions:
        """Return them with a number of frames, as it was written.

        Raises
        ------
        ConfigError
            No size.
        """
        return ClipOptions(
            frames, self.start, parse_size(self.size) if self.size else None, self.black,
            self.white, self.tolerate_damage,
        )  # fmt: skip

    def given(self, frames: str | None) -> dict[str, object]:
        """Return option -> value, for messages; None or False where not given."""
        return {
            "--size": self.size, "--frames": frames, "--start": self.start or None,
            "--black": self.black, "--white": self.white, "--tolerate-damage": self.tolerate_damage,
        }  # fmt: skip


def pair(
    options: ClipOptions, clip: Path | None, noisy: Path | None, reference: Path | None
) -> tuple[Clip, Clip | None]:
    """Open the clip to run and the clean one to judge a noisy one by.

    Raises
    ------
    ConfigError
        Options that exclude each other, or clips of different length or size.
    """
    if clip is not None and noisy is not None:
        raise ConfigError("--noisy: takes the place of --input; a clean clip to judge by is given "
                          "as --reference")  # fmt: skip
    if reference is not None and noisy is None:
        raise ConfigError("--reference: the clean frames of a --noisy clip; there is none")
    opened = options.opened(noisy if noisy is not None else clip)
    if reference is None:
        return opened, None
    clean = options.opened(reference)
    if clean.shape != opened.shape:
        sizes = [f"{t} frames of {w}x{h}" for t, h, w, _ in (opened.shape, clean.shape)]
        raise ConfigError(
            f"--reference: {sizes[1]}, but the noisy clip has {sizes[0]}; --start, --frames and "
            "--size hold for both"
        )
    return opened, clean


def clip_notes(clip: Clip, reference: Clip | None) -> tuple[str, ...]:
    """Return what was assumed about the clips, for the result."""
    found = [f"clip {clip.path.name}: {note}" for note in clip.notes]
    if reference is not None:
        found += [f"reference {reference.path.name}: {note}" for note in reference.notes]
    return tuple(found)


def write_video(path: Path, result: Result, fps: float | None) -> None:
    """Write the chip's frames as a video, at the rate of the clip."""
    from cimsim.video.io import displayed, write_clip

    write_clip(path, displayed(result.frames["chip"]), fps or 25.0)
