"""Command `darefine prune`."""

import shlex
from pathlib import Path

from click.testing import CliRunner

from darefine.cli.main import main
from darefine.client import Client
from tests import ROOT
from tests.doc_pages import code_blocks

from .conftest import Api, Finisher, write_slide


def run(url: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["prune", "--url", url, *arguments])
    return result.exit_code, result.output


def test_prune(api: Api, url: str, finisher: Finisher, quick_polls: None, tmp_path: Path) -> None:
    with Client(url) as client:
        job = client.submit(client.upload(write_slide(tmp_path / "prune.tif", seed=31)).id)
        client.wait(job.id)
        code, said = run(url, "--results-days", "1e-9", "--dry-run")
        assert (code, job.id in said, "would go" in said) == (0, True, True)
        assert client.job(job.id)
        code, said = run(url, "--results-days", "1e-9")
        assert (code, job.id in said, "would go" in said) == (0, True, False)
        assert job.id not in {one.id for one in client.jobs()}
        assert client.slide(job.slide.id), "slides stay unless they are named"


def test_the_page_does_what_it_says(url: str) -> None:
    blocks = code_blocks(ROOT / "docs" / "retention.md", "bash")
    assert len(blocks) == 2
    for block in blocks:
        program, command, *arguments = shlex.split(block)
        assert (program, command) == ("darefine", "prune")
        assert "0 jobs and 0 slides" in run(url, *arguments)[1]


def test_nothing_goes_without_a_rule(url: str) -> None:
    code, said = run(url)
    assert (code, "Say what goes" in said) == (2, True)
