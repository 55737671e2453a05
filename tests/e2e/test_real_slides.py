"""Real files, good and broken, where they are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from darefine.client import Client, Job, ServiceRefusedError
from model.inference.segmenter import Segmenter
from tests import WEIGHTS
from tests.conftest import BROKEN_SLIDES
from workers.engine.pipeline import run_pipeline
from workers.jobs import JobParameters
from workers.protocol import RunJob

pytestmark = pytest.mark.e2e

DEMO_CARD = WEIGHTS / "phantom-resnet18-centred.json"


def run(client: Client, path: Path, **options: Any) -> Job:
    slide = client.upload(path)
    job = client.submit(slide.id, **options, force=True)
    *_, job = client.follow(job.id)
    return job


def labels_of(client: Client, job: Job, folder: Path) -> np.ndarray:
    path = folder / f"{job.id}.tif"
    client.download(job.id, "labels.tif", path)
    labels: np.ndarray = tifffile.imread(path)
    return labels


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("CMU-1-Small-Region.svs", (1110, 1483)),
        ("test3-DAPI-2-387.ndpi", (992, 1216)),
        ("panimg_no_dzi.tif", (3072, 3968)),
    ],
)
def test_good_slides(client: Client, real_slides: Path, name: str, size: tuple[int, int]) -> None:
    job = run(client, real_slides / "slides" / name)
    assert job.state == "succeeded", job.error
    label_map = client.result(job.id).label_map
    assert (label_map["width"], label_map["height"]) == size


def test_dicom_folder_lies_on_the_grid_of_the_svs(client: Client, real_slides: Path, tmp_path: Path) -> None:
    svs = run(client, real_slides / "slides" / "CMU-1-Small-Region.svs")
    dicom = run(client, real_slides / "slides" / "cytomine_dicom_wsi")
    one, other = (labels_of(client, job, tmp_path) for job in (svs, dicom))
    assert one.shape == other.shape
    # What is tissue hardly depends on the network.
    assert np.mean((one > 0) == (other > 0)) > 0.995


def test_dicom_and_svs_of_one_scan_get_nearly_the_same_labels(real_slides: Path, tmp_path: Path) -> None:
    """With the demo weights, which tell classes apart.

    The DICOM copy is compressed anew: its pixels differ by 3 grey values on average, so some labels must.
    """
    segmenter = Segmenter.load(DEMO_CARD, device="cpu", precision="fp32")
    maps = []
    for name in ("CMU-1-Small-Region.svs", "cytomine_dicom_wsi"):
        task = RunJob(
            "job", 1, name, str(real_slides / "slides" / name), str(tmp_path / name), "x", JobParameters()
        )
        run_pipeline(task, segmenter, lambda _progress: None, lambda: False)
        maps.append(tifffile.imread(tmp_path / name / "labels.tif"))
    one, other = maps
    assert len(np.unique(one)) > 2
    assert np.mean(one == other) > 0.99
    assert np.mean((one == other)[(one > 0) | (other > 0)]) > 0.98


@pytest.mark.parametrize("name", BROKEN_SLIDES)
def test_broken_slides_are_refused_or_fail_with_a_reason(
    client: Client, real_slides: Path, name: str
) -> None:
    reason = why_not(client, real_slides / "broken" / name)
    assert len(reason) > 20
    assert "Error:" not in reason, "a Python error leaked"
    assert client.ready(), "the service keeps serving"


def why_not(client: Client, path: Path) -> str:
    """What the service says against a slide, at once or as the failed job's error."""
    try:
        job = run(client, path)
    except ServiceRefusedError as refusal:
        status, _, reason = str(refusal).partition(" ")
        return reason if status.startswith("4") else ""
    expected = job.state == "failed" and job.error.type != "internal"
    return job.error.detail if expected else ""


@pytest.mark.parametrize("name", ["no_mpp.svs", "mpp_negative.svs"])
def test_unknown_pixel_size_is_told_or_rescued(client: Client, real_slides: Path, name: str) -> None:
    slide = client.upload(real_slides / "broken" / name)
    if slide.mpp is None:
        with pytest.raises(ServiceRefusedError, match="mpp="):
            client.submit(slide.id, force=True)
    job = run(client, real_slides / "broken" / name, mpp=0.499)
    assert job.state == "succeeded", job.error
    assert client.result(job.id).mpp.source == "request"
