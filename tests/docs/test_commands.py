"""The commands of README and guides: all are understood, those of the README are run, small."""

import re
import shlex
import subprocess
import sys

import pytest
import typer

from tests.docs.pages import DOCS, ROOT, blocks, cimsim, inside, run_block
from tests.docs.stage import EDGE, bring, workbook

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
SMALL = f"--size {EDGE}x{EDGE}"
# What makes a command of the README short; the last one of equal options counts. The first that
# fits is taken.
SHORTER = (
    (r"^sweep \S+\.yaml", "--workers 1 -q"),
    (r"^search \S+\.yaml", "--trials 2 --workers 1 -q"),
    (r"^diagnose \w+$", "-q"),  # a run, which knows its size
    (r"^diagnose .*--task", "--samples 2 -q"),
    (r"^run .*--task keywords", "--samples 2 --seeds 1 -q"),
    (r"^run .*(--data|--input-shape)", "--samples 4 --calibration 8 -q"),
    (r"^run .*--noisy", f"{SMALL} -q"),
    (r"^run .*--device", f"--device cpu --frames 1 {SMALL} -q"),  # whatever this machine has
    (r"^run", f"--frames 1 {SMALL} -q"),
    (r"^program", f"{SMALL} -q"),
    (r"^map .*--optimize", f"{SMALL} --json"),
    (r"^(map|time)", SMALL),
    (r"^sweep", f"--seeds 2 --frames 1 {SMALL} --workers 1 -q"),
    (r"^search", f"--trials 2 --frames 1 {SMALL} --workers 1 -q"),
    (r"^(ablate|diagnose)", f"--frames 1 {SMALL} -q"),
    (r"^train", "--steps 2 --crop 32 --batch 2 --validation-crop 32 --validation-scenes 1"),
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


def commands_of(path, left=()):
    """Return the commands of a page, without those that need what is not here."""
    found = [part for _, part in lines(path) if part.startswith("cimsim ")]
    found = [part for part in found if part.strip() != "cimsim run"]
    return [part for part in found if not any(re.search(one, part) for one in left)]


def shorter(words):
    text = " ".join(words)
    more = next((more for pattern, more in SHORTER if re.search(pattern, text)), "")
    return [*words, *more.split()]


def run_small(parts):
    """Run commands one after another; return what those that fail say."""
    wrong = []
    for part in parts:
        try:
            cimsim(shorter(shlex.split(part, comments=True)[1:]))
        except AssertionError as error:
            wrong.append(str(error))
    return "\n\n".join(wrong)


@pytest.fixture
def opened(monkeypatch):
    """What would be opened in a browser."""
    found = []
    monkeypatch.setattr("webbrowser.open", lambda url, *_: found.append(url) or True)
    return found


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_commands_of_the_readme_run(tmp_path, opened):
    pytest.importorskip("onnx")
    pytest.importorskip("optuna")
    with inside(tmp_path):
        bring(tmp_path)
        assert not (wrong := run_small(commands_of(ROOT / "README.md"))), wrong
    assert opened  # report --open
    assert (tmp_path / "out" / "chip").is_dir()


# Guides whose commands run, too, and those of them that need what is not here: data sets, other
# packages, other machines, weights of a campaign
GUIDES = {
    "ablation.md": (r"mine\.safetensors", r"motorbike"),
    "cluster.md": (r"--cluster (ssh|slurm)", r"--scheduler"),
    "device_fit.md": (),
    "diagnosis.md": (),
    "onnx.md": (r"(torchvision|timm|transformers):", r"3x224x224"),
    "studies.md": (),
    "tasks.md": (r"spoken-digits", r"test\.npz"),
}


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", GUIDES)
def test_the_commands_of_a_guide_run(name, tmp_path, opened):
    pytest.importorskip("onnx")
    pytest.importorskip("optuna")
    with inside(tmp_path):
        bring(tmp_path)
        if name == "device_fit.md":
            pytest.importorskip("openpyxl")
            workbook(tmp_path)
        for block in blocks(DOCS / name):
            if block.title:
                run_block(block, tmp_path, {})
        found = commands_of(DOCS / name, GUIDES[name])
        assert found
        assert not (wrong := run_small(found)), wrong


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
