"""README.md links to every page of docs/, and the links of all pages work."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md")])

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="not in a checkout")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_readme_links_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((docs/\w+\.md)\)", readme))
    assert links == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_topics_of_the_readme_are_those_of_the_interface_page() -> None:
    interface = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Topics")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    topics = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    documented = re.findall(r"^\| `([^`]+)` \|", interface, flags=re.MULTILINE)
    assert topics
    assert [name for name in topics if name not in [*documented, "/humans/..."]] == []


def test_the_path_of_an_image_names_methods_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## The path of an image")[1].split("\n## ")[0]
    methods: dict[str, set[str]] = {}
    for path in (ROOT / "moro_ros").rglob("*.py"):
        file = path.relative_to(ROOT / "moro_ros").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for item in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(item, ast.FunctionDef):
                    methods.setdefault(f"{node.name}.{item.name}", set()).add(file)
    steps = re.findall(r"^\| \d+ \| `([^`]+)` \| `([^`]+)` \|", table, flags=re.MULTILINE)
    assert 5 < len(steps) <= 12
    assert [step for step in steps if step[1] not in methods.get(step[0], ())] == []
    named = re.findall(r"`([A-Z]\w+\.\w+)`", table)
    assert [name for name in named if name not in methods] == []
