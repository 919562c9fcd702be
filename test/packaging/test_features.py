"""docs/features.md names tests and pages that exist; README.md leads to every page."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "features.md"
GOALS = 65

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| F\d+ \|", line)
]


def test_every_goal_is_there_once_in_order():
    assert [row[0] for row in ROWS] == [f"F{number}" for number in range(1, GOALS + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_goal_names_exists(row):
    _, _, state, documents, tests = row
    named = re.findall(r"`(test/[\w/]+\.py)::(\w+)`", tests)
    assert state.split(":")[0].split(" (")[0] in ("done", "partly", "not done")
    assert len(named) == tests.count("`") // 2, "tests are written path::name"
    assert bool(named) != state.startswith("not done"), "what works is shown by a test"
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{path} has no {name}"
    for link in re.findall(r"\]\(([^)]+)\)", documents):
        assert (PAGE.parent / link).is_file(), f"{link} is not there"


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((docs/\w+\.md)\)", readme))
    assert links == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
