"""Tiles of slides over HTTP, and the processes that may die of reading them."""

import io
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

import service.tiles.slide_readers
from service.settings import ServiceSettings
from wsi.geometry import Rect, Size
from wsi.grid import InputGeometry, make_grid
from wsi.reading.slide import open_slide

from ..conftest import Api, api_process, assert_problem, running_api, write_slide
from ..stand_in_reader import OPENED
from .test_label_tiles import RunningJob

SQUARE = Rect(1040, 592, 304, 208)
"""l0 px of the dark square on the slide, multiples of 16."""


def write_square(path: Path, **options: Any) -> Path:
    """A light slide of 2600 x 1500 px at 0.5 um/px with a dark square, stored without loss."""
    pixels = np.full((1500, 2600, 3), (235, 225, 230), np.uint8)
    pixels[SQUARE.y : SQUARE.bottom, SQUARE.x : SQUARE.right] = (90, 40, 110)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression="adobe_deflate",
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
        **options,
    )
    return path


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_square(tmp_path_factory.mktemp("square") / "square.tif")


def put(http: httpx.Client, path: Path) -> dict[str, Any]:
    """Upload a slide."""
    answer = http.put(f"/v1/slides?filename={path.name}", content=path.read_bytes())
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


def pixels_of(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.fixture(scope="module")
def stored(api: Api, square: Path) -> dict[str, Any]:
    return put(api.http, square)


def test_the_grid_of_a_slide(api: Api, stored: dict[str, Any]) -> None:
    found = api.http.get(stored["links"]["tiles"]).json()
    assert found.pop("version")
    assert found == {
        "width": 2600,
        "height": 1500,
        "tile_px": 512,
        "levels": 4,
        "mpp": pytest.approx(0.5),
        "format": "jpeg",
    }


def test_edge_tiles_are_cropped(api: Api, stored: dict[str, Any]) -> None:
    sizes = {
        "0/0_0": (512, 512),
        "0/5_2": (40, 476),
        "1/2_1": (276, 238),
        "2/1_0": (138, 375),
        "3/0_0": (325, 188),
    }
    for address, (width, height) in sizes.items():
        tile = pixels_of(api.http.get(f"{stored['links']['tiles']}/{address}.jpeg"))
        assert tile.shape == (height, width, 3), address


@pytest.mark.parametrize("n", [1, 2, 4])
def test_slide_and_labels_lie_on_each_other_to_the_pixel(api: Api, square: Path, n: int) -> None:
    geometry = InputGeometry(0.5 * n, 5, slices_per_side=1, halo_px=0)
    job = RunningJob(api, square, make_grid(Size(2600, 1500), 0.5, geometry))
    job.plan()
    assert job.grid.downsample == n
    on_labels = Rect(SQUARE.x // n, SQUARE.y // n, SQUARE.width // n, SQUARE.height // n)
    for index in range(job.grid.patch_columns * job.grid.patch_rows):
        core = job.grid.patch_core(index)
        part = on_labels.intersect(core).moved(-core.x, -core.y)
        labels = np.full((512, 512), 2, np.uint8)
        labels[part.y : part.bottom, part.x : part.right] = 1
        job.store.write(index, labels)
    grid = job.tiles()
    for level in range(grid["levels"]):
        columns, rows = (-(-(grid[side] >> level) // 512) for side in ("width", "height"))
        for column in range(columns):
            for row in range(rows):
                labels = job.tile(level, column, row)
                url = f"/v1/slides/{job.slide_id}/tiles/{level + n.bit_length() - 1}/{column}_{row}.jpeg"
                slide = pixels_of(api.http.get(url))
                dark = slide.mean(axis=2) < 150
                own = labels[: dark.shape[0], : dark.shape[1]]
                known = own > 0
                assert known.any()
                assert np.array_equal(dark[known], (own == 1)[known]), (n, level, column, row)
    api.lease.succeed(job.id, 1)


def test_tiles_are_what_the_network_reads(api: Api, stored: dict[str, Any], square: Path) -> None:
    with open_slide(square) as slide:
        seen = slide.read_region(Rect(1024, 0, 1024, 1024), 2)
    tile = pixels_of(api.http.get(f"{stored['links']['tiles']}/1/1_0.jpeg"))
    assert np.abs(tile.astype(int) - seen).mean() < 2


def test_a_thumbnail_of_the_slide(api: Api, stored: dict[str, Any]) -> None:
    small = pixels_of(api.http.get(f"{stored['links']['thumbnail']}?side=130"))
    assert small.shape == (75, 130, 3)
    dark = small.mean(axis=2) < 150
    ys, xs = dark.nonzero()
    expected = (SQUARE.x / 20, SQUARE.right / 20, SQUARE.y / 20, SQUARE.bottom / 20)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == pytest.approx(expected, abs=1)
    assert max(pixels_of(api.http.get(stored["links"]["thumbnail"])).shape) <= 256
    for side in ("31", "1025", "x"):
        answer = api.http.get(f"{stored['links']['thumbnail']}?side={side}")
        assert_problem(answer, 422, "request-invalid")


def test_copies_are_good_for_ever(api: Api, stored: dict[str, Any]) -> None:
    version = api.http.get(stored["links"]["tiles"]).json()["version"]
    for url in (f"{stored['links']['tiles']}/0/1_1.jpeg", stored["links"]["thumbnail"]):
        first = api.http.get(url, params={"v": version})
        assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert api.http.get(url).headers["cache-control"] == "private, no-cache"
        again = api.http.get(url, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "address", ["0/6_0", "0/0_3", "4/0_0", "-1/0_0", "0/-1_0", f"{10**30}/0_0", f"0/{10**30}_0"]
)
def test_tiles_that_are_not_there_are_not_found(api: Api, stored: dict[str, Any], address: str) -> None:
    assert_problem(api.http.get(f"{stored['links']['tiles']}/{address}.jpeg"), 404, "tile-not-found")


@pytest.mark.parametrize("address", ["x/0_0.jpeg", "0/a_b.jpeg", f"{'9' * 5000}/0_0.jpeg"])
def test_senseless_addresses_are_refused(api: Api, stored: dict[str, Any], address: str) -> None:
    assert_problem(api.http.get(f"{stored['links']['tiles']}/{address}"), 422, "request-invalid")


def test_no_tiles_of_unknown_slides(api: Api) -> None:
    for path in ("tiles", "tiles/0/0_0.jpeg", "thumbnail"):
        assert_problem(api.http.get(f"/v1/slides/{'0' * 24}/{path}"), 404, "slide-not-found")


def test_colours_are_those_that_the_profile_means(api: Api, tmp_path: Path) -> None:
    # A profile that calls red what sRGB calls green, and the other way round.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in (b"XYZ", b"TRC"):
        profile = profile.replace(b"r" + name, b"?" + name)
        profile = profile.replace(b"g" + name, b"r" + name).replace(b"?" + name, b"g" + name)
    path = write_square(tmp_path / "icc.tif", extratags=[(34675, 7, len(profile), profile, True)])
    tile = pixels_of(api.http.get(f"{put(api.http, path)['links']['tiles']}/3/0_0.jpeg"))
    assert tile[0, 0].tolist() == pytest.approx((225, 235, 230), abs=3)
    assert tile[87, 149].tolist() == pytest.approx((40, 90, 110), abs=3)


def test_a_senseless_profile_is_left_out(api: Api, tmp_path: Path) -> None:
    path = write_square(tmp_path / "bad-icc.tif", extratags=[(34675, 7, 200, bytes(200), True)])
    tile = pixels_of(api.http.get(f"{put(api.http, path)['links']['tiles']}/3/0_0.jpeg"))
    assert tile[0, 0].tolist() == pytest.approx((235, 225, 230), abs=3)


@dataclass(frozen=True)
class Fragile:
    """An API whose readers do what the names of slides say."""

    http: httpx.Client
    log: Path

    def opened(self, name: str) -> list[int]:
        """The process ids of the readers that opened the slide."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [int(pid) for pid, opened in lines if opened == name]


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fragile]:
    reader = Path(__file__).parents[1] / "stand_in_reader.py"
    monkeypatch.setattr(service.tiles.slide_readers, "READER", (str(reader),))
    log = tmp_path / "opened"
    log.touch()
    monkeypatch.setenv(OPENED, str(log))
    settings = ServiceSettings(
        data_dir=tmp_path, redis_url="redis://127.0.0.1:1/0", tile_timeout_s=1.5, tile_readers=2
    )
    with running_api(settings) as http:
        yield Fragile(http, log)


@pytest.mark.slow
def test_a_reader_killed_at_work_is_replaced_and_the_tile_arrives(fragile: Fragile, tmp_path: Path) -> None:
    slow = put(fragile.http, write_slide(tmp_path / "slow.tif", seed=51))["links"]["tiles"]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(fragile.http.get, f"{slow}/0/0_0.jpeg")
        deadline = time.monotonic() + 20
        while not fragile.opened("slow.tif"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(fragile.opened("slow.tif")[0], signal.SIGKILL)
        assert pixels_of(call.result()).shape == (512, 512, 3)
    assert len(fragile.opened("slow.tif")) == 2
    for row in (0, 1):
        assert fragile.http.get(f"{slow}/0/1_{row}.jpeg").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cause", "tries"), [("abort.tif", "SIGABRT", 2), ("hang.tif", "1.5 s", 1)])
def test_a_slide_that_harms_its_reader_is_quarantined_alone(
    fragile: Fragile, tmp_path: Path, name: str, cause: str, tries: int
) -> None:
    bad = put(fragile.http, write_slide(tmp_path / name, seed=52))["links"]
    good = put(fragile.http, write_slide(tmp_path / "good.tif", seed=53))["links"]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(fragile.http.get, f"{bad['tiles']}/0/0_0.jpeg") for _ in range(4)]
        others = [pool.submit(fragile.http.get, f"{good['tiles']}/0/{x}_0.jpeg") for x in (0, 1)]
        for call in calls:
            assert cause in assert_problem(call.result(), 502, "slide-quarantined")
        assert [other.result().status_code for other in others] == [200, 200]
    for url in (f"{bad['tiles']}/1/0_0.jpeg", bad["thumbnail"]):
        assert "10 min" in assert_problem(fragile.http.get(url), 502, "slide-quarantined")
    assert len(fragile.opened(name)) == tries, "it is left alone"
    assert fragile.http.get(good["thumbnail"]).status_code == 200


@pytest.mark.slow
def test_equal_requests_are_read_once(fragile: Fragile, tmp_path: Path) -> None:
    slow = put(fragile.http, write_slide(tmp_path / "slow.tif", seed=54))["links"]["tiles"]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fragile.http.get, [f"{slow}/0/0_0.jpeg"] * 12))
    assert len({answer.content for answer in answers}) == 1
    assert len(fragile.opened("slow.tif")) == 1


def test_a_damaged_tile_is_a_502_and_its_neighbours_are_read(api: Api) -> None:
    # Between the places that are decoded before a slide is taken.
    path, damaged = write_slide(api.slide_root / "damaged.tif", seed=55, side_px=2560), 3 * 10 + 3
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        start, length = page.dataoffsets[damaged], page.databytecounts[damaged]
        content[start : start + length] = bytes(length)
    path.write_bytes(content)
    tiles = api.http.post("/v1/slides", json={"uri": str(path)}).json()["links"]["tiles"]
    for _ in range(2):
        assert_problem(api.http.get(f"{tiles}/0/1_1.jpeg"), 502, "tile-unreadable")
        assert pixels_of(api.http.get(f"{tiles}/0/0_0.jpeg")).shape == (512, 512, 3)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_readers_end_with_the_api(tmp_path: Path, how: signal.Signals) -> None:
    with api_process(tmp_path, "redis://127.0.0.1:1/0") as (process, http):
        tiles = put(http, write_slide(tmp_path / "a.tif", seed=56))["links"]["tiles"]
        assert http.get(f"{tiles}/0/0_0.jpeg").status_code == 200
        readers = psutil.Process(process.pid).children()
        assert ["wsi.tiles.reader" in reader.cmdline() for reader in readers] == [True]
        process.send_signal(how)
        gone, _ = psutil.wait_procs(readers, timeout=60)
        assert gone == readers
