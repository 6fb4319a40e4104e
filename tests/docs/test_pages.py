"""Every block of code of the site and of the README is run as it stands there."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.docs.pages import DOCS, ROOT, after, blocks, inside, run_block, run_page

# written to be run from top to bottom; the other pages show commands that take hours, or need data
LEARN = (
    "index.md", "start.md", "own_network.md", "own_chip.md", "own_device.md", "own_estimator.md",
    "own_task.md", "own_metric.md", "own_writer.md", "own_op_cost.md",
    "own_interconnect.md", "own_converter.md", "keywords.md", "many.md",
    "reading_timeline.md", "limits.md", "glossary.md",
    "install.md", "trackers.md", "api.md", "custom_mapping.md",
)  # fmt: skip
RUN_ELSEWHERE = {"custom_mapping.md"}  # tests/test_custom_mapping.py
SLOW = {
    "index.md", "start.md", "reading_timeline.md", "own_device.md", "own_network.md",
    "own_task.md", "own_metric.md", "own_writer.md", "own_chip.md", "keywords.md", "many.md",
}  # fmt: skip


def listed():
    for name in LEARN:
        if name not in RUN_ELSEWHERE:
            yield pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [], id=name)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders in which pages were run, by page."""
    return {}


def folder(name, made, tmp_path_factory):
    if name not in made:
        made[name] = place = tmp_path_factory.mktemp(name.removesuffix(".md"))
        first = after(DOCS / name)
        if first is not None:
            shutil.copytree(folder(first, made, tmp_path_factory), place, dirs_exist_ok=True)
        run_page(DOCS / name, place)
    return made[name]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*listed()])
def test_page(name, made, tmp_path_factory):
    folder(name, made, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name", [name for name in LEARN if any(block.slow for block in blocks(DOCS / name))]
)
def test_slow_blocks(name, made, tmp_path_factory):
    place = folder(name, made, tmp_path_factory)
    with inside(place):
        for block in blocks(DOCS / name):
            if block.slow:
                run_block(block, place, {"__name__": "__main__"})


def test_every_page_is_on_the_site_and_only_those():
    text = (ROOT / "mkdocs.yml").read_text()
    nav = yaml.safe_load(text[text.index("\nnav:") :])["nav"]
    found = re.findall(r"[\w/]+\.md", str(nav))
    assert sorted(found) == sorted(path.name for path in DOCS.glob("*.md"))


def test_what_is_not_run_says_why():
    for name in LEARN:
        for block in blocks(DOCS / name):
            assert block.why_not == "" or len(block.why_not) > 10, block.place


def test_the_runner_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        'Text.\n\n```python title="there.py"\nx = 1\n```\n\n```python\nfrom there import x\n'
        "assert x == 2\n```\n\n```console\n$ cimsim --version\ncimsim 99\n```\n\n"
        "<!-- not run: for the reader alone -->\n```\nrm -rf everything\n```\n"
    )
    found = blocks(page)
    assert [block.language for block in found] == ["python", "python", "console", ""]
    assert found[3].why_not == "for the reader alone"
    with inside(tmp_path):
        run_block(found[0], tmp_path, {})
        with pytest.raises(AssertionError):
            run_block(found[1], tmp_path, {})
        with pytest.raises(AssertionError, match="cimsim --version: the page shows"):
            run_block(found[2], tmp_path, {})
        with pytest.raises(AssertionError, match="do not run 'rm'"):
            run_block(found[3], tmp_path, {})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},  # a banner about another program, as in make
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert {page.stem for page in pages} >= {path.stem for path in DOCS.glob("*.md")}
    for page in pages:
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page.read_text())
        assert not [url for url in loaded if url.startswith(("http", "//"))], page.name
