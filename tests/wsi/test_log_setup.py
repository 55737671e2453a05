"""Lines of logs as JSON: one object each, with the job that they are about."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from wsi.log_setup import JsonFormatter, logging_job, only_errors_of

ID = "0123456789abcdef01234567"


def formatted(message: str, *arguments: object, error: bool = False) -> dict[str, object]:
    record = logging.LogRecord("a.b", logging.WARNING, __file__, 1, message, arguments, None)
    if error:
        try:
            int("two\nlines")
        except ValueError:
            record.exc_info = sys.exc_info()
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_a_loggers_level_is_what_it_was_when_only_its_errors_were_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    below = logging.getLogger("talkative.below")
    with only_errors_of("talkative"):
        below.warning("kept back")
        below.error("an error")
    below.warning("afterwards")
    assert [record.message for record in caplog.records] == ["an error", "afterwards"]


def test_a_line_names_the_job_that_its_text_names() -> None:
    for message in (f"job {ID}: lost", f"job '{ID}', attempt 1: not wanted"):
        assert formatted(message)["job"] == ID
    assert "job" not in formatted("job 7 of 9")


def test_a_line_names_the_job_inside_which_it_was_logged() -> None:
    with logging_job(ID):
        assert formatted("reading")["job"] == ID
        assert formatted("job %s: other", "f" * 24)["job"] == "f" * 24
    assert "job" not in formatted("reading")


def test_a_traceback_is_part_of_its_line() -> None:
    found = formatted("failed with %d", 3, error=True)
    assert found["message"] == "failed with 3"
    assert "ValueError: " in str(found["exception"])
    assert {"time", "level", "logger", "process"} <= found.keys()


@pytest.mark.slow
def test_the_api_and_its_web_server_log_the_same_way(tmp_path: Path) -> None:
    code = """
import logging, uvicorn
uvicorn.Config("service.app:create_app", factory=True, access_log=False).load()
logging.getLogger("uvicorn.error").info("up")
logging.getLogger("uvicorn.access").info("switched off")
logging.getLogger("service.app").warning("here")
"""
    environment = {
        "PYTHONPATH": str(ROOT),
        "DAREFINE_DATA_DIR": str(tmp_path),
        "DAREFINE_LOG_FORMAT": "json",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stderr=subprocess.PIPE, text=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["logger"], line["message"]) for line in lines] == [
        ("uvicorn.error", "up"),
        ("service.app", "here"),
    ]
