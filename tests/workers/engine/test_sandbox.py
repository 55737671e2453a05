"""The engine in its sandbox: real processes, a real network."""

import hashlib
import sys
from pathlib import Path

import pytest

from tests.darefine.tiny_card import write_tiny_card
from workers.engine import sandbox
from workers.engine.failures import permanent
from workers.engine.sandbox import check_readable, is_wanted, require
from workers.errors import LocalRunError, SandboxUnavailableError
from workers.jobs import JobFiles, JobParameters
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.settings import WorkerSettings
from wsi.confinement import Confinement
from wsi.errors import SlideUnreadableError
from wsi.phantom import write_phantom

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


def settings_in(tmp_path: Path, **changes: object) -> WorkerSettings:
    return WorkerSettings(
        data_dir=tmp_path / "data",
        weights_dir=tmp_path / "weights",
        threads=1,
        **changes,  # type: ignore[arg-type]
    )


def run_for(slide: Path, directory: Path) -> RunJob:
    return RunJob("job", 1, slide.name, str(slide), str(directory), "tiny", JobParameters())


@pytest.mark.slow
def test_a_confined_engine_makes_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    card = write_tiny_card(tmp_path / "weights", mpp=0.934)
    assert card.stem == "tiny"
    digests = set()
    for state in ("on", "off"):
        settings = settings_in(tmp_path / state, sandbox=state).model_copy(
            update={"weights_dir": tmp_path / "weights"}
        )
        with LocalEngine(settings) as engine:
            engine.loaded()  # with a data folder that is new
            directory = settings.jobs_dir / "job"
            directory.mkdir(parents=True)
            slide = settings.slides_dir / "a.tif"
            slide.parent.mkdir(parents=True, exist_ok=True)
            write_phantom(slide, size_px=1600, seed=1)
            engine.run(run_for(slide, directory))
            if state == "on":
                outside = tmp_path / "outside.tif"
                outside.write_bytes(slide.read_bytes())
                with pytest.raises(LocalRunError, match="DAREFINE_SLIDE_ROOTS"):
                    engine.run(run_for(outside, directory))
        digests.add(hashlib.sha256(JobFiles(directory).labels.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_slide_outside_of_the_folders_is_refused_with_the_cure(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, slide_roots=(tmp_path / "nas",))
    for slide in (settings.slides_dir / "a" / "a.tif", tmp_path / "nas" / "b.svs"):
        check_readable(run_for(slide, tmp_path), settings)
    with pytest.raises(SlideUnreadableError, match="DAREFINE_SLIDE_ROOTS"):
        check_readable(run_for(tmp_path / "elsewhere" / "c.svs", tmp_path), settings)


def test_a_sandbox_is_left_out_where_a_gpu_is_unless_it_is_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "NVIDIA", tmp_path / "nvidiactl")
    assert [is_wanted(settings_in(tmp_path, sandbox=state)) for state in ("auto", "on", "off")] == [
        True,
        True,
        False,
    ]
    (tmp_path / "nvidiactl").touch()
    assert [is_wanted(settings_in(tmp_path, sandbox=state)) for state in ("auto", "on")] == [False, True]


def test_a_demanded_sandbox_that_cannot_be_had_is_an_error_of_the_settings(tmp_path: Path) -> None:
    part = Confinement(files=False, calls=True, missing=("Landlock: no such thing",))
    require(part, settings_in(tmp_path))
    with pytest.raises(SandboxUnavailableError, match="no such thing") as raised:
        require(part, settings_in(tmp_path, sandbox="on"))
    assert permanent(raised.value)
