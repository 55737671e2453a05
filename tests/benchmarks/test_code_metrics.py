"""Code metrics of a tiny package whose counts and cycles are known."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import code_metrics
from benchmarks.code_metrics import (
    HEADING,
    CodeBase,
    find_cycles,
    main,
    most_imported,
    package_table,
    percentile,
    repeated_names,
    sibling_cycles,
)
from tests import ROOT

ONE_LINE = "def one():\n    return 1\n"
WITH_DECORATOR = '''def wrap(f):
    return f


@wrap
def five():
    """The five."""
    a = 1
    b = 2
    return a + b
'''
SOURCES = {
    "__init__.py": '"""Tiny."""\n',
    "base.py": ONE_LINE,
    "top.py": "from tiny_house.base import one\nfrom tiny_house.left.a import one as other\n",
    "left/__init__.py": "",
    "left/a.py": f"from ..base import one\n{WITH_DECORATOR}",
    "left/b.py": "from tiny_house.right import c\n",
    "right/__init__.py": "",
    "right/a.py": "from ..base import one\n",
    "right/c.py": "from tiny_house.left import a\n",
}
"""`left` and `right` need each other, though no file needs itself."""
PACKAGE_CYCLE = frozenset({"tiny_house.left", "tiny_house.right"})


def write_package(folder: Path, **changed: str) -> Path:
    """Write the package; `changed` files are named without their ending."""
    for name, text in {**SOURCES, **{f"{name}.py": text for name, text in changed.items()}}.items():
        path = folder / "tiny_house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the package, which can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return write_package(tmp_path)


def table_of(code: CodeBase) -> dict[str, dict[str, str]]:
    heading, *rows = package_table(code)
    return {row[0]: dict(zip(heading, row, strict=True)) for row in rows}


def test_sizes_and_arrows_are_counted_by_package(package: Path) -> None:
    rows = table_of(CodeBase.load(["tiny_house"]))
    assert list(rows) == ["tiny_house", "tiny_house.left", "tiny_house.right", "all"]
    left = rows["tiny_house.left"]
    assert (left["files"], left["lines"], left["largest file"]) == ("3", "12", "tiny_house.left.a (11)")
    assert (left["function lines: median"], left["p90"], left["largest"]) == ("3.5", "5", "5")
    assert (left["arrows inside"], left["arrows out"]) == ("0", "2")
    whole = rows["tiny_house"]
    assert (whole["files"], whole["lines"], whole["arrows inside"], whole["arrows out"]) == (
        "9",
        "19",
        "6",
        "0",
    )
    assert [whole[name] for name in HEADING[1:]] == [rows["all"][name] for name in HEADING[1:]]
    assert rows["tiny_house.right"]["function lines: median"] == "-"


def test_packages_that_need_each_other_are_a_cycle_though_no_files_do(package: Path) -> None:
    code = CodeBase.load(["tiny_house"])
    assert find_cycles(code.arrows) == []
    assert sibling_cycles(code.arrows) == [PACKAGE_CYCLE]
    rows = table_of(code)
    assert [rows[name]["package cycles"] for name in rows] == ["1", "0", "0", "1"]
    assert {row["file cycles"] for row in rows.values()} == {"0"}


def test_files_that_need_each_other_are_a_cycle(package: Path) -> None:
    write_package(package, base="from tiny_house import top\n", **{"left/b": ""})
    code = CodeBase.load(["tiny_house"])
    assert find_cycles(code.arrows) == [frozenset({"tiny_house.base", "tiny_house.left.a", "tiny_house.top"})]
    assert CliRunner().invoke(main, ["tiny_house"]).exit_code == 1


def test_importers_and_names_are_ranked(package: Path) -> None:
    code = CodeBase.load(["tiny_house"])
    assert most_imported(code.arrows, 2) == [("tiny_house.base", 3), ("tiny_house.left.a", 2)]
    assert repeated_names(code.files.values()) == [("a.py", 2)]


def test_summaries_that_are_not_imperative_are_counted_where_ruff_is(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table_of(CodeBase.load(["tiny_house"]))
    column = "summaries not imperative"
    assert [rows[name][column] for name in rows] == ["1", "1", "0", "1"]
    monkeypatch.setattr(code_metrics.shutil, "which", lambda *_, **__: None)
    assert table_of(CodeBase.load(["tiny_house"]))["all"][column] == "-"


def test_the_command_prints_all_tables_and_fails_with_a_cycle(package: Path) -> None:
    answer = CliRunner().invoke(main, ["tiny_house", "--most", "1"])
    assert answer.exit_code == 1
    assert "| tiny_house.base | 3 " in answer.output
    assert "tiny_house.left.a | 2" not in answer.output
    assert "| a.py      | 2 " in answer.output
    assert answer.output.endswith("## Cycles\n\n- tiny_house.left, tiny_house.right\n")
    write_package(package, **{"left/b": ""})
    whole = CliRunner().invoke(main, ["tiny_house"])
    assert whole.exit_code == 0
    assert whole.output.endswith("## Cycles\n\nNone.\n")


def test_a_package_that_is_not_there_is_told() -> None:
    answer = CliRunner().invoke(main, ["tiny_hut"])
    assert answer.exit_code == 1
    assert "no package 'tiny_hut'" in answer.output


def test_without_grimp_the_message_says_what_to_install(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = code_metrics.importlib.util.find_spec
    monkeypatch.setattr(
        code_metrics.importlib.util, "find_spec", lambda name: None if name == "grimp" else find_spec(name)
    )
    answer = CliRunner().invoke(main, ["tiny_house"])
    assert answer.exit_code == 1
    assert "pip install import-linter" in answer.output


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.9, 9), (1.0, 9)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile([1, 2, 3, 9], share) == value


def test_this_repository_has_no_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code = CodeBase.load(code_metrics.ROOMS)
    assert len(code.files) > 100
    assert find_cycles(code.arrows) + sibling_cycles(code.arrows) == []
