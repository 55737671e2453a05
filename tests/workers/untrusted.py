"""Records that somebody else wrote: what members there are, what may stand in them, and who reads them."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from service.settings import ServiceSettings
from tests import ROOT
from tests.service.conftest import CARD, running_api
from tests.workers.conftest import Bench, Queue, quick_settings
from workers.jobs import Job
from workers.protocol import RunJob, ToEngine
from workers.queue.connection import connect
from workers.queue.reconciler import Reconciler
from workers.rq_worker.engine_process import EngineProcess, EngineState
from workers.rq_worker.job_run import WorkerContext
from workers.rq_worker.prefetch import Prefetcher
from workers.settings import WorkerSettings
from workers.supervisor.valkey import EmbeddedValkey

CANARY = "CANARY"
"""Becomes the folder outside the data folder that must stay as it is.

A fault of the code under test may delete what a record names: no other folder that exists may be named here,
and that folder is the working folder meanwhile.
"""

PATHS = [CANARY, f"{CANARY}/slide.svs", f"file://{CANARY}", "../elsewhere", "../../../elsewhere", "", "."]
NUMBERS = ["nan", "inf", "-1", "1e300", "1e400", "9" * 400, "9" * 5000]
ODD = [
    "null",
    "{}",
    "[]",
    "[" * 100_000,
    "queued",
    "running",
    "succeeded",
    "\x00",
    "\udc80",
    "a\nb",
    *NUMBERS,
]
letters = st.text(st.characters(exclude_characters="/.~"), max_size=20)
texts = st.one_of(st.sampled_from(PATHS), st.sampled_from(ODD), letters)
json_values = st.one_of(
    st.sampled_from([*PATHS, *ODD, None, True, -1, 0, 10**400, 1e300, [], {}, [{}], "x" * 5000]),
    letters,
    st.floats(),
)

Way = tuple[str | int, ...]
"""From an object of JSON to a member inside: names of members, numbers of items of a list."""

ABSENT = object()
"""In place of a value: the member is not there."""


def members(kind: type) -> tuple[Way, ...]:
    """Return the ways to all members of a dataclass, and of the dataclasses that they hold."""
    hints, ways = get_type_hints(kind), []
    for field in fields(kind):
        ways.append((field.name,))
        for inner, place in _held(hints[field.name]):
            ways += [(field.name, *place, *way) for way in members(inner)]
    return tuple(ways)


def _held(hint: Any) -> Iterator[tuple[type, Way]]:
    """Yield the dataclasses that a member may hold, and the way from the member to them."""
    if is_dataclass(hint) and isinstance(hint, type):
        yield hint, ()
    is_list = get_origin(hint) is tuple
    for inner in get_args(hint):
        for kind, place in _held(inner):
            yield kind, ((0, *place) if is_list else place)


def json_changes(*kinds: type) -> st.SearchStrategy[dict[Way, Any]]:
    """Up to two members of these kinds of record, and what they become."""
    ways = [way for kind in kinds for way in members(kind)]
    return st.dictionaries(
        st.sampled_from(ways), st.one_of(json_values, st.just(ABSENT)), min_size=1, max_size=2
    )


def changed(value: Any, changes: Mapping[Way, Any]) -> Any:
    """Return a JSON value with members that are changed; what is not there on the way is made."""
    for way, new in changes.items():
        value = _put(value, way, new)
    return value


def _put(value: Any, way: Way, new: Any) -> Any:
    if not way:
        return new
    head, rest = way[0], way[1:]
    if isinstance(head, int):
        items = value if isinstance(value, list) and len(value) > head else [None] * (head + 1)
        put = [*items[:head], _put(items[head], rest, new), *items[head + 1 :]]
        return [one for one in put if one is not ABSENT]
    found = value if isinstance(value, dict) else {}
    members = found | {head: _put(found.get(head), rest, new)}
    return {name: one for name, one in members.items() if one is not ABSENT}


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


NOT_YET = ("/readyz", "/v1/models")
"""What says 503 where records name no model that can be used."""


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
    routes: tuple[str, ...]
    """Paths of all GET routes that answer and end."""

    @property
    def queue(self) -> Queue:
        """The queue."""
        return self.bench.queue

    def encoded(self, text: str) -> bytes:
        """Return what is written of a text: the canary is a folder, and what is no Unicode is bytes."""
        return text.replace(CANARY, str(self.slide.parent)).encode("utf-8", "surrogateescape")

    def get_all(self, **ids: str) -> None:
        """Call all GET routes; `ids` are the parameters of their paths."""
        known = {"slide_id": "0" * 24, "name": "stand-in", "level": "0", "column": "0", "row": "0", **ids}
        for route in self.routes:
            path = route.format(**known)
            status = self.http.get(path).status_code
            assert status < 500 or (status == 503 and path.startswith(NOT_YET)), (path, status)

    def read_all(self, job: Job) -> list[RunJob]:
        """Call all that reads the job's record; return what an engine process would be told to run."""
        self.get_all(job_id=job.id, batch_id=job.id, webhook_id="none")
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


@contextmanager
def reading(root: Path) -> Iterator[Readers]:
    """One server, one API, one slide."""
    (root / "elsewhere").mkdir()
    slide = root / "elsewhere" / "slide.svs"
    slide.write_bytes(b"pixels")
    valkey = EmbeddedValkey(root / "queue")
    valkey.start()
    worker = quick_settings(valkey, root / "data")
    worker.jobs_dir.mkdir(parents=True)
    service = ServiceSettings(data_dir=worker.data_dir, redis_url=valkey.url)
    logging.disable(logging.ERROR)
    before = Path.cwd()
    os.chdir(slide.parent)
    try:
        with connect(valkey.url) as redis, running_api(service) as http:
            queue = Queue.of(redis, worker)
            queue.registry.publish_models("stand-in", (json.dumps(CARD),))
            yield Readers(Bench(queue, worker), http, worker, slide, PathWatch(), routes_of(http))
    finally:
        os.chdir(before)
        logging.disable(logging.NOTSET)
        valkey.stop()


def routes_of(http: Any) -> tuple[str, ...]:
    """Return the paths of all GET routes but the stream of events, which ends with its job."""
    paths = http.get("/openapi.json").json()["paths"]
    return tuple(path for path, calls in paths.items() if "get" in calls and not path.endswith("/events"))


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
