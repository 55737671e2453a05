"""The data folder: one supervisor, and nobody else on the machine."""

import logging
import stat
from pathlib import Path

import pytest

from workers.supervisor.lock import supervisor_lock


@pytest.mark.parametrize(
    ("before", "after"), [(0o755, 0o750), (0o777, 0o770), (0o700, 0o700), (0o770, 0o770)]
)
def test_other_users_of_the_machine_are_shut_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    tmp_path.chmod(before)
    with caplog.at_level(logging.WARNING), supervisor_lock(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == after
    assert ("every user of this machine" in caplog.text) is (before != after)


def test_a_folder_of_somebody_else_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    tmp_path.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", refuse)
    with caplog.at_level(logging.WARNING), supervisor_lock(tmp_path):
        assert "cannot be changed" in caplog.text


def test_a_new_folder_is_the_users_own(tmp_path: Path) -> None:
    with supervisor_lock(tmp_path / "data"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
