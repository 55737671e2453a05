"""`darefine worker` joins a queue, or says what to give; its times are read as people write them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from darefine.cli.main import main
from darefine.cli.worker import clock_time

NOW = datetime(2026, 11, 26, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("17:30", datetime(2026, 11, 26, 17, 30, tzinfo=UTC)),
        ("08:00", datetime(2026, 11, 27, 8, 0, tzinfo=UTC)),
        ("2026-12-01T06:00", datetime(2026, 12, 1, 6, 0, tzinfo=UTC)),
        ("2026-12-01T06:00+01:00", datetime(2026, 12, 1, 5, 0, tzinfo=UTC)),
    ],
)
def test_times_are_of_the_clock_here(text: str, moment: datetime) -> None:
    assert clock_time(text, NOW) == moment


def test_a_worker_without_a_queue_to_join_is_told_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    answer = CliRunner().invoke(main, ["worker"], env={"DAREFINE_DATA_DIR": str(tmp_path)})
    assert answer.exit_code == 1
    for told in ("DAREFINE_REDIS_URL", "DAREFINE_DATA_DIR", "darefine serve"):
        assert told in answer.output
    assert not list(tmp_path.iterdir()), "no queue of its own"


def test_a_time_that_is_none_or_over_is_told() -> None:
    env = {"DAREFINE_REDIS_URL": "redis://127.0.0.1:1/0"}
    wrong = CliRunner().invoke(main, ["worker", "--until", "noon"], env=env)
    assert wrong.exit_code == 2
    assert "Unix seconds" in wrong.output
    over = CliRunner().invoke(main, ["worker", "--until", "1000000000"], env=env)
    assert over.exit_code == 0
    assert "over" in over.output
