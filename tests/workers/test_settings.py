"""Settings and their way through the environment."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests import ROOT, WEIGHTS
from workers.settings import WorkerSettings


def test_settings_survive_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = WorkerSettings(
        data_dir=tmp_path,
        redis_url="unix:///s%20p/x.sock",
        workers=3,
        lease_s=1.5,
        precision="bf16",
        default_model="m",
        prepare_ahead=False,
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert WorkerSettings() == settings


def test_redis_url_is_read_under_its_usual_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://a")
    assert WorkerSettings().redis_url == "redis://a"
    monkeypatch.setenv("DAREFINE_REDIS_URL", "redis://b")
    assert WorkerSettings().redis_url == "redis://b"


def test_state_lies_where_the_platform_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert WorkerSettings().data_dir == tmp_path / "darefine"


def test_devices_are_dealt_out_to_workers() -> None:
    settings = WorkerSettings(device="cuda:0, cuda:1")
    assert [settings.device_of(worker) for worker in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]


def test_settings_cannot_be_changed_and_refuse_nonsense() -> None:
    with pytest.raises(ValidationError):
        WorkerSettings().workers = 2
    with pytest.raises(ValidationError):
        WorkerSettings(lease_s=0)


def test_the_batch_size_is_a_number_or_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WorkerSettings().batch_size == "auto"
    monkeypatch.setenv("DAREFINE_BATCH_SIZE", "8")
    assert WorkerSettings().batch_size == 8
    for nonsense in ("0", "many"):
        monkeypatch.setenv("DAREFINE_BATCH_SIZE", nonsense)
        with pytest.raises(ValidationError):
            WorkerSettings()


def test_every_setting_is_explained() -> None:
    assert [name for name, field in WorkerSettings.model_fields.items() if not field.description] == []


def test_model_cards_lie_in_a_checkout_and_in_an_installed_wheel(tmp_path: Path) -> None:
    assert WorkerSettings().weights_dir == WEIGHTS
    (tmp_path / "workers").mkdir()
    installed = shutil.copy(ROOT / "workers" / "settings.py", tmp_path / "workers")
    (tmp_path / "darefine" / "weights").mkdir(parents=True)
    spec = importlib.util.spec_from_file_location("installed_settings", installed)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.default_weights_dir() == tmp_path / "darefine" / "weights"
