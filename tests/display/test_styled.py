import io
import re
from pathlib import Path

import pytest

from cimsim.display.styled import Screen, styled

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "[bold]x[/nothing]", "in[/b] x", "a\\", "a\\\\", "\\[b]", "{}", "[", ":smile:", "芯[/]", "",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_texts_stand_as_they_were_written_and_templates_have_styles(text):
    made = styled("[bold]{}[/] on [yellow]{}[/]: {} [dim]end[/]", text, text, text)
    assert made.plain == f"{text} on {text}: {text} end"
    styles = {str(span.style): made.plain[span.start : span.end] for span in made.spans}
    assert styles == {"bold": text, "yellow": text, "dim": "end"} if text else {"dim": "end"}


def test_a_template_has_a_place_for_each_text():
    with pytest.raises(ValueError, match="1 places for 2 texts"):
        styled("[bold]{}[/]", 1, 2)


@pytest.mark.parametrize("text", TEXTS)
def test_a_screen_takes_no_text_for_markup(text, capsys):
    Screen().print(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_every_screen_of_a_command_is_one():
    """Rich's own console would take a chip's name for markup."""
    for path in (ROOT / "cimsim").rglob("*.py"):
        if path.name != "styled.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\bConsole\(", text), path
            assert "rich.markup" not in text or path.name == "checked.py", path


def test_a_screen_that_is_no_terminal_has_no_styles(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    Screen().print(styled("[bold]{}[/]", "a"))
    assert out.getvalue() == "a\n"
