"""The result document: its published schema, warnings on all roads, outputs that a job asks for."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from service.result_schema import ResultOut
from workers.engine.pipeline import run_pipeline
from workers.jobs import JobFiles, JobParameters, Progress
from workers.protocol import RunJob
from wsi.writing.label_tiff import LabelTiff

from .test_pipeline import CARD, Threshold

MPP = 1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunJob:
    """A job on a dark square of 600 px with a light one in it, on glass; one label px each."""
    pixels = np.full((1024, 1100, 3), 244, np.uint8)
    pixels[200:800, 300:900] = (90, 60, 120)
    pixels[300:500, 400:600] = (190, 150, 170)
    path = tmp_path_factory.mktemp("slide") / "square.tif"
    resolution = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", **resolution)
    directory = tmp_path_factory.mktemp("job")
    parameters = JobParameters(outputs=("regions.geojson",))
    return RunJob("a" * 24, 2, path.name, str(path), str(directory), CARD.name, parameters, "b" * 64)


@pytest.fixture(scope="module")
def told(run: RunJob) -> list[Progress]:
    """What the run reported; its files are there."""
    told: list[Progress] = []
    run_pipeline(run, Threshold(), told.append, lambda: False)
    return told


def test_it_is_of_the_published_schema(run: RunJob, told: list[Progress]) -> None:
    text = JobFiles(Path(run.directory)).result.read_text()
    result = ResultOut.model_validate_json(text)
    undocumented = set(json.loads(text)) - set(ResultOut.model_fields)
    assert not undocumented
    assert result.schema_version == 1
    assert result.job is not None
    assert (result.job.id, result.job.attempt) == ("a" * 24, 2)
    assert result.slide.sha256 == "b" * 64
    assert result.started_at is not None
    assert result.finished_at is not None
    assert result.started_at < result.finished_at
    assert result.resolved is not None
    assert (result.resolved.precision, result.resolved.mpp) == ("float32", MPP)
    assert result.versions is not None
    assert {"python", "torch", "darefine"} <= set(result.versions)
    assert result.tissue is not None
    labelled = sum(one.pixels for one in result.classes)
    assert result.tissue.area_mm2 == pytest.approx(labelled / 1e6)
    assert result.tissue.megapixels == pytest.approx(labelled / 1e6, abs=1e-3)


def test_warnings_are_in_progress_result_and_tiff(run: RunJob, told: list[Progress]) -> None:
    files = JobFiles(Path(run.directory))
    stated = json.loads(files.result.read_text())["warnings"]
    codes = [warning["code"] for warning in stated]
    assert "phantom-weights" in codes
    assert [warning.code for warning in told[-1].warnings] == codes
    first_patches = next(progress for progress in told if progress.stage == "segment")
    assert first_patches.warnings == told[-1].warnings, "before anything is labelled"
    for path in (files.labels, files.overlay):
        with LabelTiff(path) as tiff:
            assert tiff.description["warnings"] == stated


def test_polygons_that_were_asked_for(run: RunJob, told: list[Progress]) -> None:
    directory = Path(run.directory)
    (path,) = directory.glob("regions*.geojson.gz")
    assert path.name in json.loads((directory / "result.json").read_text())["files"]
    features = json.loads(gzip.decompress(path.read_bytes()))["features"]
    by_name = {f["properties"]["classification"]["name"]: f["geometry"]["coordinates"] for f in features}
    assert min(by_name["light"][0]) == [400, 300]
    assert told[-1].stage == "outputs"


def test_a_finished_run_tells_its_warnings_again(run: RunJob, told: list[Progress]) -> None:
    again: list[Progress] = []
    network = Threshold()
    run_pipeline(run, network, again.append, lambda: False)
    assert network.patches == 0
    assert again[-1].warnings == told[-1].warnings


def test_outputs_change_nothing_in_the_labels(run: RunJob, told: list[Progress], tmp_path: Path) -> None:
    plain = replace(run, directory=str(tmp_path / "job"), parameters=JobParameters())
    run_pipeline(plain, Threshold(), lambda _: None, lambda: False)
    with_outputs = JobFiles(Path(run.directory))
    assert JobFiles(tmp_path / "job").labels.read_bytes() == with_outputs.labels.read_bytes()
    assert not list((tmp_path / "job").glob("regions*"))
