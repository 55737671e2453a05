"""Every process that opens a slide is confined and bounded by then, as the kernel says; the API opens none.

Processes start as they do in the service; a `sitecustomize` on their path is the witness.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openslide
import pytest
import pyvips
import tifffile

from service.settings import ServiceSettings
from tests import ROOT
from tests.darefine.tiny_card import write_tiny_card
from tests.service.conftest import running_api
from workers.jobs import JobFiles, JobParameters
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.settings import WorkerSettings
from wsi.phantom import write_phantom
from wsi.reading.inspect import MEMORY_LIMIT_BYTES

from .test_pipeline import CARD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")

WITNESS = ROOT / "tests" / "wsi" / "witness"


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A slide in a folder of its own, where the service may read it in place."""
    path = tmp_path / "slides" / "a.tif"
    path.parent.mkdir()
    write_phantom(path, size_px=1600, seed=1)
    return path


@pytest.fixture
def seen(slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What the processes that opened the slide were at that moment."""
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("DAREFINE_TEST_WATCHED", str(slide))
    monkeypatch.setenv("DAREFINE_TEST_LOG", str(log))
    monkeypatch.setenv("PYTHONPATH", f"{WITNESS}:{ROOT}")
    monkeypatch.syspath_prepend(str(WITNESS))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def run_of(slide: Path, directory: Path) -> RunJob:
    directory.mkdir(parents=True)
    return RunJob("job", 1, slide.name, str(slide), str(directory), "tiny", JobParameters())


def look_ahead(slide: Path, tmp_path: Path) -> str:
    """Make a mask as it is made while another job computes."""
    run = run_of(slide, tmp_path / "job")
    command = [sys.executable, "-m", "workers.engine.tissue", run.to_json(), json.dumps(asdict(CARD.input))]
    subprocess.run(command, check=True)
    assert JobFiles(Path(run.directory)).tissue.exists()
    return "workers.engine.tissue"


def compute(slide: Path, tmp_path: Path) -> str:
    """Run a job in an engine."""
    (tmp_path / "weights").mkdir()
    write_tiny_card(tmp_path / "weights", mpp=0.934)
    settings = WorkerSettings(
        data_dir=tmp_path / "data",
        weights_dir=tmp_path / "weights",
        slide_roots=(slide.parent,),
        sandbox="on",
        threads=1,
    )
    with LocalEngine(settings) as engine:
        run = run_of(slide, settings.jobs_dir / "job")
        engine.run(run)
    assert JobFiles(Path(run.directory)).labels.exists()
    return "spawn_main"


def register(slide: Path, tmp_path: Path) -> str:
    """Register a slide: the API has it looked at."""
    settings = ServiceSettings(
        data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", slide_roots=(slide.parent,)
    )
    with running_api(settings) as http:
        assert http.post("/v1/slides", json={"uri": str(slide)}).status_code == 201
    return "wsi.reading.inspect"


def show(slide: Path, tmp_path: Path) -> str:
    """Show a slide: the API has tiles read."""
    settings = ServiceSettings(
        data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", slide_roots=(slide.parent,)
    )
    with running_api(settings) as http:
        links = http.post("/v1/slides", json={"uri": str(slide)}).json()["links"]
        for url in (links["thumbnail"], f"{links['tiles']}/0/0_0.jpeg"):
            assert http.get(url).headers["content-type"] == "image/jpeg"
    return "wsi.tiles.reader"


@pytest.mark.parametrize("work", [register, show, look_ahead, pytest.param(compute, marks=pytest.mark.slow)])
def test_a_process_that_opens_a_slide_is_confined(
    slide: Path, tmp_path: Path, seen: Callable[[], list[dict[str, Any]]], work: Callable[[Path, Path], str]
) -> None:
    kind = work(slide, tmp_path)
    found = seen()
    assert any(kind in part for one in found for part in one["command"]), kind
    for one in found:
        assert (one["Seccomp:"], one["NoNewPrivs:"]) == ("2", "1"), one["command"]
        if work is not compute:  # which maps as much as torch and its driver want
            assert one["Max address space"] == str(MEMORY_LIMIT_BYTES)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that decoders have opened in this process."""
    found: list[str] = []

    def noted(decoder: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found.extend(Path(str(one)).name for one in arguments if isinstance(one, str | Path))
            return decoder(*arguments, **options)

        return call

    monkeypatch.setattr(openslide.OpenSlide, "__init__", noted(openslide.OpenSlide.__init__))
    monkeypatch.setattr(openslide.OpenSlide, "detect_format", noted(openslide.OpenSlide.detect_format))
    monkeypatch.setattr(tifffile.TiffFile, "__init__", noted(tifffile.TiffFile.__init__))
    monkeypatch.setattr(pyvips.Image, "tiffload", noted(pyvips.Image.tiffload))
    return found


def test_the_api_opens_no_slide_itself(slide: Path, tmp_path: Path, opened: list[str]) -> None:
    with tifffile.TiffFile(slide), openslide.OpenSlide(slide):
        assert opened == ["a.tif", "a.tif"], "this would be seen"
    opened.clear()
    show(slide, tmp_path)
    settings = ServiceSettings(data_dir=tmp_path / "other", redis_url="redis://127.0.0.1:1/0")
    with running_api(settings) as http:
        stored = http.put("/v1/slides?filename=b.tif", content=slide.read_bytes()).json()
        assert http.get(stored["links"]["thumbnail"]).status_code == 200
    assert opened == []
