"""Slide in, overlay out, through the command line and HTTP."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from darefine.client import Client
from wsi.phantom import PhantomFiles

from .conftest import RunningService

pytestmark = pytest.mark.e2e


def submit(
    service: RunningService, slide: Path, out: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run `darefine submit` as a user would."""
    command = [
        sys.executable,
        "-m",
        "darefine",
        "submit",
        str(slide),
        "--url",
        service.url,
        "--out",
        str(out),
    ]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=240, check=False)


def test_submit_leaves_the_three_files(
    service: RunningService, small_phantom: PhantomFiles, tmp_path: Path
) -> None:
    done = submit(service, small_phantom.slide, tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["job"]["state"] == "succeeded"
    assert answer["job"]["progress"]["fraction"] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.tiny.job.json",
        "small.tiny.labels.tif",
        "small.tiny.overlay.tif",
        "small.tiny.result.json",
        "summary.csv",
    ]
    assert json.loads((tmp_path / "small.tiny.result.json").read_text()) == answer["result"]


def test_the_files_lie_exactly_on_the_slide(
    service: RunningService, small_phantom: PhantomFiles, tmp_path: Path
) -> None:
    assert submit(service, small_phantom.slide, tmp_path).returncode == 0
    result = json.loads((tmp_path / "small.tiny.result.json").read_text())
    labels = tifffile.imread(tmp_path / "small.tiny.labels.tif")
    assert labels.shape == (2048, 2048)
    counts = np.bincount(labels.ravel(), minlength=5)
    assert [item["pixels"] for item in result["classes"]] == counts[1:5].tolist()
    assert counts[0] > 0, "glass is 0"
    with (
        openslide.OpenSlide(small_phantom.slide) as slide,
        openslide.OpenSlide(tmp_path / "small.tiny.overlay.tif") as overlay,
    ):
        n = slide.dimensions[0] / overlay.dimensions[0]
        assert (n, slide.dimensions[1] / overlay.dimensions[1]) == (2, 2)
        mpp = float(overlay.properties[openslide.PROPERTY_NAME_MPP_X])
        assert mpp == pytest.approx(n * float(slide.properties[openslide.PROPERTY_NAME_MPP_X]), rel=1e-4)
        colours = {tuple(item["colour"]) for item in result["classes"]} | {(255, 255, 255)}
        shown = np.asarray(overlay.read_region((0, 0), 0, overlay.dimensions))[..., :3].reshape(-1, 3)
        assert {tuple(colour) for colour in np.unique(shown, axis=0).tolist()} <= colours


def test_submit_fails_loudly(service: RunningService, tmp_path: Path) -> None:
    junk = tmp_path / "junk.svs"
    junk.write_bytes(b"not a slide" * 1000)
    refused = submit(service, junk, tmp_path / "out")
    assert refused.returncode == 1
    assert "422" in refused.stderr
    nowhere = RunningService("http://127.0.0.1:9", tmp_path, service.process)
    away = submit(nowhere, junk, tmp_path / "out")
    assert away.returncode == 1
    assert "darefine serve" in away.stderr


def test_same_slide_same_bytes(client: Client, small_phantom: PhantomFiles) -> None:
    slide = client.upload(small_phantom.slide)
    hashes = []
    for _ in range(2):
        job = client.submit(slide.id, force=True)
        *_, job = client.follow(job.id)
        assert job.state == "succeeded", job
        hashes.append({name: file.sha256 for name, file in client.result(job.id).files.items()})
    assert hashes[0] == hashes[1]


def test_cancel_stops_a_running_job(client: Client, large_phantom: PhantomFiles) -> None:
    slide = client.upload(large_phantom.slide)
    # The widest halo: a job that lasts many heartbeats, however fast the machine.
    job_id = client.submit(slide.id, halo_px=256, force=True).id
    asked = False
    for job in client.follow(job_id):
        if job.progress.patches_done >= 1 and not asked:
            client.cancel(job_id)
            asked = True
    assert job.state == "cancelled"
    assert job.progress.patches_done < job.progress.patches_total
