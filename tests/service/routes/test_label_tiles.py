"""Label tiles over HTTP, of a job that runs and of one that is done, with files as the engine leaves them."""

import io
import json
import shutil
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsi.geometry import Rect, Size
from wsi.grid import Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.plan import make_plan
from wsi.tiles.patch_folder import FRESH_S
from wsi.tissue import TissueMask
from wsi.writing.label_store import LabelStore
from wsi.writing.pyramid import write_label_pyramids, write_quantity_pyramid
from wsi.writing.reduction import reduce_mean

from ..conftest import Api, assert_problem, post_slide, write_slide

CLASSES = (LabelClass(1, "one", (0, 0, 0)), LabelClass(2, "two", (255, 0, 0)))
GRID = make_grid(Size(5001, 2603), 0.467, InputGeometry(0.934, 5, slices_per_side=2, halo_px=64))


class RunningJob:
    """A job in the middle of its patches: label map of 2500 x 1301 px, 3 x 2 patches, n = 2."""

    def __init__(self, api: Api, slide: Path, grid: Grid = GRID, **options: str) -> None:
        self.api, self.grid = api, grid
        job = post_slide(api, slide, **options).json()
        self.id: str = job["id"]
        self.slide_id: str = job["slide"]["id"]
        self.url: str = job["links"]["tiles"]
        self.folder = api.data_dir / "jobs" / self.id
        self.store = LabelStore(self.folder / "patches", grid)
        api.lease.start(self.id, 1, "tester")

    def plan(self) -> None:
        """As the engine does."""
        plan = make_plan(self.grid, TissueMask.everywhere(self.grid, Rect.of(self.grid.slide)))
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"run": {}, "classes": [asdict(label) for label in CLASSES], **plan.to_json()}
        (self.folder / "plan.json").write_text(json.dumps(told))

    def write(self, index: int) -> NDArray[np.uint8]:
        """Finish a patch."""
        blocks = np.random.default_rng(index).integers(0, 3, (16, 16), np.uint8)
        labels = np.kron(blocks, np.ones((64, 64), np.uint8))
        self.store.write(index, labels)
        return labels

    def write_pyramids(self) -> None:
        write_label_pyramids(
            self.store,
            self.grid,
            Palette(CLASSES),
            {},
            labels=self.folder / "labels.tif",
            overlay=self.folder / "overlay.tif",
        )
        shutil.rmtree(self.folder / "patches")

    def tiles(self) -> dict[str, Any]:
        answer = self.api.http.get(self.url)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def tile(self, level: int, column: int, row: int, *, map_: str = "", **query: str) -> NDArray[np.uint8]:
        answer = self.api.http.get(f"{self.url}/{map_}{level}/{column}_{row}", params=query)
        if answer.status_code == 204:
            return np.zeros((512, 512), np.uint8)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-encoding"] == "deflate"
        return np.frombuffer(answer.content, np.uint8).reshape(512, 512)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of these tests alone: their jobs never end."""
    return write_slide(tmp_path_factory.mktemp("slides") / "own.tif", seed=41)


@pytest.fixture
def job(api: Api, slide: Path) -> RunningJob:
    job = RunningJob(api, slide)
    job.plan()
    return job


def test_before_the_plan_there_are_no_tiles_yet(api: Api, slide: Path) -> None:
    job = RunningJob(api, slide)
    for path in ("", "/0/0_0"):
        answer = api.http.get(job.url + path)
        assert "Ask again" in assert_problem(answer, 409, "result-not-ready")
        assert answer.headers["retry-after"]
    assert_problem(api.http.get("/v1/jobs/none/tiles"), 404, "job-not-found")
    assert_problem(api.http.get("/v1/jobs/none/tiles/0/0_0"), 404, "job-not-found")


def test_the_grid_says_all_a_viewer_needs(job: RunningJob) -> None:
    job.write(4)
    job.write(1)
    found = job.tiles()
    assert found.pop("version")
    assert found == {
        "width": 2500,
        "height": 1301,
        "downsample": 2,
        "tile_px": 512,
        "levels": 4,
        "patch_px": 1024,
        "patch_columns": 3,
        "patch_rows": 2,
        "slide_id": job.slide_id,
        "model": "stand-in",
        "classes": [asdict(label) | {"colour": list(label.colour)} for label in CLASSES],
        "state": "running",
        "finished": False,
        "patches": [4, 1],
        "probabilities": False,
    }


def test_every_tile_of_a_running_job_is_in_the_finished_one(api: Api, job: RunningJob) -> None:
    before = job.tiles()
    assert not job.tile(0, 0, 0).any()
    for index in range(6):
        job.write(index)
    during = job.tiles()
    assert during["version"] != before["version"]
    addresses = [
        (level, column, row)
        for level, (columns, rows) in enumerate([(5, 3), (3, 2), (2, 1), (1, 1)])
        for column in range(columns)
        for row in range(rows)
    ]
    shown = [job.tile(*address, v=during["version"]) for address in addresses]
    assert all(tile.any() for tile in shown)
    job.write_pyramids()
    assert all(np.array_equal(a, job.tile(*at)) for a, at in zip(shown, addresses, strict=True)), (
        "not over yet"
    )
    api.lease.succeed(job.id, 1)
    after = job.tiles()
    assert (after["finished"], after["patches"], after["state"]) == (True, None, "succeeded")
    assert after["version"] not in {before["version"], during["version"]}
    assert all(np.array_equal(a, job.tile(*at)) for a, at in zip(shown, addresses, strict=True))


def test_a_tile_is_what_is_stored(api: Api, job: RunningJob) -> None:
    labels = job.write(0)
    assert np.array_equal(job.tile(0, 1, 0), labels[:512, 512:])
    with api.http.stream("GET", f"{job.url}/0/1_0") as answer:
        stored = b"".join(answer.iter_raw())
        assert answer.headers["content-type"] == "application/octet-stream"
        assert int(answer.headers["content-length"]) == len(stored)
    assert zlib.decompress(stored) == labels[:512, 512:].tobytes()
    assert stored in (job.folder / "patches" / "patch-000000.tif").read_bytes()


def test_a_tile_as_png(api: Api, job: RunningJob) -> None:
    labels = job.write(0)
    answer = api.http.get(f"{job.url}/0/0_1?format=png")
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), labels[512:, :512])
    assert_problem(api.http.get(f"{job.url}/0/0_1?format=gif"), 422, "request-invalid")


def test_copies_of_a_running_job_are_good_until_a_patch_under_the_tile_is_stored(
    api: Api, job: RunningJob
) -> None:
    job.write(0)
    job.tiles()
    here, top = f"{job.url}/0/0_0", f"{job.url}/3/0_0"
    first = {url: api.http.get(url) for url in (here, top)}
    for answer in first.values():
        assert answer.headers["cache-control"] == "private, no-cache"
    job.write(2)
    version = job.tiles()["version"]
    for url, status in ((here, 304), (top, 200)):
        etag = first[url].headers["etag"]
        answer = api.http.get(url, params={"v": version}, headers={"If-None-Match": etag})
        assert answer.status_code == status, url


def test_copies_of_a_finished_job_are_good_for_ever(api: Api, job: RunningJob) -> None:
    job.write(0)
    job.write_pyramids()
    api.lease.succeed(job.id, 1)
    version = job.tiles()["version"]
    for path in ("0/0_0", "0/4_2"):  # the second is blank
        current = api.http.get(f"{job.url}/{path}?v={version}")
        assert current.headers["cache-control"] == "private, max-age=31536000, immutable"
        other = api.http.get(f"{job.url}/{path}?v=other")
        assert other.headers["cache-control"] == "private, no-cache"
        again = api.http.get(f"{job.url}/{path}", headers={"If-None-Match": other.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "address", ["0/5_0", "0/0_3", "4/0_0", "-1/0_0", "0/-1_0", "0/0_-1", f"{10**30}/0_0"]
)
def test_tiles_that_are_not_there_are_not_found(api: Api, job: RunningJob, address: str) -> None:
    assert "There is no tile" in assert_problem(api.http.get(f"{job.url}/{address}"), 404, "tile-not-found")


@pytest.mark.parametrize("address", ["x/0_0", "0/a_b", f"{'9' * 5000}/0_0", "0/0x1_0"])
def test_senseless_addresses_are_refused(api: Api, job: RunningJob, address: str) -> None:
    assert_problem(api.http.get(f"{job.url}/{address}"), 422, "request-invalid")


def test_a_deleted_job_has_no_tiles(api: Api, job: RunningJob) -> None:
    job.write(0)
    assert job.tile(0, 0, 0).any()
    api.lease.succeed(job.id, 1)
    assert api.http.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert_problem(api.http.get(f"{job.url}/0/0_0"), 404, "job-not-found")


def test_a_job_planned_anew_shows_nothing_of_the_old_plan(api: Api, job: RunningJob, slide: Path) -> None:
    job.write(0)
    job.write_pyramids()
    old = job.tiles()
    assert old["finished"], "all is written; only the last word is missing"
    job.grid = make_grid(Size(5001, 2603), 0.467, InputGeometry(0.467, 5, slices_per_side=2, halo_px=64))
    job.store = LabelStore(job.folder / "patches", job.grid)
    job.plan()
    new = job.tiles()
    assert (new["width"], new["finished"], new["patches"]) == (5001, False, [])
    assert not job.tile(0, 0, 0).any()
    job.write(0)
    assert job.tiles()["patches"] == [0]


def test_jobs_of_one_slide(api: Api, slide: Path, job: RunningJob) -> None:
    other = RunningJob(api, slide)
    found = api.http.get("/v1/jobs", params={"slide_id": job.slide_id, "limit": 1}).json()
    assert [item["id"] for item in found["jobs"]] == [other.id]
    query = {"slide_id": job.slide_id, "limit": 1, "cursor": found["next_cursor"]}
    assert [item["id"] for item in api.http.get("/v1/jobs", params=query).json()["jobs"]] == [job.id]
    assert api.http.get("/v1/jobs?slide_id=none").json() == {"jobs": [], "next_cursor": None}


def test_probabilities_have_tiles_of_their_own(api: Api, slide: Path) -> None:
    job = RunningJob(api, slide, outputs="probabilities")
    job.plan()
    job.write(1)
    assert job.tiles()["probabilities"] is True
    assert not job.tile(0, 2, 0, map_="probabilities/").any()
    kept = LabelStore(job.folder / "probability-patches", job.grid, reduce_mean)
    drawn = {}
    for index in range(6):
        job.write(index)
        drawn[index] = np.random.default_rng(index).integers(1, 256, (1024, 1024), np.uint8)
        kept.write(index, drawn[index])
    time.sleep(FRESH_S)
    np.testing.assert_array_equal(job.tile(0, 2, 0, map_="probabilities/"), drawn[1][:512, :512])
    running = [job.tile(level, 0, 0, map_="probabilities/") for level in range(4)]
    write_quantity_pyramid(kept, job.grid, {}, job.folder / "probabilities.tif", channel="p")
    job.write_pyramids()
    job.api.lease.succeed(job.id, 1)
    version = job.tiles()["version"]
    for level, tile in enumerate(running):
        np.testing.assert_array_equal(job.tile(level, 0, 0, map_="probabilities/", v=version), tile)
    answer = api.http.get(f"{job.url}/probabilities/0/0_0", params={"v": version, "format": "png"})
    assert "immutable" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).getpixel((0, 0)) == drawn[0][0, 0]
    assert_problem(api.http.get(f"{job.url}/probabilities/0/9_0"), 404, "tile-not-found")


def test_a_job_without_probabilities_says_how_to_have_them(api: Api, job: RunningJob) -> None:
    answer = api.http.get(f"{job.url}/probabilities/0/0_0")
    assert "outputs=probabilities" in assert_problem(answer, 404, "result-file-not-found")
