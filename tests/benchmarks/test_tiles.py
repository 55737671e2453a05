"""Addresses and summaries of the tile benchmark; the service itself has tests of its own."""

import random

import httpx
import pytest

from benchmarks.tiles import Tiled, summary, warm
from wsi.geometry import Size
from wsi.tiles.levels import has_tile

SIZE = Size(9000, 700)


def answer(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/tiles"):
        return httpx.Response(200, json={"width": SIZE.width, "height": SIZE.height})
    level, place = request.url.path.removesuffix(".jpeg").split("/")[-2:]
    column, row = place.split("_")
    return httpx.Response(200 if has_tile(SIZE, int(level), int(column), int(row)) else 404)


@pytest.fixture
def http() -> httpx.Client:
    return httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))


def test_every_tile_asked_for_is_one_of_the_slide(http: httpx.Client) -> None:
    tiles = Tiled.of(http, "/v1/slides/a/tiles", ".jpeg")
    assert len(tiles.levels) == 6
    assert warm(http, tiles, 1.0)["requests"] == 300


def test_tiles_are_asked_for_where_the_tissue_is() -> None:
    tiles = Tiled("/t", ((100, 50),), "")
    rng = random.Random(1)
    places = [tiles.near(rng, 0, 0.2).removeprefix("/t/0/").split("_") for _ in range(200)]
    assert {int(column) for column, _ in places} == set(range(40, 60))
    assert {int(row) for _, row in places} == set(range(20, 30))


def test_percentiles_are_of_all_requests() -> None:
    assert summary([float(k) for k in range(101)]) == {"requests": 101, "p50": 50, "p95": 95, "p99": 99}
