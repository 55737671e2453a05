"""Regions of a job over HTTP: what a job keeps of them, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi.read_regions import MAX_VERTICES

from ..conftest import Api, assert_problem, post_slide

RECTANGLES: dict[str, Any] = {
    "unit": "um",
    "rectangles": [{"x": 10, "y": 10, "width": 40, "height": 30}],
}


@pytest.fixture
def slide_id(api: Api, slide: Path) -> str:
    answer = api.http.put("/v1/slides", params={"filename": "good.tif"}, content=slide.read_bytes())
    stored: str = answer.json()["id"]
    return stored


def polygon(vertices: int, radius: float = 100.0) -> dict[str, Any]:
    turns = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    ring = (np.stack([np.cos(turns), np.sin(turns)], axis=1) * radius + radius).tolist()
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def test_a_job_with_regions_shows_what_stands_for_them(api: Api, slide_id: str) -> None:
    response = api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5, "regions": RECTANGLES})

    assert response.status_code == 202, response.text
    job = response.json()
    shown = job["parameters"]["regions"]
    assert shown | {"sha256": ""} == {"unit": "um", "polygons": 1, "vertices": 4, "sha256": ""}
    assert api.http.get(f"/v1/jobs/{job['id']}").json()["parameters"]["regions"] == shown
    without = api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5}).json()
    assert "regions" not in without["parameters"]


def test_many_vertices_fit_and_are_not_in_the_answer(api: Api, slide_id: str) -> None:
    body = json.dumps({"slide_id": slide_id, "mpp": 0.5, "regions": polygon(MAX_VERTICES - 1)}, indent=2)

    response = api.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 202, response.text
    assert len(response.content) < 2000


def test_a_form_takes_polygons_as_text(api: Api, slide: Path) -> None:
    response = post_slide(
        api, slide, mpp="0.5", regions=json.dumps(RECTANGLES), tissue=json.dumps(polygon(2000))
    )

    assert response.status_code == 202, response.text
    shown = response.json()["parameters"]
    assert shown["regions"]["polygons"] == 1
    assert (shown["tissue"], shown["tissue_outlines"]["vertices"]) == (False, 2000)


@pytest.mark.parametrize(
    ("sent", "shown"), [(True, True), (False, False), ("off", False), ("on", True), ("false", False)]
)
def test_tissue_is_looked_for_or_not(api: Api, slide_id: str, sent: object, shown: bool) -> None:
    response = api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5, "tissue": sent})

    assert response.status_code == 202, response.text
    assert response.json()["parameters"]["tissue"] is shown
    assert "tissue_outlines" not in response.json()["parameters"]


def test_a_tissue_mask_comes_as_polygons(api: Api, slide_id: str) -> None:
    def submitted(tissue: object) -> Any:
        return api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5, "tissue": tissue})

    parameters = submitted(polygon(7)).json()["parameters"]
    assert parameters["tissue"] is False
    assert parameters["tissue_outlines"]["vertices"] == 7
    assert "regions" not in parameters
    assert "valid boolean" in assert_problem(submitted("maybe"), 422, "request-invalid")
    assert "Point" in assert_problem(
        submitted({"type": "Point", "coordinates": [1, 1]}), 422, "request-invalid"
    )
    far = {"unit": "um", "rectangles": [{"x": -9, "y": -9, "width": 5, "height": 5}]}
    assert "Tissue polygon 1" in assert_problem(submitted(far), 422, "regions-invalid")


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ({"rectangles": []}, "unit"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]]}, "Self-intersection"),
        (polygon(MAX_VERTICES + 1), "vertices"),
        ("here", "no JSON"),
    ],
)
def test_regions_that_cannot_be_used_are_refused(api: Api, slide_id: str, regions: Any, said: str) -> None:
    for path, body in (("", {"slide_id": slide_id, "mpp": 0.5}), ("/preflight", {})):
        response = api.http.post(f"/v1/jobs{path}", json={**body, "regions": regions})
        detail = assert_problem(response, 422, "request-invalid")
        assert "regions" in detail
        assert said in detail


def test_regions_off_the_slide_are_refused(api: Api, slide_id: str) -> None:
    far = {"unit": "px", "rectangles": [{"x": 10_000_000, "y": 0, "width": 5, "height": 5}]}
    response = api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5, "regions": far})
    assert "outside of the slide" in assert_problem(response, 422, "regions-invalid")


def test_preflight_tells_regions_apart(api: Api) -> None:
    def parameters(regions: object) -> Any:
        return api.http.post("/v1/jobs/preflight", json={"regions": regions}).json()["parameters"]

    assert parameters(RECTANGLES) == parameters(RECTANGLES)
    assert parameters(RECTANGLES) != parameters(polygon(5))
    assert parameters(None)["tissue_rules"] == 2
