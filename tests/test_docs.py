"""The documents name files and modules that exist, and stay short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))

FILE = re.compile(r"(?<![\w./-])(?:[\w-]+/)+[\w-]+\.py\b")
MODULE = re.compile(r"python -m ((?:benchmarks|darefine|model|service|workers|wsi)(?:\.\w+)*)")

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@documents
def test_every_python_file_that_is_named_exists(document: Path) -> None:
    named = set(FILE.findall(document.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


@documents
def test_every_module_to_run_that_is_named_can_be_run(document: Path) -> None:
    named = [ROOT / name.replace(".", "/") for name in MODULE.findall(document.read_text(encoding="utf-8"))]
    assert [
        path for path in named if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file())
    ] == []


def test_architecture_has_at_most_900_words() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()) <= 900


def test_every_decision_is_in_the_index_once_under_its_own_title() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in DECISIONS]
    expected = [f"- [{title}]({path.name})" for title, path in zip(titles, DECISIONS, strict=True)]
    assert [line for line in index.splitlines() if line.startswith("- [")] == expected


def test_every_decision_says_why_and_what_shows_it() -> None:
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        for part in ("Context", "Decision", "Evidence", "Script"):
            assert re.search(rf"^\*\*{part}\.\*\*", text, re.MULTILINE), (path.name, part)
