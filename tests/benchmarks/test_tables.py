"""Tables in a page."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bound, precision, seams
from benchmarks.jobs import STAGES, table_of
from benchmarks.peers import report
from benchmarks.seam_strips import SeamRatio
from benchmarks.seams import HaloRow
from benchmarks.tables import HERE, README, caption_of, with_table, write_results
from model.evaluation.report import markdown

TABLE = [["a", "b"], ["1", "2"]]


def test_a_table_replaces_the_one_between_its_marks() -> None:
    page = "before\n<!-- x -->\nold\n<!-- end of x -->\nafter\n"
    new = with_table(page, "x", markdown(TABLE))
    assert new == "before\n<!-- x -->\n| a | b |\n|---|---|\n| 1 | 2 |\n<!-- end of x -->\nafter\n"
    assert with_table(new, "x", "old") == page


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- x -->"):
        with_table("no marks", "x", "table")


def test_results_in_a_folder_leave_the_readme_alone(tmp_path: Path) -> None:
    before = README.read_bytes()
    write_results("x", {"n": 1}, TABLE, caption="on paper", folder=tmp_path / "new")
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"n": 1}
    assert README.read_bytes() == before


def shown(name: str, results: dict[str, Any]) -> tuple[list[list[str]], str]:
    """Table and caption of a results file."""
    if name == "peers":
        return report.table_of(results["cases"]), report.caption_of_cases(results["cases"])
    if name == "precision":
        return precision.table_of(results["roads"]), caption_of(results)
    if name == "seams":
        ratios = ("tile", "patch")
        rows = [
            HaloRow(**{**row, **{key: SeamRatio(**row[key]) for key in ratios}}) for row in results["halos"]
        ]
        return seams.table_of(rows), caption_of(results)
    table = {"jobs": table_of, "bound": bound.table_of}[name]
    return table(results["runs"]), caption_of(*results["runs"])


@pytest.mark.parametrize("name", ["jobs", "bound", "precision", "seams", "peers"])
def test_the_readme_shows_the_results_that_are_kept(name: str) -> None:
    results = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="ascii"))
    table, caption = shown(name, results)
    page = README.read_text(encoding="utf-8")
    assert with_table(page, name, f"{markdown(table)}\n\n{caption}") == page
    assert with_table(page, name, "another") != page


def test_the_job_table_has_a_row_a_slide() -> None:
    job = {"megapixels": 94.4, "seconds": 14.0, "megapixels_per_second": 6.7}
    run = {
        "size_px": 20_000,
        "job": {**job, "stage_seconds": dict.fromkeys(STAGES, 1.25)},
        "job_to_network": 0.961,
        "stand_in": {"megapixels_per_second": 61.2},
        "memory_mb": {"idle": 300, "peak": 600, "gpu_peak": None},
    }
    heading, row = table_of([run])
    assert len(heading) == len(row)
    assert row[0] == "20 000"
    assert row[-4:] == ["96 %", "61", "300", "600"]


def test_the_caption_says_what_the_figures_hold_for() -> None:
    machine = {"cores": 2, "processor": "P", "cpu_capability": "AVX2", "torch": "2.13"}
    measured = {"model": {"name": "m"}, "device": "cpu", "dtype": "fp32", "threads": 2, "load_before": 0.14}
    assert (
        caption_of({**measured, "machine": machine})
        == "m, fp32 on cpu (2 threads, AVX2), P, 2 cores, torch 2.13; load average before: 0.1."
    )
    newer = {**machine, "cpu_capability": "AVX512", "cpu_features": ["avx2", "avx512f", "avx512_bf16"]}
    assert "(2 threads, AVX512 with avx512_bf16)" in caption_of({**measured, "machine": newer})
    on_gpu = caption_of(
        {**measured, "machine": {**machine, "gpu": "G"}, "device": "cuda", "load_before": None}
    )
    assert on_gpu == "m, fp32 on cuda (G), P, 2 cores, torch 2.13."
    other = {**measured, "model": {"name": "n"}, "machine": machine, "load_before": 1.5}
    assert (
        caption_of({**measured, "machine": machine}, other)
        == "cpu (2 threads, AVX2), P, 2 cores, torch 2.13; load average before: 0.1 to 1.5."
    )
