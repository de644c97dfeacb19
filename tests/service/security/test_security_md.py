"""SECURITY.md names tests that there are, and a section of the manual that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: part.rpartition("/")[2])
def test_what_it_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    tests = {name for name in tests if name.startswith("test_")}
    assert test in tests if test else tests


def test_every_row_of_its_tables_names_a_test() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    bare = [
        row for row in rows if "`tests/" not in row and "held by" not in row and "---" not in row
    ]
    assert bare == []


def test_every_test_of_security_is_worth_a_row() -> None:
    files = {file for file, _ in NAMED}
    ours = {
        f"tests/service/security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")
    }
    assert ours - files == {"tests/service/security/test_security_md.py"}


def test_the_manual_has_the_section_that_it_points_to() -> None:
    manual = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    assert "\n## Security\n" in manual
