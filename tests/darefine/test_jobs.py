"""`darefine jobs`, `darefine slides` and `darefine models --served` against the real API."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from darefine.cli.main import main
from darefine.client import Client

from .conftest import OVERLAY, Finisher, write_slide

pytestmark = pytest.mark.usefixtures("quick_polls")


@pytest.fixture
def job_id(url: str, tmp_path: Path) -> str:
    """A queued job."""
    with Client(url) as client:
        slide = client.upload(write_slide(tmp_path / "case.tif", seed=sum(tmp_path.name.encode()) * 7000))
        return client.submit(slide.id).id


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", url])


def test_wait_download_show_and_remove(url: str, finisher: Finisher, job_id: str, tmp_path: Path) -> None:
    waited = run(url, "jobs", "wait", job_id)
    assert (waited.exit_code, waited.stdout) == (0, f"{job_id}  succeeded\n")
    fetched = run(url, "jobs", "download", job_id, "--out", str(tmp_path / "out"))
    assert fetched.exit_code == 0, fetched.output
    assert (tmp_path / "out" / "case.stand-in.overlay.tif").read_bytes() == OVERLAY
    assert "in situ" in run(url, "jobs", "show", job_id).stdout
    shown = json.loads(run(url, "jobs", "show", job_id, "--json").stdout)
    assert (shown["job"]["id"], shown["result"]["classes"][0]["name"]) == (job_id, "normal")
    assert run(url, "jobs", "rm", job_id).stdout == f"{job_id}  removed\n"
    assert run(url, "jobs", "show", job_id).exit_code == 1


def test_one_refusal_does_not_keep_others_from_their_turn(url: str, job_id: str) -> None:
    answer = run(url, "jobs", "cancel", "none", job_id)
    assert answer.exit_code == 1
    assert answer.stdout == f"{job_id}  cancelled\n"
    assert "none  404" in answer.stderr
    assert run(url, "jobs", "wait", job_id).exit_code == 1
    failed = run(url, "jobs", "download", job_id, "--out", "/proc/nowhere")
    assert "Cannot write to" in failed.stderr


def test_lists_show_whole_ids(url: str, job_id: str) -> None:
    listed = run(url, "jobs", "list", "--state", "queued").stdout
    assert job_id in listed
    assert "case.tif" in listed
    assert run(url, "jobs", "list", "--limit", "1", "--json").stdout.count('"attempt"') == 1
    slide = json.loads(run(url, "jobs", "show", job_id, "--json").stdout)["job"]["slide"]
    assert slide["id"] in run(url, "slides", "list", "--json").stdout
    assert slide["id"] in run(url, "slides", "list").stdout
    refused = run(url, "slides", "rm", slide["id"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert job_id in refused.stderr
    run(url, "jobs", "rm", job_id)
    assert run(url, "slides", "rm", slide["id"]).stdout == f"{slide['id']}  removed\n"


def test_models_that_a_service_has(url: str) -> None:
    listed = run(url, "models", "--served")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.splitlines()[1].split()[:2] == ["stand-in", "default"]
    assert json.loads(run(url, "models", "--served", "--json").stdout)["default"] == "stand-in"


def test_a_service_that_is_not_there_is_one_line(url: str) -> None:
    answer = run("http://127.0.0.1:9", "jobs", "list")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: http://127.0.0.1:9 does not answer")
    assert len(answer.stderr.splitlines()) == 1
