"""The benchmark of recovery loses a queue for real, and finds what does not come back."""

import json
from pathlib import Path

import pytest

from benchmarks import recovery
from benchmarks.recovery import Recovery, lose_and_recover, table_of
from benchmarks.tables import HERE, README, loads_of, with_table
from model.evaluation.report import markdown


def counts(found: Recovery) -> tuple[int, int, int]:
    return found.listed_again, found.known_afterwards, found.orphans_afterwards


def test_all_jobs_come_back_and_no_folder_is_left_over(tmp_path: Path) -> None:
    assert counts(lose_and_recover(tmp_path, 5, lambda _: None)) == (5, 5, 0)


def test_jobs_that_do_not_come_back_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "RESULT", {"patches": "torn"})
    assert counts(lose_and_recover(tmp_path, 3, lambda _: None)) == (0, 0, 3)


def test_the_readme_shows_the_results_that_are_kept() -> None:
    results = json.loads((HERE / "results" / "recovery.json").read_text(encoding="ascii"))
    table = table_of([Recovery(**one) for one in results["recoveries"]])
    here = results["machine"]
    caption = f"{here['processor']}, {here['cores']} cores{loads_of([results['load_before']])}."
    page = README.read_text(encoding="utf-8")
    assert with_table(page, "recovery", f"{markdown(table)}\n\n{caption}") == page
