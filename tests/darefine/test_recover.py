"""Command `darefine recover` on a real queue server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from darefine.cli.main import main
from workers.jobs import JobRequest
from workers.queue.client import JobClient
from workers.supervisor.valkey import EmbeddedValkey

REQUEST = JobRequest(slide_id="a" * 24, slide_name="a.svs", slide_path="", model="m")
RESULT = {
    "job": {"attempt": 1},
    "patches": 7,
    "started_at": "2026-03-02T09:14:05+00:00",
    "finished_at": "2026-03-02T09:15:40+00:00",
}


def test_lost_jobs_are_listed_again_and_orphans_removed_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAREFINE_DATA_DIR", str(tmp_path))
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    try:
        client = JobClient.connect(valkey.url, tmp_path / "jobs")
        finished, waiting, removed = (client.submit(REQUEST) for _ in range(3))
        for job in (finished, removed):
            job.files.directory.mkdir()
            job.files.result.write_text(json.dumps(RESULT), encoding="ascii")
        client.delete(removed.id)
        Redis.from_url(valkey.url).flushall()
        told = CliRunner().invoke(main, ["recover"]).output
        assert "1 finished jobs listed again, 1 queued again, 0 were known" in told
        assert "1 folders belong to no job" in told
        assert client.get(finished.id).state == "succeeded"
        assert client.get(waiting.id).state == "queued"
        told = CliRunner().invoke(main, ["recover", "--remove-orphans"]).output
        assert "0 queued again, 2 were known" in told
        assert "1 folders removed" in told
        assert not removed.files.directory.exists()
        assert finished.files.directory.exists()
        told = CliRunner().invoke(main, ["recover", "--remove-orphans"]).output
        assert "2 were known" in told
        assert "0 folders removed" in told
        client.close()
    finally:
        valkey.stop()


def test_without_a_queue_the_command_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAREFINE_DATA_DIR", str(tmp_path))
    answer = CliRunner().invoke(main, ["recover"])
    assert answer.exit_code == 1
    assert "Start `darefine serve`" in answer.output
