"""Outputs in the formats of others, made by jobs: refusals, and jobs that are killed while they write."""

import zipfile
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
import tifffile

from benchmarks.dicom_slide import write_dicom_slide
from workers.engine.pipeline import run_pipeline
from workers.errors import JobCancelledError
from workers.jobs import JobFiles, JobParameters, Progress
from workers.protocol import RunJob
from wsi.errors import OutputUnavailableError

from .test_pipeline import CARD, Threshold

ASKED = ("dicom_seg", "ome_zarr")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM slide of one patch at 1 um/px: a light square in dark tissue, on glass."""
    pixels = np.full((900, 1300, 3), 244, np.uint8)
    pixels[100:800, 100:1100] = (90, 60, 120)
    pixels[300:500, 300:700] = (190, 150, 170)
    return write_dicom_slide(tmp_path_factory.mktemp("dicom") / "slide", pixels, 1.0)


def run_of(slide: Path, directory: Path) -> RunJob:
    parameters = JobParameters(outputs=ASKED)
    return RunJob("b" * 24, 1, slide.name, str(slide), str(directory), CARD.name, parameters)


@pytest.fixture(scope="module")
def files(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFiles:
    run = run_of(slide, tmp_path_factory.mktemp("job"))
    run_pipeline(run, Threshold(), lambda _: None, lambda: False)
    return JobFiles(Path(run.directory))


def test_a_job_of_a_dicom_slide_makes_both(files: JobFiles) -> None:
    labels = tifffile.imread(files.labels)
    assert (labels[350:450, 350:650] == 2).all()
    found = highdicom.seg.segread(files.dicom_seg)
    np.testing.assert_array_equal(found.get_total_pixel_matrix(combine_segments=True), labels)
    assert found.get_segment_description(2).segment_label == "light"
    with zipfile.ZipFile(files.ome_zarr) as archive:
        assert archive.testzip() is None
        assert "labels/classes/zarr.json" in archive.namelist()


def test_a_job_killed_while_it_writes_goes_on_to_the_same_bytes(
    slide: Path, files: JobFiles, tmp_path: Path
) -> None:
    run = run_of(slide, tmp_path / "job")
    mine = JobFiles(tmp_path / "job")
    told: list[Progress] = []

    def cancelled() -> bool:
        return bool(told) and told[-1].stage == "outputs" and mine.dicom_seg.exists()

    with pytest.raises(JobCancelledError):
        run_pipeline(run, Threshold(), told.append, cancelled)
    assert not mine.result.exists()
    # As a killed process leaves them: nobody cleans up.
    (mine.directory / ".labels.ome.zarr.zip.x.partial").mkdir()
    (mine.directory / ".labels.ome.zarr.zip.x.partial" / "zarr.json").touch()
    again = Threshold()
    run_pipeline(replace(run, attempt=2), again, lambda _: None, lambda: False)
    assert again.patches == 0, "the labels were there"
    assert not list(mine.directory.glob(".*.partial"))
    for name in (files.dicom_seg.name, files.ome_zarr.name):
        assert (mine.directory / name).read_bytes() == (files.directory / name).read_bytes()


def test_a_slide_of_another_format_is_refused_before_it_is_labelled(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    pixels = np.full((600, 600, 3), 120, np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), resolution=(1e4, 1e4), resolutionunit="CENTIMETER")
    network = Threshold()
    with pytest.raises(OutputUnavailableError, match="Leave it out, or send the slide as DICOM"):
        run_pipeline(run_of(path, tmp_path / "job"), network, lambda _: None, lambda: False)
    assert network.patches == 0
