"""What the documentation shows must run."""

import doctest
import re
from pathlib import Path

import cimsim
from cimsim.mapping.strategies import STRATEGIES
from cimsim.video.embedded import embedded_clip

ROOT = Path(__file__).resolve().parents[1]


def test_python_example_of_the_readme(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    names = {"clip": embedded_clip(frames=1)}
    exec(compile(code, "README.md", "exec"), names)  # the example, word for word
    assert (tmp_path / "runs" / "mine" / "result.json").is_file()
    assert names["result"].quality.psnr_db > 25


def test_doctest_of_the_package():
    assert doctest.testmod(cimsim).failed == 0


def test_every_file_that_the_documents_link_to_exists():
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_readme_names_the_strategies_that_exist():
    assert all(f"`{name}`" in (ROOT / "README.md").read_text() for name in STRATEGIES)
