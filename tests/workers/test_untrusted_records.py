"""Records that somebody else wrote: no other folder is touched, and nothing is worse than a failed job.

Hypothesis overwrites fields of real records in a real Valkey; then everything that reads them is called: the
API over HTTP, the worker's side, the prefetcher, the reconciler.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from service.settings import ServiceSettings
from tests import ROOT
from tests.service.conftest import CARD, running_api
from tests.workers.conftest import Bench, Queue, quick_settings
from workers.jobs import Job
from workers.protocol import RunJob, ToEngine
from workers.queue.connection import connect
from workers.queue.reconciler import Reconciler
from workers.queue.rq_lists import QUEUES
from workers.queue.webhooks import WebhookStore
from workers.rq_worker.engine_process import EngineProcess, EngineState
from workers.rq_worker.job_run import WorkerContext
from workers.rq_worker.prefetch import Prefetcher
from workers.settings import WorkerSettings
from workers.supervisor.valkey import EmbeddedValkey
from workers.webhooks import Webhook

PATH_EVENTS = {
    "open",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.listdir",
    "os.scandir",
    "shutil.rmtree",
}
"""What Python reports of itself (sys.addaudithook) with a path as its first argument."""


class PathWatch:
    """Collects the paths that this process opens, lists, makes or removes while it watches."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._watching = False
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Collect inside the context."""
        self.paths.clear()
        self._watching = True
        try:
            yield self.paths
        finally:
            self._watching = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._watching and event in PATH_EVENTS and isinstance(arguments[0], str | bytes):
            self.paths.append(os.fsdecode(arguments[0]))


class EchoEngine(EngineProcess):
    """An engine process that is ready and only notes what it is sent, so that no run leaves this process."""

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(lambda *_: None, settings)
        self.state = EngineState.READY
        self.sent: list[RunJob] = []

    def send(self, message: ToEngine) -> None:
        if isinstance(message, RunJob):
            self.sent.append(message)

    def receive(self, timeout_s: float) -> None:
        return None


@dataclass(frozen=True)
class Readers:
    """Everything that reads records, on one server and one data folder."""

    bench: Bench
    http: Any
    settings: WorkerSettings
    slide: Path
    watch: PathWatch

    @property
    def queue(self) -> Queue:
        """The queue."""
        return self.bench.queue

    def read_all(self, job: Job) -> list[RunJob]:
        """Call all that reads the job's record; return what an engine process would be told to run."""
        for path in (
            "/v1/jobs",
            f"/v1/jobs/{job.id}",
            f"/v1/jobs/{job.id}/result",
            f"/v1/jobs/{job.id}/labels.tif",
        ):
            assert self.http.get(path).status_code < 500, path
        for path in ("/v1/models", "/readyz", "/metrics"):
            assert self.http.get(path).status_code in (200, 503), path
        Reconciler(self.queue.redis, lost_after_s=0.001, lease_s=0.1).tick()
        prefetcher = Prefetcher(self.queue.redis, self.settings, command=[sys.executable, "-c", ""])
        prefetcher.look_ahead((json.dumps(CARD),))
        engine = EchoEngine(self.settings)
        # It stops as soon as a job was sent, so that the run ends.
        context = WorkerContext(
            self.queue.lease, engine, self.settings, "w", lambda: None, lambda: bool(engine.sent)
        )
        for attempt in (1, 2):
            context.run(job.id, attempt)
        prefetcher.stop()
        assert self.http.post(f"/v1/jobs/{job.id}/cancel").status_code in (202, 404, 409)
        return engine.sent


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """One server, one API, one slide."""
    root = tmp_path_factory.mktemp("untrusted")
    (root / "elsewhere").mkdir()
    slide = root / "elsewhere" / "slide.svs"
    slide.write_bytes(b"pixels")
    valkey = EmbeddedValkey(root / "queue")
    valkey.start()
    worker = quick_settings(valkey, root / "data")
    worker.jobs_dir.mkdir(parents=True)
    service = ServiceSettings(data_dir=worker.data_dir, redis_url=valkey.url)
    logging.disable(logging.WARNING)
    before = Path.cwd()
    os.chdir(slide.parent)
    try:
        with connect(valkey.url) as redis, running_api(service) as http:
            queue = Queue.of(redis, worker)
            queue.registry.publish_models("stand-in", (json.dumps(CARD),))
            yield Readers(Bench(queue, worker), http, worker, slide, PathWatch())
    finally:
        os.chdir(before)
        logging.disable(logging.NOTSET)
        valkey.stop()


@pytest.fixture(autouse=True)
def _taken(readers: Readers) -> None:
    """Take the entries of jobs that are over out of RQ's lists, as workers do: here is none that would."""
    readers.queue.redis.delete(*(f"rq:queue:{name}" for name in QUEUES.values()))


def outside(paths: list[str], readers: Readers) -> list[str]:
    """What lies neither in the data folder nor where Python itself is read from.

    Other tests' services, which may live in this process, sweep folders of their own beside ours.
    """
    ours = readers.settings.data_dir.parent
    allowed = (
        str(readers.settings.data_dir),
        sys.prefix,
        sys.base_prefix,
        "/proc/",
        "/dev/",
        str(ROOT),
    )
    real = [Path(os.path.realpath(path)) for path in paths if not os.path.realpath(path).startswith(allowed)]
    return [str(path) for path in real if not path.is_relative_to(ours.parent) or path.is_relative_to(ours)]


CANARY = "CANARY"
"""Becomes the folder outside the data folder that must stay as it is.

A fault of the code under test may delete what a record names: no other folder that exists may be named here,
and that folder is the working folder meanwhile.
"""

PATHS = [CANARY, f"{CANARY}/slide.svs", f"file://{CANARY}", "../elsewhere", "../../../elsewhere", "", "."]
NUMBERS = ["nan", "-1", "1e400", "9" * 400]
ODD = ["null", "{}", "[]", "queued", "running", "succeeded", "\x00", "\udc80", "a\nb", *NUMBERS]
letters = st.text(st.characters(exclude_characters="/.~"), max_size=20)
texts = st.one_of(st.sampled_from(PATHS), st.sampled_from(ODD), letters)
json_values = st.one_of(
    st.sampled_from([*PATHS, *ODD, None, True, -1, 0, 10**400, [], {}, "x" * 5000]), letters, st.floats()
)
REQUEST = ["slide_id", "slide_name", "slide_path", "model", "parameters", "priority"]
MEMBERS = {
    "request": REQUEST,
    "progress": ["fraction", "stage", "patches_done", "patches_total", "megapixels_per_second", "eta_s"],
    "error": ["type", "title", "detail"],
}
PARAMETERS = ["mpp", "halo_px", "precision", "tissue"]
FIELDS = [
    "schema",
    "id",
    "state",
    "request",
    "directory",
    "progress",
    "attempt",
    "crashes",
    "created_at",
    "started_at",
    "finished_at",
    "worker",
    "cancel_requested",
    "error",
    "revision",
    "patches_done",
    "losses",
    "crashes_at",
    "losses_at",
]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Fields to overwrite: with text, or with JSON whose members are overwritten or removed."""
    fields: dict[str, Any] = draw(st.dictionaries(st.sampled_from(FIELDS), texts, max_size=2))
    for field, names in MEMBERS.items():
        members = draw(st.dictionaries(st.sampled_from(names), json_values, max_size=2))
        if members:
            fields.setdefault(field, members)
    parameters = draw(st.dictionaries(st.sampled_from(PARAMETERS), json_values, max_size=2))
    if parameters and not isinstance(fields.get("request"), str):
        fields["request"] = {**fields.get("request", {}), "parameters": parameters}
    return fields


def overwrite(readers: Readers, job: Job, fields: dict[str, Any]) -> None:
    """Write fields over those of the job's record, as somebody with a connection to Redis could."""
    canary = str(readers.slide.parent)
    key = f"darefine:job:{job.id}"
    for field, value in fields.items():
        before = readers.queue.redis.hget(key, field) or "{}"
        text = json.dumps({**json.loads(before), **value}) if isinstance(value, dict) else value
        encoded = text.replace(CANARY, canary).encode("utf-8", "surrogateescape")
        readers.queue.redis.hset(key, field, encoded)


def assert_harmless(readers: Readers, fields: dict[str, Any]) -> None:
    """Overwrite fields of a new job's record, have all read it, delete the job, and look at the traces."""
    job = readers.bench.submit(slide_path=str(readers.slide))
    overwrite(readers, job, fields)
    with readers.watch.watching() as paths:
        sent = readers.read_all(job)
        assert readers.http.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert outside(paths, readers) == []
    for run in sent:
        assert run.directory == job.directory
        assert run.slide_path == str(readers.slide), "the slide of the id, or none"
    assert readers.http.get(f"/v1/jobs/{job.id}").status_code == 404
    assert not Path(job.directory).exists()
    assert readers.slide.read_bytes() == b"pixels"


@pytest.mark.parametrize("path", PATHS)
def test_no_record_makes_api_or_worker_touch_another_folder(readers: Readers, path: str) -> None:
    for fields in (
        {"directory": path},
        {"id": path, "worker": path},
        *({"request": {name: path}} for name in ("slide_id", "slide_path", "slide_name", "model")),
    ):
        assert_harmless(readers, fields)


fuzz = budget(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@budget(fuzz, max_examples=40)
@given(fields=changes())
def test_any_field_may_be_anything(readers: Readers, fields: dict[str, Any]) -> None:
    assert_harmless(readers, fields)


@pytest.mark.slow
@budget(fuzz, max_examples=400)
@given(fields=changes())
def test_many_records_written_by_others(readers: Readers, fields: dict[str, Any]) -> None:
    assert_harmless(readers, fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"request": "{"},
        {"request": {"slide_id": "../../../etc"}},
        {"request": {"slide_id": "0" * 24}},
        {"request": {"parameters": {"mpp": -1}}},
        {"attempt": "one"},
        {"progress": {"fraction": 2}},
        {"created_at": "1e300"},
    ],
    ids=str,
)
def test_what_could_never_run_fails_and_says_why(readers: Readers, fields: dict[str, Any]) -> None:
    job = readers.bench.submit(slide_path=str(readers.slide))
    overwrite(readers, job, fields)
    assert readers.read_all(job) == []
    failed = readers.http.get(f"/v1/jobs/{job.id}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["type"] in ("record-invalid", "slide-unreadable")
    assert readers.queue.redis.hget(f"darefine:job:{job.id}", "state") == b"failed", "for good"


def test_keys_and_lists_that_hold_nonsense_hide_no_job(readers: Readers) -> None:
    redis, job = readers.queue.redis, readers.bench.submit(slide_path=str(readers.slide))
    for nonsense in ("../../etc", b"\xff\xfe", "", "x" * 24):
        for key in ("darefine:jobs", "darefine:jobs:queued", "darefine:leases", "darefine:missing"):
            redis.zadd(key, {nonsense: 0})
        redis.rpush("rq:queue:darefine", nonsense)
        redis.sadd("darefine:workers", nonsense)
    for key in ("darefine:last-tick", "darefine:settling", "darefine:models"):
        redis.set(key, "nonsense")
    assert job.id in [listed["id"] for listed in readers.http.get("/v1/jobs?limit=200").json()["jobs"]]
    assert readers.read_all(job)[0].job_id == job.id
    readers.queue.registry.publish_models("stand-in", (json.dumps(CARD),))


def test_batches_and_webhooks_that_hold_nonsense_hide_no_others(readers: Readers) -> None:
    redis, http, one = readers.queue.redis, readers.http, "0" * 24
    webhooks = WebhookStore(redis)
    webhooks.add(Webhook("whole", "https://example.org/told", (), "secret", 0.0))
    for nonsense in ("../../etc", b"\xff\xfe", "", one):
        redis.zadd("darefine:batches", {nonsense: 0})
    redis.hset(f"darefine:batch:{one}", mapping={"name": "no more than that"})
    for encoded in ("{", b"\xff", "[]"):
        redis.hset("darefine:webhooks", "bad", encoded)
        redis.hset("darefine:webhooks:last", "whole", encoded)
        redis.rpush("darefine:happened", encoded)
        for path in ("batches", f"batches/{one}", "webhooks", "webhooks/bad", "webhooks/whole"):
            assert http.get(f"/v1/{path}").status_code in (200, 404), path
    assert http.get("/v1/batches").json()["batches"] == []
    assert [listed["id"] for listed in http.get("/v1/webhooks").json()["webhooks"]] == ["whole"]
    assert webhooks.happened() == ()
    assert redis.llen("darefine:happened") == 0
    for one in ("whole", "bad"):
        assert http.delete(f"/v1/webhooks/{one}").status_code == 204


@pytest.mark.parametrize(
    "arguments", [("../../etc", 1), (["x"], 1), ("0" * 24, "1"), ("0" * 24, None), (None, True)]
)
def test_a_worker_takes_nothing_but_an_id_and_a_number(readers: Readers, arguments: tuple[Any, Any]) -> None:
    assert readers.queue.lease.start(*arguments, "w") is None
