"""`darefine submit` against the real API; a stand-in worker finishes the jobs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from darefine.cli.cohort import facts
from darefine.cli.main import main
from darefine.client import Job

from .conftest import OVERLAY, Api, Finisher, write_slide

pytestmark = pytest.mark.usefixtures("quick_polls")

PATIENCE_S = 90


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three slides, one of whose jobs fails, in two folders."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    for seed, name in enumerate(("one.tif", "bad.tif", "more/two.tif"), start=hash_of(tmp_path)):
        write_slide(tmp_path / "in" / name, seed=seed)
    return tmp_path / "in"


def hash_of(path: Path) -> int:
    """A seed of its own for each test, so that no slide is known from another one."""
    return sum(path.name.encode()) * 10_000


def submit(url: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["submit", "--url", url, *map(str, arguments)])


def jobs_of(api: Api) -> list[str]:
    return [job["id"] for job in api.http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]]


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def record(out: Path, slide: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((out / f"{slide}.stand-in.job.json").read_text())
    return content


def test_a_folder_of_slides(api: Api, url: str, finisher: Finisher, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = submit(url, folder, "--recursive", "--out", out)
    assert first.exit_code == 1, first.output
    assert "tile 7 is damaged" in first.stderr
    assert sorted(line.split()[0] for line in first.stdout.splitlines()) == ["3", "succeeded", "succeeded"]
    assert f"{folder / 'one.tif'}  2.00 mm², normal 75%, in situ 25%" in first.stdout
    assert (out / "one.stand-in.overlay.tif").read_bytes() == OVERLAY
    assert (out / "more" / "two.stand-in.labels.tif").exists()

    rows = table(out)
    assert list(rows) == ["bad.tif", "two.tif", "one.tif"], "by path"
    one = rows["one.tif"]
    assert (one["mpp"], one["mpp_source"], one["tissue_mm2"]) == ("0.5", "tiff-resolution", "2.0")
    assert (one["in situ mm2"], one["in situ fraction"]) == ("0.5", "0.25")
    assert (one["model"], one["model_sha256"], one["error"]) == ("stand-in", "ab" * 32, "")
    assert one["job_id"] in jobs_of(api)
    assert (rows["bad.tif"]["state"], rows["bad.tif"]["mpp"]) == ("failed", "")
    assert "tile 7" in rows["bad.tif"]["error"]

    before = jobs_of(api)
    again = submit(url, folder, "--recursive", "--out", out)
    assert (again.exit_code, len(jobs_of(api))) == (1, len(before) + 1), "only the failed one is tried again"
    assert again.stdout.count("skipped") == 3
    (folder / "bad.tif").unlink()
    assert submit(url, folder, "--recursive", "--out", out).exit_code == 0


def test_what_is_finished_is_known_by_slide_and_parameters(
    api: Api, url: str, finisher: Finisher, folder: Path, tmp_path: Path
) -> None:
    slide, out = folder / "one.tif", tmp_path / "out"

    def runs(*options: str) -> int:
        before = len(jobs_of(api))
        assert submit(url, slide, "--out", out, *options).exit_code == 0
        return len(jobs_of(api)) - before

    assert runs() == 1
    assert runs() == 0
    assert runs("--priority", "high") == 0, "priority changes no label"
    os.utime(slide, (1e9, 1e9))
    assert runs() == 0, "the same bytes"
    assert runs("--mpp", "0.4") == 1
    assert runs() == 0, "the results there are of another mpp now, but the service has those of this one"
    (out / "one.stand-in.labels.tif").unlink()
    assert runs() == 0, "what is missing is downloaded again"
    assert (out / "one.stand-in.labels.tif").exists()
    write_slide(slide, seed=hash_of(tmp_path) + 9)
    assert runs() == 1, "other bytes"


def test_json_is_a_line_a_slide(url: str, finisher: Finisher, folder: Path, tmp_path: Path) -> None:
    done = submit(url, folder, "--out", tmp_path / "out", "--json")
    lines = {Path(line["slide"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert (lines["one.tif"]["state"], lines["one.tif"]["job"]["state"]) == ("succeeded", "succeeded")
    files = lines["one.tif"]["files"]
    assert json.loads(Path(files["result.json"]).read_text()) == lines["one.tif"]["result"]
    assert lines["bad.tif"]["state"] == "failed"
    assert "tile 7" in lines["bad.tif"]["error"]


def test_a_slide_alone_is_told_with_its_classes(
    url: str, finisher: Finisher, folder: Path, tmp_path: Path
) -> None:
    done = submit(url, folder / "one.tif", "--out", tmp_path / "out")
    assert "in situ" in done.stdout
    assert "tiff-resolution" in done.stdout
    failed = submit(url, folder / "bad.tif", "--out", tmp_path / "out")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: The job ")


def test_in_place_sends_nothing(api: Api, url: str, finisher: Finisher, tmp_path: Path) -> None:
    slide = write_slide(api.slide_root / "submitted-in-place.tif", seed=hash_of(tmp_path))
    for expected in (1, 0):
        before = len(jobs_of(api))
        assert submit(url, slide, "--in-place", "--out", tmp_path / "out").exit_code == 0
        assert len(jobs_of(api)) - before == expected
    stored = next(s for s in api.http.get("/v1/slides").json()["slides"] if s["name"] == slide.name)
    assert stored["sha256"] is None
    elsewhere = write_slide(tmp_path / "elsewhere.tif", seed=hash_of(tmp_path) + 1)
    refused = submit(url, elsewhere, "--in-place", "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert "DAREFINE_SLIDE_ROOTS" in refused.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mpp", "9"], "mpp"),
        (["--mpp", "4"], "1.868"),
        (["--halo-px", "7"], "halo_px"),
        (["--model", "other"], "Known models: stand-in"),
    ],
)
def test_options_are_judged_before_a_byte_is_sent(
    api: Api, url: str, folder: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    before = api.http.get("/v1/slides").json()
    refused = submit(url, folder, "--out", tmp_path / "out", *options)
    assert refused.exit_code == 1
    assert says in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert api.http.get("/v1/slides").json() == before


@pytest.mark.parametrize("out", ["file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(
    folder: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("x")
    refused = submit("http://127.0.0.1:9", folder, "--out", tmp_path / out)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Cannot write to")
    assert "--out" in refused.stderr


def test_a_folder_without_slides_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused = submit("http://127.0.0.1:9", tmp_path / "in", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "--recursive" in refused.stderr


def test_slides_that_would_overwrite_each_other_are_told(url: str, folder: Path, tmp_path: Path) -> None:
    same = write_slide(folder / "more" / "one.tif", seed=hash_of(tmp_path) + 5)
    refused = submit(url, folder / "one.tif", same, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "another --out" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on(
    api: Api, url: str, finisher: Finisher, folder: Path, tmp_path: Path, ended_by: signal.Signals
) -> None:
    (folder / "bad.tif").unlink()
    out = tmp_path / "out"
    arguments = ["submit", str(folder), "--url", url, "--out", str(out), "-r", "--jobs", "2"]
    finisher.hold = True
    process = subprocess.Popen(
        [sys.executable, "-m", "darefine", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    waits_for(lambda: len(list(out.rglob("*.job.json"))) == 2, "both jobs")
    first = {record(out, "one")["job_id"], record(out / "more", "two")["job_id"]}
    process.send_signal(ended_by)
    _, told = process.communicate(timeout=PATIENCE_S)
    states = {api.http.get(f"/v1/jobs/{job_id}").json()["state"] for job_id in first}
    if ended_by is signal.SIGINT:
        assert (process.returncode, states) == (130, {"cancelled"})
        assert told.decode().startswith("Interrupted;")
        assert {row["state"] for row in table(out).values()} == {"cancelled"}
    else:
        assert (process.returncode, states) == (-9, {"queued"})
    finisher.hold = False
    assert CliRunner().invoke(main, arguments).exit_code == 0
    then = {record(out, "one")["job_id"], record(out / "more", "two")["job_id"]}
    assert (then == first) is (ended_by is signal.SIGKILL), "a job that runs on is taken up again"
    assert {row["state"] for row in table(out).values()} == {"succeeded"}


def waits_for(holds: Callable[[], object], what: str) -> None:
    """Poll `holds`; the limit only ends a test that would hang."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def test_facts_are_what_is_known_of_a_job() -> None:
    known = {"patches_done": 3, "patches_total": 9, "megapixels_per_second": 2.04, "eta_s": 70.6}
    assert facts(job_with(known)) == "3/9 patches  2.0 MP/s  ETA 1:11"
    unknown = {"patches_done": 0, "patches_total": 0, "megapixels_per_second": None, "eta_s": None}
    assert facts(job_with({**unknown, "megapixels_per_second": 2.0})) == "2.0 MP/s"
    assert facts(job_with(unknown)) == ""


def job_with(progress: dict[str, float | None]) -> Job:
    return Job.model_validate(
        {
            "id": "j",
            "state": "running",
            "progress": {"fraction": 0.5, "stage": "segment", **progress},
            "attempt": 1,
            "queue_position": None,
            "created_at": "2026-03-02T09:14:05Z",
            "started_at": None,
            "finished_at": None,
            "model": "m",
            "parameters": {},
            "slide": {"id": "s", "name": "a.svs"},
            "error": None,
            "links": {},
        }
    )
