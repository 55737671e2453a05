"""Real files, good and broken, where they are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from darefine.client import Client, ServiceRefusedError
from tests.conftest import BROKEN_SLIDES

pytestmark = pytest.mark.e2e


def run(client: Client, path: Path, **options: Any) -> dict[str, Any]:
    slide = client.upload(path, lambda done, total: None)
    job = client.submit(slide["id"], options)
    *_, job = client.follow(job["id"])
    return job


def labels_of(client: Client, job: dict[str, Any], folder: Path) -> np.ndarray:
    path = folder / f"{job['id']}.tif"
    client.download(job["id"], "labels.tif", path)
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
    assert job["state"] == "succeeded", job["error"]
    label_map = client.result(job["id"])["label_map"]
    assert (label_map["width"], label_map["height"]) == size


def test_dicom_folder_gives_the_labels_of_the_svs(client: Client, real_slides: Path, tmp_path: Path) -> None:
    svs = run(client, real_slides / "slides" / "CMU-1-Small-Region.svs")
    dicom = run(client, real_slides / "slides" / "cytomine_dicom_wsi")
    one, other = (labels_of(client, job, tmp_path) for job in (svs, dicom))
    assert one.shape == other.shape
    assert np.mean(one == other) > 0.999


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
    expected = job["state"] == "failed" and job["error"]["type"] != "internal"
    return job["error"]["detail"] if expected else ""


@pytest.mark.parametrize("name", ["no_mpp.svs", "mpp_negative.svs"])
def test_unknown_pixel_size_is_told_or_rescued(client: Client, real_slides: Path, name: str) -> None:
    slide = client.upload(real_slides / "broken" / name, lambda done, total: None)
    if slide["mpp"] is None:
        with pytest.raises(ServiceRefusedError, match="mpp="):
            client.submit(slide["id"], {})
    job = run(client, real_slides / "broken" / name, mpp=0.499)
    assert job["state"] == "succeeded", job["error"]
    assert client.result(job["id"])["mpp"]["source"] == "request"
