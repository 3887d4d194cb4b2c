"""The table of docs/architecture.md, held to the code: what there is, and who may import whom."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "STEnhanceLib"


def rows() -> list[list[str]]:
    """The places of the library by the rows of the table, from top to bottom: `scene`, `methods` and the like."""
    table = re.findall(r"^\| (`STEnhanceLib/.*?) \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE)
    return [[Path(name).stem for name in re.findall(r"`(?:STEnhanceLib/)?([^`]+)`", cell)] for cell in table]


def place_of(path: Path) -> str:
    """What of the library a file or folder belongs to."""
    return Path(path.relative_to(LIBRARY).parts[0]).stem


def imported(path: Path) -> set[str]:
    """The places that a file imports from, inside functions, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "STEnhanceLib":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("STEnhanceLib."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("STEnhanceLib.")}
    return found


PLACES = sorted({place_of(path) for path in LIBRARY.rglob("*.py")} - {"__init__"})


def test_every_place_of_the_library_is_in_the_table_once():
    named = [place for row in rows() for place in row if place != "Models"]
    assert sorted(named) == PLACES


@pytest.mark.parametrize("place", PLACES)
def test_a_place_imports_only_what_stands_above_it(place):
    allowed = {place}
    for row in rows():
        allowed |= set(row)
        if place in row:
            break
    for path in LIBRARY.rglob("*.py"):
        if place_of(path) == place:
            assert imported(path) <= allowed, path
