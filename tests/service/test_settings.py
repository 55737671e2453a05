"""Settings of the API process."""

import os
from pathlib import Path

import pytest

from service.settings import ServiceSettings


def test_slide_roots_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAREFINE_DATA_DIR", "/data")
    monkeypatch.setenv("DAREFINE_SLIDE_ROOTS", os.pathsep.join(["/mnt/a", "/mnt/b"]))
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/1")
    settings = ServiceSettings()
    assert settings.slide_roots == (Path("/mnt/a"), Path("/mnt/b"))
    assert settings.redis_url == "redis://elsewhere:6379/1"


def test_one_upload_at_a_time_is_the_least() -> None:
    with pytest.raises(ValueError, match="inspections"):
        ServiceSettings(data_dir=Path("/data"), inspections=0)
