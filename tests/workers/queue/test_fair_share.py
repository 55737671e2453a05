"""Lanes take turns in RQ's lists."""

from dataclasses import replace

from workers.queue.fair_share import FairShare

from ..conftest import Queue
from .examples import REQUEST


def submit(queue: Queue, lane: str, **changes: str) -> str:
    return queue.client.submit(replace(REQUEST, **changes), lane=lane).id  # type: ignore[arg-type]


def order(queue: Queue, names: dict[str, str]) -> str:
    return " ".join(names[job_id] for job_id in queue.lists.waiting(1000))


def test_lanes_take_turns(queue: Queue) -> None:
    names = {
        submit(queue, lane): f"{lane}{n}"
        for lane, count in (("a", 4), ("b", 2), ("c", 1))
        for n in range(count)
    }
    assert order(queue, names) == "a0 b0 c0 a1 b1 a2 a3"


def test_who_has_a_job_that_runs_has_had_a_turn(queue: Queue) -> None:
    names = {submit(queue, "a"): f"a{n}" for n in range(3)}
    first = queue.lists.waiting(1)[0]
    assert queue.lease.start(first, 1, "worker")
    queue.lists.dequeue(first, 1)
    names[submit(queue, "b")] = "b0"
    assert order(queue, names) == "b0 a1 a2"


def test_the_order_beside_a_list_stays_that_of_the_list(queue: Queue) -> None:
    places = {submit(queue, "a"): float(n) for n in range(3)}
    queue.redis.zadd("darefine:order:normal", places)
    # What scripts that keep such an order do before a job is put into its list.
    job_id = submit(queue, "b")
    queue.lists.dequeue(job_id, 1)
    queue.redis.zadd("darefine:order:normal", {job_id: 3.0})
    queue.lists.enqueue(job_id, 1)
    FairShare(queue.redis).settle(job_id, 1, "normal")
    ordered = [key.decode() for key in queue.redis.zrange("darefine:order:normal", 0, -1)]
    assert ordered == list(queue.lists.waiting(10))
    assert ordered.index(job_id) == 1


def test_one_lane_alone_is_first_in_first_out(queue: Queue) -> None:
    ids = [submit(queue, "") for _ in range(5)]
    assert list(queue.lists.waiting(10)) == ids


def test_turns_are_taken_within_a_priority(queue: Queue) -> None:
    names = {submit(queue, "a"): f"a{n}" for n in range(2)}
    names[submit(queue, "b", priority="high")] = "high"
    assert order(queue, names) == "high a0 a1"


def test_a_long_queue_of_one_lane_holds_nobody_up(queue: Queue) -> None:
    names = {submit(queue, "a"): "a" for _ in range(300)}
    names[submit(queue, "b")] = "b"
    assert order(queue, names).split().index("b") == 1
