"""Below the frontends nobody knows the name of a library's operator."""

import re
from pathlib import Path

import cimsim

ROOT = Path(cimsim.__file__).parent
SPELLED = re.compile(r"""["'](?:aten|prims|torch\.ops)[.:]""")


def test_no_module_below_the_frontends_spells_an_operator_of_torch():
    spelled = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(ROOT.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SPELLED.search(line)
    ]
    assert spelled == []
