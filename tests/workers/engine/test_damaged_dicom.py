"""Slides damaged after they were looked at, in an engine: their jobs fail, and the next one succeeds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dicom_slide import write_dicom_slide
from tests.darefine.tiny_card import write_tiny_card
from workers.errors import LocalRunError
from workers.jobs import JobFiles, JobParameters
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.settings import WorkerSettings

from ...wsi.damaged_dicom import DAMAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of tissue, one patch."""
    pixels = np.full((600, 800, 3), (150, 90, 140), np.uint8)
    return write_dicom_slide(tmp_path_factory.mktemp("good") / "slide", pixels, 1.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """An engine that all share: none may spoil it for the next."""
    root = tmp_path_factory.mktemp("engine")
    write_tiny_card(root, mpp=0.934)
    settings = WorkerSettings(data_dir=root / "data", weights_dir=root, sandbox="off", threads=1)
    with LocalEngine(settings) as engine:
        yield engine


def run(engine: LocalEngine, slide: Path, directory: Path) -> JobFiles:
    """Run a job to its end."""
    directory.mkdir()
    engine.run(RunJob("job", 1, slide.name, str(slide), str(directory), "tiny", JobParameters()))
    return JobFiles(directory)


@pytest.mark.parametrize("how", DAMAGES)
def test_its_job_fails_alone(engine: LocalEngine, good: Path, tmp_path: Path, how: str) -> None:
    bad = shutil.copytree(good, tmp_path / "bad")
    DAMAGES[how](bad / "level-0.dcm")
    with pytest.raises(LocalRunError) as failed:
        run(engine, bad, tmp_path / "bad-job")
    assert "fault of the service" not in str(failed.value)
    assert not JobFiles(tmp_path / "bad-job").result.exists()
    assert run(engine, good, tmp_path / "good-job").labels.exists()
