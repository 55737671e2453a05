"""What else is kept in Redis, written by somebody else: workers, cards, batches, webhooks, messages, sums.

As for jobs (`test_untrusted_records`): Hypothesis overwrites members that the dataclasses have, then all that
reads them is called. What cannot be read is left out, and hides or holds up nothing else.
"""

import json
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

import service.batches.feeder
import service.webhooks.sender
from model.card import ModelCard
from tests import WEIGHTS
from tests.service.conftest import CARD
from workers.batches import Batch, BatchEntry
from workers.jobs import Job, JobParameters, Problem
from workers.queue.batches import BatchStore
from workers.queue.registry import PublishedModels, WorkerInfo, WorkerState
from workers.queue.tallies import MEGAPIXELS, QUEUE_WAIT, Tallies
from workers.queue.webhooks import WebhookStore
from workers.supervisor.valkey import EmbeddedValkey
from workers.webhooks import Delivery, Event, LastDelivery, Webhook

from .untrusted import ODD, Readers, changed, json_changes, json_values, outside, reading, texts

WORKER = WorkerInfo(
    "w-1-1", WorkerState.IDLE, "cpu", "float32", ("stand-in",), 1.0, host="h", weights=("ab" * 32,)
)
HOOK = Webhook("whole", "http://10.0.0.1/told", (), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0.0)
OPTIONS = {"sent": {}, "shown": JobParameters().to_json()}
PATIENCE_S = 20


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    """One server and one API, whose loops over batches and webhooks turn fast."""
    with pytest.MonkeyPatch.context() as patch, reading(tmp_path_factory.mktemp("keys")) as readers:
        for module in (service.batches.feeder, service.webhooks.sender):
            patch.setattr(module, "EVERY_S", 0.02)
            patch.setattr(module, "IDLE_S", 0.02)
        yield readers


@dataclass(frozen=True)
class World:
    """Something of each kind in the queue, whole."""

    readers: Readers
    job: Job
    batch: Batch

    @classmethod
    def of(cls, readers: Readers) -> "World":
        """Empty the queue, and fill it anew."""
        redis, queue = readers.queue.redis, readers.queue
        redis.flushall()
        queue.registry.announce(WORKER, ttl_s=600)
        cards = (json.dumps(CARD), (WEIGHTS / "phantom-resnet18-centred.json").read_text())
        queue.registry.publish_models("stand-in", cards, worker=WORKER.name)
        webhooks = WebhookStore(redis)
        for one in ("whole", "other"):
            webhooks.add(replace(HOOK, id=one))
            webhooks.note_last(one, LastDelivery(1.0, 204, None))
        Tallies(redis).add([MEGAPIXELS.counted("m"), *QUEUE_WAIT.observed(1.0, "normal")])
        job = readers.bench.submit(slide_path=str(readers.slide))
        queue.lease.refusals.note(WORKER.name, job.id, Problem("x", "Broken", "It broke."))
        return cls(readers, job, cls.new_batch(readers))

    @staticmethod
    def new_batch(readers: Readers, owner: str = "") -> Batch:
        """A batch of two slides that nobody may read: they fail when their turn comes, and it is over."""
        entries = [BatchEntry(uri=f"/nowhere/{number}.svs", mpp=0.5) for number in range(2)]
        options = json.dumps(OPTIONS)
        store = BatchStore(readers.queue.redis)
        return store.create(entries, name="b", owner=owner, model="stand-in", options=options)


Write = Callable[[World, Any], None]


def json_at(key: str, field: str | None = None) -> Write:
    """Return what changes the JSON of a key, or of a field of a hash, or writes text in its place."""

    def write(world: World, change: Any) -> None:
        redis, encoded = world.readers.queue.redis, world.readers.encoded
        name = field and field.format(job=world.job.id)
        before = redis.get(key) if name is None else redis.hget(key, name)
        text = change if isinstance(change, str) else json.dumps(changed(json.loads(before or "{}"), change))
        if name is None:
            redis.set(key, encoded(text))
        else:
            redis.hset(key, name, encoded(text))

    return write


def write_batch(world: World, change: dict[str, Any]) -> None:
    """Overwrite fields of the batch's hash; its options are JSON."""
    redis, key = world.readers.queue.redis, f"darefine:batch:{world.batch.id}"
    for name, value in change.items():
        text = value if isinstance(value, str) else json.dumps(changed(OPTIONS, value))
        redis.hset(key, name, world.readers.encoded(text))


def write_entry(world: World, change: Any) -> None:
    """Overwrite the first slide of the batch."""
    redis, key = world.readers.queue.redis, f"darefine:batch:{world.batch.id}:entries"
    text = (
        change if isinstance(change, str) else json.dumps(changed(json.loads(redis.lindex(key, 0)), change))
    )
    redis.lset(key, 0, world.readers.encoded(text))


def write_indices(world: World, change: tuple[str, str]) -> None:
    """Add to the sets and hashes beside the batch."""
    redis, key = world.readers.queue.redis, f"darefine:batch:{world.batch.id}"
    index, value = map(world.readers.encoded, change)
    redis.sadd(f"{key}:live", index)
    redis.hset(f"{key}:jobs", index, value)
    redis.hset(f"{key}:refused", index, value)
    for name in ("0", "1"):
        redis.hset(f"{key}:jobs", name, value)
    redis.sadd("darefine:batches:active", value)


def write_event(world: World, change: Any) -> None:
    """Add a line to what has happened: members of an Event, or a text."""
    whole = {"number": "7", "kind": "job", "id": world.job.id, "state": "succeeded", "at": "1.000000"}
    text = change if isinstance(change, str) else " ".join((whole | change).values())
    world.readers.queue.redis.rpush("darefine:happened", world.readers.encoded(text))


def write_delivery(world: World, change: dict[str, str]) -> None:
    """Add a message to the webhook `whole` and overwrite members of it."""
    redis, encoded = world.readers.queue.redis, world.readers.encoded
    whole = {"id": "msg_7_whole", "webhook": "whole", "body": "{}", "attempts": "0"} | change
    message = encoded(whole.pop("id"))
    for name, value in whole.items():
        redis.hset(b"darefine:delivery:" + message, name, encoded(value))
    redis.zadd("darefine:deliveries", {message: 0})


def write_tally(world: World, change: tuple[Any, str]) -> None:
    """Add a sum."""
    redis, (field, value) = world.readers.queue.redis, change
    redis.hset("darefine:tallies", json.dumps(field), world.readers.encoded(value))


def write_keys(world: World, change: dict[str, str]) -> None:
    """Overwrite keys that hold one text each."""
    for key, value in change.items():
        world.readers.queue.redis.set(key, world.readers.encoded(value))


def text_members(*kinds: type) -> st.SearchStrategy[dict[str, str]]:
    """Up to two members of these kinds of record that are text each."""
    names = sorted({field.name for kind in kinds for field in fields(kind)})
    return st.dictionaries(st.sampled_from(names), texts, min_size=1, max_size=2)


def within(*way: Any, kind: type) -> st.SearchStrategy[Any]:
    """Changes of a record that lies inside another."""
    return json_changes(kind).map(lambda found: {(*way, *inner): value for inner, value in found.items()})


odd = st.sampled_from(ODD)
TEXT_KEYS = ["storage", "last-tick", "settling", "sequence", "indexed", "happened:number", "reconciler"]
KINDS: dict[str, tuple[st.SearchStrategy[Any], Write]] = {
    "worker": (odd | json_changes(WorkerInfo), json_at("darefine:workers:w-1-1")),
    "cards": (
        odd | json_changes(PublishedModels) | within("cards", 1, kind=ModelCard),
        json_at("darefine:cards:w-1-1"),
    ),
    "last cards": (
        odd | json_changes(PublishedModels) | within("cards", 0, kind=ModelCard),
        json_at("darefine:models"),
    ),
    "refusal": (odd | json_changes(Problem), json_at("darefine:refused:w-1-1", "{job}")),
    "webhook": (odd | json_changes(Webhook), json_at("darefine:webhooks", "other")),
    "last delivery": (odd | json_changes(LastDelivery), json_at("darefine:webhooks:last", "other")),
    "event": (odd | texts | text_members(Event), write_event),
    "delivery": (text_members(Delivery), write_delivery),
    "batch": (
        text_members(Batch)
        | st.fixed_dictionaries(
            {"options": odd | within("shown", kind=JobParameters) | within("sent", kind=JobParameters)}
        ),
        write_batch,
    ),
    "slide of a batch": (odd | json_changes(BatchEntry), write_entry),
    "indices of a batch": (st.tuples(texts, texts), write_indices),
    "sums": (st.tuples(st.lists(json_values, max_size=4) | json_values, odd), write_tally),
    "texts": (
        st.dictionaries(
            st.sampled_from([f"darefine:{name}" for name in TEXT_KEYS]), texts, min_size=1, max_size=2
        ),
        write_keys,
    ),
}


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def assert_goes_on(world: World) -> None:
    """Call all that reads; then another batch is fed, another webhook told, another job listed."""
    http = world.readers.http
    world.readers.read_all(world.job)
    world.readers.get_all(job_id=world.job.id, batch_id=world.batch.id, webhook_id="other")
    other = World.new_batch(world.readers, "other")
    assert http.post("/v1/webhooks/whole/ping").status_code == 202
    assert http.post("/v1/webhooks/other/ping").status_code in (202, 404)
    for path in ("jobs/preflight", "jobs"):
        answer = http.post(f"/v1/{path}", json={} if "pre" in path else {"slide_id": "0" * 24})
        assert answer.status_code < 500 or answer.status_code == 503, path

    def is_fed() -> bool:
        return bool(http.get(f"/v1/batches/{other.id}").json()["state"] == "finished")

    def is_told() -> bool:
        last = http.get("/v1/webhooks/whole").json()["last_delivery"]
        return last["error"] is not None and "is not public" in last["error"]

    eventually(is_fed, "another batch waits")
    eventually(is_told, "another webhook waits")
    redis = world.readers.queue.redis
    eventually(lambda: redis.llen("darefine:happened") == 0, "what happened is told again and again")
    due = lambda: redis.zcount("darefine:deliveries", "-inf", time.time())  # noqa: E731
    eventually(lambda: due() == 0, "a message is sent again and again")
    assert world.job.id in {one["id"] for one in http.get("/v1/jobs").json()["jobs"]}
    assert other.id in {one["id"] for one in http.get("/v1/batches").json()["batches"]}
    assert "whole" in {one["id"] for one in http.get("/v1/webhooks").json()["webhooks"]}


def assert_harmless(readers: Readers, kind: str, change: Any) -> None:
    """Overwrite something of a kind, and look at what everybody makes of it and at their traces."""
    world = World.of(readers)
    with readers.watch.watching() as paths:
        KINDS[kind][1](world, change)
        assert_goes_on(world)
    assert outside(paths, readers) == []
    assert readers.slide.read_bytes() == b"pixels"


fuzz = budget(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("kind", KINDS)
@budget(fuzz, max_examples=5)
@given(data=st.data())
def test_any_member_may_be_anything(readers: Readers, kind: str, data: st.DataObject) -> None:
    assert_harmless(readers, kind, data.draw(KINDS[kind][0]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@budget(fuzz, max_examples=60)
@given(data=st.data())
def test_many_members_written_by_others(readers: Readers, kind: str, data: st.DataObject) -> None:
    assert_harmless(readers, kind, data.draw(KINDS[kind][0]))


def test_the_queue_of_ones_own_has_no_address_on_the_network(session_valkey: EmbeddedValkey) -> None:
    """Whoever may open its socket may write all this: the user of the service alone."""
    assert session_valkey.pid is not None
    assert psutil.Process(session_valkey.pid).net_connections("inet") == []
    for path in (session_valkey.socket, session_valkey.socket.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("worker", {("memory_used",): 10**400, ("memory_total",): 10**400}),
        ("cards", {("cards", 1, "version"): float("inf")}),
        ("cards", {("cards", 0, "classes"): None, ("cards", 0, "weights"): None}),
        ("webhook", {("created_at",): 1e300}),
        ("webhook", {("secret",): ""}),
        ("webhook", {("url",): "nonsense"}),
        ("last delivery", {("at",): 1e17}),
        ("event", {"at": "1e3"}),
        ("event", {"at": "inf"}),
        ("delivery", {"id": "\udc80"}),
        ("delivery", {"attempts": "9" * 5000}),
        ("batch", {"options": "null"}),
        ("slide of a batch", "null"),
        ("texts", {"darefine:happened:number": "x", "darefine:sequence": "x"}),
    ],
    ids=str,
)
def test_what_was_not_borne_once(readers: Readers, kind: str, change: Any) -> None:
    assert_harmless(readers, kind, change)
