"""Code blocks of Markdown pages: found, told apart, and run as a reader would run them.

In a page stand, in this order of reading: files (a block with ``title="name.py"``, or whose first
line is ``# name.py``), Python (in one namespace, from top to bottom), and commands (blocks without
a language, or ``console`` blocks in which they follow ``$``). What a ``console`` block prints below
a command is held to what the command prints: words must agree, numbers within 2 %.

A comment in front of a block says more::

    <!-- not run: needs a queue of Slurm -->
    <!-- slow -->
    <!-- after: own_network.md -->        at the top of a page: its files are there already
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.DOTALL | re.MULTILINE,
)
_COMMENT = re.compile(r"<!-- (?P<text>(?:not run|slow|after)[^>]*?) -->\s*$")
_TITLE = re.compile(r'title="(?P<name>[^"]+)"')
_NAMED = re.compile(r"# (?P<name>[\w./]+\.\w+)\n")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
CLOSE = 0.02  # of a printed number: another processor's float32 may move the last digits


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    title: str
    text: str
    slow: bool = False
    why_not: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Commands with what the page says they print, which may be empty."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        if self.language == "console":
            parts = re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]
            return [tuple(part.partition("\n")[::2]) for part in parts]
        lines = joined.splitlines()
        return [(line, "") for line in lines if line.strip() and not line.startswith("#")]


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        info = match["info"].strip()
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["text"].splitlines(True))
        language = info.split(" ")[0] if info else ""
        titled = _TITLE.search(info) or _NAMED.match(body)
        told = _COMMENT.search(text[: match.start()])
        told = told["text"] if told else ""
        found.append(Block(
            path.name, text[: match.start()].count("\n") + 2, language,
            titled["name"] if titled else "", body, told == "slow",
            told.partition(": ")[2] if told.startswith("not run") else "",
        ))  # fmt: skip
    return found


def after(path: Path) -> str | None:
    """Return the page whose files this one goes on with."""
    found = re.search(r"<!-- after: (\S+) -->", path.read_text(encoding="utf-8"))
    return found[1] if found else None


def run_page(path: Path, place: Path, names: dict | None = None) -> None:
    """Run every block of a page that is not slow, in a folder.

    Parameters
    ----------
    path : Path
    place : Path
        Working directory; it becomes the place of imports, too.
    names : dict, optional
        What Python blocks find defined.
    """
    names = {"__name__": "__main__"} if names is None else names
    with inside(place):
        for block in blocks(path):
            if not block.why_not and not block.slow:
                run_block(block, place, names)


def run_block(block: Block, place: Path, names: dict, extra: str = "") -> None:
    """Run one block; ``extra`` stands behind each command."""
    if block.title:
        (place / block.title).parent.mkdir(parents=True, exist_ok=True)
        (place / block.title).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        code = "\n" * (block.line - 1) + block.text
        exec(compile(code, str(DOCS / block.page), "exec"), names)
    elif block.language in ("", "console"):
        for command, output in block.commands:
            printed = run_command(f"{command} {extra}" if extra else command, place)
            check_output(output, printed, f"{block.place}: {command}")


def run_command(command: str, place: Path) -> str:
    """Run one line of a shell; return what it printed."""
    printed = ""
    for part in re.split(r"\s+&&\s+", command.partition("  #")[0].strip()):
        words = shlex.split(part, comments=True)
        if not words:
            continue
        if words[0] == "cimsim":
            printed += cimsim(words[1:])
        elif words[0] == "python":
            done = subprocess.run(
                [sys.executable, *words[1:]], cwd=place, capture_output=True, text=True,
                check=False, timeout=500, env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert done.returncode == 0, f"{part}\n{done.stdout}{done.stderr}"
            printed += done.stdout
        elif words[0] in ("cat", "ls", "head"):
            printed += subprocess.run(words, cwd=place, capture_output=True, text=True,
                                      check=True).stdout  # fmt: skip
        else:
            raise AssertionError(f"{part}: the tests do not run '{words[0]}'")
    return printed


def cimsim(words: list[str]) -> str:
    """Run one command in this process, which has its kernels compiled."""
    from cimsim.cli.main import app

    done = CliRunner().invoke(app, words, env={"COLUMNS": "80", "TERM": "dumb"})
    assert done.exit_code == 0, f"cimsim {' '.join(words)}\n{done.output}\n{done.exception!r}"
    return done.output


def check_output(wanted: str, got: str, place: str) -> None:
    """Hold every line that a page shows to the lines that came; ``...`` leaves some out."""
    have = [_shape(line) for line in got.splitlines()]
    for line in wanted.splitlines():
        if line.strip() in ("", "..."):
            continue
        words, numbers = _shape(line)
        near = [other for text, other in have if text == words]
        fits = any(
            len(other) == len(numbers)
            and all(abs(a - b) <= CLOSE * max(abs(a), abs(b)) for a, b in zip(numbers, other,
                                                                              strict=True))
            for other in near
        )  # fmt: skip
        assert fits, f"{place}: the page shows\n  {line}\nand the command prints\n{got}"


def _shape(line: str) -> tuple[str, list[float]]:
    """Return a line without numbers and blanks, and its numbers."""
    line = re.sub(r"\d{8}-\d{6}", "TIME", line)
    numbers = [float(text.replace(",", "")) for text in _NUMBER.findall(line)]
    words = re.sub(r"[\s─━═]+", " ", _NUMBER.sub("0", line)).strip()
    return words, numbers


@contextlib.contextmanager
def inside(place: Path):
    """Work in a folder whose modules can be imported, and forget them afterwards."""
    before, known, path = Path.cwd(), set(sys.modules), list(sys.path)
    os.chdir(place)
    sys.path.insert(0, str(place))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(place):
                del sys.modules[name]


def with_title(block: Block, title: str) -> Block:
    return replace(block, title=title)
