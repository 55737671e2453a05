"""POST, list, get, cancel, delete."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.slides.upload import Upload
from workers.jobs import Problem
from workers.queue.registry import WorkerInfo, WorkerState

from ..conftest import Api, assert_problem, post_slide, write_slide


def test_posted_slide_becomes_a_queued_job(api: Api, slide: Path) -> None:
    response = post_slide(api, slide, priority="high")
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert int(response.headers["retry-after"]) > 0
    assert (job["state"], job["attempt"], job["model"]) == ("queued", 1, "stand-in")
    assert job["slide"]["name"] == "good.tif"
    assert job["queue_position"] == 0
    assert api.http.get(job["links"]["self"]).json() == job


def test_job_on_a_stored_slide(api: Api, slide: Path) -> None:
    stored = api.http.put("/v1/slides", params={"filename": "good.tif"}, content=slide.read_bytes()).json()
    response = api.http.post("/v1/jobs", json={"slide_id": stored["id"], "mpp": 0.25, "halo_px": 32})
    assert response.status_code == 202
    assert response.json()["parameters"] == {
        "mpp": 0.25, "halo_px": 32, "precision": None, "tissue": True, "outputs": [], "priority": "normal",
    }  # fmt: skip


def test_job_on_a_slide_where_it_lies(api: Api) -> None:
    path = write_slide(api.slide_root / "nas.tif", seed=52)
    job = api.http.post("/v1/jobs", json={"uri": str(path), "mpp": 0.25})
    assert (job.status_code, job.json()["slide"]["name"]) == (202, "nas.tif")
    stored = api.http.get(f"/v1/slides/{job.json()['slide']['id']}").json()
    assert stored["sha256"] is None
    assert not (api.data_dir / "slides" / stored["id"] / "content").exists(), "nothing is copied"
    assert api.http.post("/v1/jobs", json={"uri": f"file://{path}"}).json()["slide"]["id"] == stored["id"]


def test_job_on_a_path_that_may_not_be_read(api: Api, slide: Path) -> None:
    assert_problem(api.http.post("/v1/jobs", json={"uri": str(slide)}), 403, "root-not-allowed")


@pytest.mark.parametrize("body", [{}, {"slide_id": "x", "uri": "/x"}])
def test_a_job_names_its_slide_once(api: Api, body: dict[str, str]) -> None:
    assert "either slide_id or uri" in assert_problem(
        api.http.post("/v1/jobs", json=body), 422, "request-invalid"
    )


def test_preflight_says_what_would_run_and_queues_nothing(api: Api) -> None:
    before = len(api.http.get("/v1/jobs", params={"limit": 200}).json()["jobs"])
    response = api.http.post("/v1/jobs/preflight", json={"mpp": 0.25, "halo_px": 32, "window": "quarter"})
    assert response.status_code == 200
    assert response.json() == {
        "model": {"name": "stand-in", "version": "1", "sha256": "ab" * 32},
        "parameters": {
            "mpp": 0.25,
            "halo_px": 32,
            "window": "quarter",
            "precision": None,
            "tissue": True,
            "outputs": [],
            "tissue_rules": 2,
            "priority": "normal",
        },
    }
    assert len(api.http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]) == before


@pytest.mark.parametrize(
    ("options", "status", "kind"),
    [
        ({"mpp": 9}, 422, "request-invalid"),
        ({"halo_px": False}, 422, "request-invalid"),
        ({"force": 1}, 422, "request-invalid"),
        ({"tissue": 0}, 422, "request-invalid"),
        ({"mmp": 0.5}, 422, "request-invalid"),
        ({"model": "other"}, 422, "model-unknown"),
        ({"mpp": 4}, 422, "mpp-out-of-range"),
    ],
)
def test_preflight_refuses_what_a_job_would_be_refused_for(
    api: Api, options: dict[str, Any], status: int, kind: str
) -> None:
    assert_problem(api.http.post("/v1/jobs/preflight", json=options), status, kind)


def test_a_segmentation_is_refused_where_the_slide_is_no_dicom(api: Api, slide: Path) -> None:
    answer = post_slide(api, slide, outputs="preview,dicom_seg")
    assert "send the slide as DICOM" in assert_problem(answer, 422, "output-unavailable")
    assert api.http.post("/v1/jobs/preflight", json={"outputs": ["dicom_seg"]}).status_code == 200
    job = post_slide(api, slide, outputs="preview,ome_zarr").json()
    assert job["parameters"]["outputs"] == ["ome_zarr", "preview"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mpp": "9"}, "mpp"),
        ({"mpp": "x"}, "mpp"),
        ({"halo_px": "7"}, "halo_px"),
        ({"window": "half"}, "window"),
        ({"priority": "now"}, "priority"),
    ],
)
def test_bad_option_is_named(api: Api, slide: Path, fields: dict[str, str], says: str) -> None:
    assert says in assert_problem(post_slide(api, slide, **fields), 422, "request-invalid")


def test_a_model_of_labels_alone_gives_no_probabilities(api: Api) -> None:
    models = api.http.get("/v1/models").json()["models"]
    one = {**models[0], "name": "labels-alone", "onnx": {"output": "labels"}}
    api.registry.publish_models("stand-in", tuple(json.dumps(card) for card in (*models, one)))
    try:
        options = {"model": "labels-alone", "outputs": ["confidence"]}
        refused = api.http.post("/v1/jobs/preflight", json=options)
        assert "labels alone" in assert_problem(refused, 422, "output-unavailable")
        assert api.http.post("/v1/jobs/preflight", json={**options, "outputs": ["preview"]}).is_success
    finally:
        api.registry.publish_models("stand-in", tuple(map(json.dumps, models)))


@pytest.mark.parametrize(("device", "status"), [("cpu", 422), ("cuda:0", 200)])
def test_precision_of_gpus_needs_a_gpu(api: Api, device: str, status: int) -> None:
    assert api.http.post("/v1/jobs/preflight", json={"precision": "fp16"}).is_success, "nobody has said yet"
    api.registry.announce(WorkerInfo("tester", WorkerState.IDLE, device, "float32", (), 0.0), ttl_s=30)
    try:
        answer = api.http.post("/v1/jobs/preflight", json={"precision": "fp16"})
    finally:
        api.registry.withdraw("tester")
    assert answer.status_code == status
    if status == 422:
        assert "bf16" in assert_problem(answer, 422, "precision")


def test_unknown_form_field_is_refused_rather_than_ignored(api: Api, slide: Path) -> None:
    assert "mmp" in assert_problem(post_slide(api, slide, mmp="0.5"), 422, "request-invalid")


@pytest.mark.parametrize("field", ["priority=now", "model=other", "mpp=4", "mmp=0.5"])
def test_options_that_come_first_are_judged_before_the_slide_flows(
    api: Api, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setattr(Upload, "write", lambda *_: pytest.fail("a byte of the slide was taken"))
    name, _, value = field.partition("=")
    files = [(name, (None, value)), ("slide", ("a.tif", bytes(10**6)))]
    response = api.http.post("/v1/jobs", files=files)
    assert response.status_code == 422
    assert value in response.json()["detail"] or name in response.json()["detail"]


def test_options_that_come_last_are_judged_too(api: Api, slide: Path) -> None:
    files = [("slide", ("good.tif", slide.read_bytes())), ("model", (None, "other"))]
    refused = api.http.post("/v1/jobs", files=files)
    assert_problem(refused, 422, "model-unknown")
    assert refused.json()["slide_id"]


def test_unknown_model_lists_the_known_ones(api: Api, slide: Path) -> None:
    assert "stand-in" in assert_problem(post_slide(api, slide, model="other"), 422, "model-unknown")


def test_slide_without_mpp_is_refused_and_rescued_without_sending_it_again(
    api: Api, slide_without_mpp: Path
) -> None:
    refused = post_slide(api, slide_without_mpp)
    detail = assert_problem(refused, 422, "mpp-unknown")
    slide_id = refused.json()["slide_id"]
    assert "mpp=" in detail
    assert f'{{"slide_id": "{slide_id}", ...}}' in detail
    assert api.http.post("/v1/jobs", json={"slide_id": slide_id, "mpp": 0.5}).status_code == 202


def test_slide_of_a_refused_job_can_be_deleted(api: Api, slide: Path) -> None:
    fresh = write_slide(slide.parent / "refused.tif", mpp=None, seed=41)
    slide_id = post_slide(api, fresh).json()["slide_id"]
    assert api.http.delete(f"/v1/slides/{slide_id}").status_code == 204


def test_refusal_names_no_slide_that_was_not_kept(api: Api, tmp_path: Path) -> None:
    junk = tmp_path / "junk.svs"
    junk.write_bytes(b"no slide")
    assert "slide_id" not in post_slide(api, junk).json()


def test_slide_too_coarse_for_the_model_is_refused(api: Api, slide: Path) -> None:
    assert "1.868" in assert_problem(post_slide(api, slide, mpp="4"), 422, "mpp-out-of-range")


def test_body_that_is_neither_form_nor_json(api: Api) -> None:
    assert "multipart" in assert_problem(api.http.post("/v1/jobs", content=b"x"), 422, "request-invalid")


def test_form_without_a_slide(api: Api) -> None:
    response = api.http.post("/v1/jobs", files={"mpp": (None, "0.5")})
    assert "slide" in assert_problem(response, 422, "request-invalid")


def test_idempotency_key_gives_the_same_job_again(api: Api, slide: Path) -> None:
    key = {"Idempotency-Key": "one"}
    first = post_slide(api, slide, headers=key).json()
    assert post_slide(api, slide, headers=key).json()["id"] == first["id"]
    assert_problem(post_slide(api, slide, headers=key, mpp="0.4"), 422, "idempotency-conflict")


def test_cancel_then_cancel_again(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    cancelled = api.http.post(job["links"]["cancel"])
    assert cancelled.status_code == 202
    assert cancelled.json()["state"] == "cancelled"
    assert_problem(api.http.post(job["links"]["cancel"]), 409, "job-final")


def test_delete_removes_record_and_files(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    directory = api.data_dir / "jobs" / job["id"]
    directory.mkdir(parents=True)
    (directory / "overlay.tif").write_bytes(b"x")
    assert api.http.delete(job["links"]["self"]).status_code == 204
    assert not directory.exists()
    assert_problem(api.http.get(job["links"]["self"]), 404, "job-not-found")


def test_list_is_newest_first_and_pages(api: Api, slide: Path) -> None:
    ids = [post_slide(api, slide).json()["id"] for _ in range(3)]
    first = api.http.get("/v1/jobs", params={"limit": 2, "state": "queued"}).json()
    assert [job["id"] for job in first["jobs"]] == [ids[2], ids[1]]
    second = api.http.get("/v1/jobs", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert second["jobs"][0]["id"] == ids[0]


def test_list_of_one_slide_model_or_time(api: Api, tmp_path: Path) -> None:
    one, two = (post_slide(api, write_slide(tmp_path / f"{n}.tif", seed=300 + n)).json() for n in range(2))

    def ids(**wanted: str) -> set[str]:
        found = api.http.get("/v1/jobs", params=wanted).json()
        assert found["next_cursor"] is None
        return {job["id"] for job in found["jobs"]} & {one["id"], two["id"]}

    both = {one["id"], two["id"]}
    assert api.http.get(api.http.get(one["links"]["slide"]).json()["links"]["jobs"]).json()["jobs"] == [one]
    assert ids(slide_id=two["slide"]["id"]) == {two["id"]}
    assert ids(model="stand-in", limit="200") == both
    assert ids(model="other") == set()
    assert ids(created_after=one["created_at"], limit="200") == both
    assert ids(created_after=two["created_at"], created_before="2100-01-01T00:00:00Z") == {two["id"]}
    assert ids(created_before=two["created_at"], created_after=one["created_at"]) == {one["id"]}


def test_filtered_list_pages(api: Api, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "paged.tif", seed=310)
    ids = [post_slide(api, slide).json()["id"] for _ in range(3)]
    wanted = {"slide_id": api.http.get(f"/v1/jobs/{ids[0]}").json()["slide"]["id"], "limit": "2"}
    first = api.http.get("/v1/jobs", params=wanted).json()
    last = api.http.get("/v1/jobs", params={**wanted, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for page in (first, last) for job in page["jobs"]] == ids[::-1]
    assert last["next_cursor"] is None


def test_cancel_of_a_running_job_shows_until_it_has_stopped(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    assert job["cancel_requested"] is False
    api.lease.start(job["id"], 1, "tester")
    cancelled = api.http.post(job["links"]["cancel"]).json()
    assert (cancelled["state"], cancelled["cancel_requested"]) == ("running", True)
    api.lease.confirm_cancel(job["id"], 1, None)
    assert api.http.get(job["links"]["self"]).json()["state"] == "cancelled"


@pytest.mark.parametrize("name", ["overlay.tif", "labels.tif", "result"])
def test_results_of_an_unfinished_job_conflict(api: Api, slide: Path, name: str) -> None:
    job = post_slide(api, slide).json()
    assert "queued" in assert_problem(api.http.get(f"{job['links']['self']}/{name}"), 409, "result-not-ready")


def test_failed_job_says_why(api: Api, slide: Path) -> None:
    job = post_slide(api, slide).json()
    api.lease.start(job["id"], 1, "tester")
    api.lease.fail(job["id"], 1, Problem("slide-unreadable", "Slide unreadable", "tile 7 is damaged"))
    failed = api.http.get(job["links"]["self"]).json()
    assert (failed["state"], failed["error"]["detail"]) == ("failed", "tile 7 is damaged")
    assert "tile 7" in assert_problem(api.http.get(f"{job['links']['self']}/result"), 409, "result-not-ready")
