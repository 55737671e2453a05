"""What workers announce and the API reads."""

import json
from dataclasses import replace

import pytest

from tests.workers.conftest import Queue
from workers.jobs import Problem
from workers.queue.registry import Fleet, WorkerInfo, WorkerState

from .examples import PROBLEM

READY = WorkerInfo("a", WorkerState.IDLE, "cpu", "float32", ("m",), 1.0)
CARD = {"name": "m", "input": {"mpp": 0.934, "context_ratio": 5, "slices_per_side": 5, "halo_px": 64}}
BROKEN = WorkerInfo("b", WorkerState.FAILED, None, None, (), 2.0, PROBLEM)


def test_workers_without_a_model_are_announced_but_not_live(queue: Queue) -> None:
    for info in (BROKEN, READY):
        queue.registry.announce(info, ttl_s=60)
    assert queue.client.workers() == (READY, BROKEN)
    assert queue.client.live_workers() == (READY,)
    queue.registry.withdraw("a")
    assert queue.client.live_workers() == ()
    assert queue.client.workers() == (BROKEN,)


@pytest.mark.parametrize(("state", "live"), [("starting", 0), ("idle", 1), ("busy", 1), ("failed", 0)])
def test_a_worker_is_live_while_its_model_is_loaded(queue: Queue, state: str, live: int) -> None:
    queue.registry.announce(WorkerInfo("a", WorkerState(state), "cpu", "float32", (), 1.0), ttl_s=60)
    assert len(queue.client.live_workers()) == live


def test_a_worker_that_gives_no_sign_of_life_is_forgotten(queue: Queue, bench) -> None:
    queue.registry.announce(READY, ttl_s=0.05)
    queue.registry.announce(BROKEN, ttl_s=60)
    bench.wait_until(lambda: queue.client.workers() == (BROKEN,), "end of the sign of life")
    assert queue.redis.smembers("darefine:workers") == {b"b"}


def test_published_models_are_listed_with_their_default(queue: Queue) -> None:
    assert (queue.client.models().default, queue.client.models().cards) == (None, ())
    cards = tuple({**CARD, "name": name} for name in ("a", "b"))
    queue.registry.publish_models("b", tuple(map(json.dumps, cards)))
    assert queue.client.models().default == "b"
    assert queue.client.models().cards == cards


def card(name: str, sha256: str, **members: object) -> dict[str, object]:
    """A card of a model with these weights."""
    return {**CARD, "name": name, "weights": {"sha256": sha256}, **members}


def join(queue: Queue, worker: str, default: str, *cards: dict[str, object]) -> None:
    """Announce a worker with its cards."""
    queue.registry.announce(replace(READY, name=worker), ttl_s=60)
    queue.registry.publish_models(default, tuple(map(json.dumps, cards)), worker=worker)


def test_cards_are_those_of_all_workers_one_for_each_sha256(queue: Queue) -> None:
    new, old, other = card("m", "02" * 32), card("m", "01" * 32), card("other", "03" * 32)
    join(queue, "a", "other", new, other)
    join(queue, "b", "m", new)
    join(queue, "c", "m", old)
    found = queue.client.models()
    assert found.default == "m", "of most workers"
    assert found.cards == (new, old, other), "of one name the weights of most workers are first"
    assert queue.registry.cards_of_workers()["a"] == (("m", "02" * 32), ("other", "03" * 32))


def test_cards_of_a_worker_that_restarts_stay_unless_others_have_the_model(queue: Queue) -> None:
    gone, here = card("m", "01" * 32), card("m", "02" * 32)
    join(queue, "a", "m", gone, card("other", "03" * 32))
    queue.registry.withdraw("a")
    assert {one["name"] for one in queue.client.models().cards} == {"m", "other"}
    join(queue, "b", "m", here)
    assert queue.client.models().cards == (here, card("other", "03" * 32))
    queue.redis.delete("darefine:cards:a")
    assert queue.client.models().cards == (here,)


def test_a_worker_learns_how_many_there_are_and_whose_data_folder_it_must_be(queue: Queue) -> None:
    assert queue.registry.announce(READY, ttl_s=60) == Fleet(None, 1)
    queue.client.claim_storage()
    fleet = queue.registry.announce(replace(READY, name="b"), ttl_s=60)
    assert fleet.workers == 2
    assert fleet.storage is not None


# As version 0.1.0 wrote them

WORKER = (
    '{"name": "w", "state": "failed", "device": null, "dtype": null, "models": [], '
    '"started_at": 1764000000.5, "problem": {"type": "weights", "title": "Weights", "detail": "No card."}}'
)
MODELS = (
    '{"default": "m", "cards": [{"name": "m", "input": {"mpp": 0.934, "context_ratio": 5, '
    '"slices_per_side": 5, "halo_px": 64}}]}'
)


def test_announcements_are_written_and_read_as_before(queue: Queue) -> None:
    info = WorkerInfo(
        "w", WorkerState.FAILED, None, None, (), 1764000000.5, Problem("weights", "Weights", "No card.")
    )
    queue.registry.announce(info, ttl_s=60)
    assert queue.redis.get("darefine:workers:w") == WORKER.encode()
    queue.redis.set("darefine:workers:w", WORKER)
    assert queue.client.workers() == (info,)


def test_models_are_written_and_read_as_before(queue: Queue) -> None:
    queue.registry.publish_models("m", (json.dumps(CARD),))
    assert queue.redis.get("darefine:models") == MODELS.encode()
    queue.redis.set("darefine:models", MODELS)
    assert queue.client.models().cards == (CARD,)


@pytest.mark.parametrize("change", [{"state": "asleep"}, {"device": 1}, {"started_at": "now"}])
def test_an_announcement_of_another_form_is_left_out(queue: Queue, change: dict[str, object]) -> None:
    queue.registry.announce(READY, ttl_s=60)
    queue.registry.announce(replace(READY, name="b"), ttl_s=60)
    queue.redis.set("darefine:workers:a", json.dumps({**json.loads(WORKER), **change}))
    assert [worker.name for worker in queue.client.workers()] == ["b"]


def test_cards_of_workers_of_the_version_before_are_listed_until_others_come(
    queue: Queue,
) -> None:
    queue.redis.set("darefine:models", MODELS)
    join(queue, "new", "other", card("other", "03" * 32))
    assert [one["name"] for one in queue.client.models().cards] == ["other"]
    assert json.loads(queue.redis.get("darefine:models"))["default"] == "other", "the version before reads it"


def test_an_announcement_of_a_later_version_is_read(queue: Queue) -> None:
    queue.registry.announce(READY, ttl_s=60)
    queue.redis.set("darefine:workers:a", json.dumps({**json.loads(WORKER), "unheard_of": 1}))
    assert [worker.name for worker in queue.client.workers()] == ["w"]


@pytest.mark.parametrize(
    "published",
    ["", "{", '{"default": "m", "cards": 3}', '{"default": "m", "cards": [{"name": 3}]}']
    + [
        json.dumps({"default": "m", "cards": [{"name": "m", "input": {**CARD["input"], **change}}]})
        for change in ({"mpp": 0}, {"halo_px": "16"}, {"slices_per_side": 10**9}, {"unheard_of": 1})
    ],
)
def test_cards_that_nobody_could_use_are_left_out(queue: Queue, published: str) -> None:
    queue.redis.set("darefine:models", published)
    assert queue.client.models().cards == ()
