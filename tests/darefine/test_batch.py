"""docs/batches.md: every command and every line of Python on it is run, beside a stand-in worker."""

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from darefine.cli.main import main
from tests import ROOT
from tests.doc_pages import code_blocks, command_runner

from .conftest import Api, Finisher, write_slide

PAGE = ROOT / "docs" / "batches.md"


@pytest.mark.slow
def test_the_page_does_what_it_says(api: Api, url: str, finisher: Finisher, tmp_path: Path) -> None:
    folder = api.slide_root / "batch-page"
    (folder / "more").mkdir(parents=True)
    for number, path in enumerate(("case-1.tif", "case-2.tif", "more/case-3.tif")):
        write_slide(folder / path, seed=900 + number)
    (tmp_path / "slides.csv").write_text(f"slide,mpp\n{folder}/case-1.tif,0.4\n")
    (tmp_path / "bin").mkdir()
    run = command_runner(tmp_path, tmp_path / "bin", DAREFINE_URL=url)
    started, tabled, posted, watched = (
        block.replace("/mnt/slides", str(folder)) for block in code_blocks(PAGE, "bash")
    )
    assert '"total":2' in run("bash", "-euc", posted).replace(" ", "")
    assert len(run("bash", "-euc", tabled).strip()) == 24
    finisher.hold = True
    batch = run("bash", "-euc", f"{started}echo $batch").split()[-1]
    paused, resumed, *rest = watched.splitlines()
    assert "paused" in run("bash", "-euc", f"batch={batch}\n{paused}")
    assert "running" in run("bash", "-euc", f"batch={batch}\n{resumed}")
    finisher.hold = False
    printed = run("bash", "-euc", "\n".join([f"batch={batch}", *rest]))
    assert "finished" in printed
    assert "cohort 7" in printed
    lines = (tmp_path / "areas.csv").read_text().splitlines()
    assert len(lines) == 4
    assert all(",succeeded,0.5," in line for line in lines[1:])

    python = "".join(code_blocks(PAGE, "python")).replace("/mnt/slides", str(folder))
    said = run(sys.executable, "-c", f"url = {url!r}\n{python}")
    assert "3 of 3" in said
    assert said.count(",succeeded,") == 3
    shutil.rmtree(folder)


def run_cli(url: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["batch", *arguments, "--url", url])
    return result.exit_code, result.output


def test_what_cannot_be_is_told_in_one_line(url: str) -> None:
    assert "one of the three" in run_cli(url, "start")[1]
    assert "one of the three" in run_cli(url, "start", "a.svs", "--folder", "/mnt")[1]
    code, said = run_cli(url, "start", "--folder", "/etc")
    assert (code, "DAREFINE_SLIDE_ROOTS" in said) == (1, True)
    code, said = run_cli(url, "show", "none")
    assert (code, "No batch has the id" in said) == (1, True)


def test_a_batch_of_a_slide_that_is_none_fails(url: str) -> None:
    batch = run_cli(url, "start", "/nowhere/a.svs")[1].strip()
    code, said = run_cli(url, "wait", batch)
    assert (code, "finished" in said) == (1, True)
    assert "is not under a folder this service may read" in run_cli(url, "table", batch)[1]
    assert run_cli(url, "cancel", batch)[0] == 1, "it is over"
