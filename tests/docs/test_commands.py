"""The commands of README and guides: all are understood, those of the README are run, small."""

import re
import shlex
import subprocess
import sys

import pytest
import typer

from tests.docs.pages import DOCS, ROOT, blocks, cimsim, inside
from tests.docs.stage import EDGE, bring

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
SMALL = f"--size {EDGE}x{EDGE}"
# What makes a command of the README short; the last one of equal options counts. The first that
# fits is taken.
SHORTER = (
    (r"^run .*--task keywords", "--samples 2 --seeds 1 -q"),
    (r"^run .*(--data|--input-shape)", "--samples 4 --calibration 8 -q"),
    (r"^run .*--noisy", f"{SMALL} -q"),
    (r"^run", f"--frames 1 {SMALL} -q"),
    (r"^program", f"{SMALL} -q"),
    (r"^map .*--optimize", f"{SMALL} --json"),
    (r"^(map|time)", SMALL),
    (r"^sweep", f"--seeds 2 --frames 1 {SMALL} --workers 1 -q"),
    (r"^search", f"--trials 2 --frames 1 {SMALL} --workers 1 -q"),
    (r"^(ablate|diagnose)", f"--frames 1 {SMALL} -q"),
    (r"^train", "--steps 2 --crop 32 --batch 2 --val-crops 1"),
    (r"^prune", "--crops 2 --size 48x48 -q"),
)


def lines(path):
    """Yield the commands of a page with their places."""
    for block in blocks(path):
        if block.language in ("", "console", "sh", "bash") and not block.title:
            for command, _ in block.commands:
                for part in re.split(r"\s+&&\s+", command.partition("  #")[0].strip()):
                    yield block.place, re.sub(r"^(host|node1|laptop)?\$\s+", "", part)


COMMANDS = [
    pytest.param(part, id=f"{place}-{number}")
    for path in PAGES
    for number, (place, part) in enumerate(lines(path))
    if part.startswith("cimsim ")
]


@pytest.mark.parametrize("part", COMMANDS)
def test_every_command_of_every_page_is_understood(part):
    from cimsim.cli.main import app

    words = shlex.split(part, comments=True)[1:]
    context = typer.Context(typer.main.get_command(app), info_name="cimsim")
    command = context.command
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, part
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        return  # an option of cimsim itself: --version, --install-completion
    parser = command.make_parser(typer.Context(command, info_name=words[0] if words else ""))
    _, left, _ = parser.parse_args(list(words))
    most = sum(1 if one.nargs == 1 else 99 for one in command.params
               if one.param_type_name == "argument")  # fmt: skip
    assert len(left) <= most, part


def test_there_are_commands_on_the_pages():
    assert len(COMMANDS) > 90


def readme():
    found = [part for _, part in lines(ROOT / "README.md") if part.startswith("cimsim ")]
    return [part for part in found if part.strip() != "cimsim run"]


def shorter(words):
    text = " ".join(words)
    more = next((more for pattern, more in SHORTER if re.search(pattern, text)), "")
    return [*words, *more.split()]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("optuna")
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url, *_: opened.append(url) or True)
    wrong = []
    with inside(tmp_path):
        bring(tmp_path)
        for part in readme():
            try:
                cimsim(shorter(shlex.split(part, comments=True)[1:]))
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "\n\n".join(wrong)
    assert opened  # report --open
    assert (tmp_path / "out" / "chip").is_dir()


MODULES = sorted({
    (part.split()[2], tuple(re.findall(r"(?<=\s)--[\w-]+", part)))
    for path in PAGES
    for _, part in lines(path)
    if part.startswith("python -m benchmarks")
})  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("module", "options"), MODULES, ids=lambda one: str(one)[:60])
def test_the_benchmarks_of_the_pages_take_these_options(module, options):
    """They take hours, so that only their command lines are held here."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in options), (options, done.stdout)
