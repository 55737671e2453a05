"""Reading ahead and writing behind: order, bounds, failures."""

import itertools
import threading
import time
from contextlib import closing
from functools import partial

import pytest

from wsi.work_ahead import BoundedWriter, work_ahead


def test_results_come_in_order_whatever_finishes_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(60)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(work_ahead(work, range(5), threads=2, depth=2)) == [(n, n * n) for n in range(5)]


def test_no_more_than_depth_are_made_while_one_is_used() -> None:
    begun: list[int] = []
    results = work_ahead(begun.append, range(100), threads=4, depth=3)
    with closing(results):
        for used, (item, _) in enumerate(results, start=1):
            assert item == used - 1
            assert len(begun) <= used + 3
            if used == 20:
                break
    assert len(begun) <= 23, "what was not begun is dropped when the caller stops"


def test_a_failure_comes_at_its_place() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError(item)
        return item

    results = work_ahead(work, range(4), threads=2, depth=2)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)


def test_closing_drops_what_was_not_begun_and_waits_for_what_runs() -> None:
    running, gate = threading.Event(), threading.Event()
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            running.set()
            _wait(gate)

    results = work_ahead(work, range(1000), threads=1, depth=4)
    assert next(results)[0] == 0
    assert running.wait(60)
    threading.Timer(0.2, gate.set).start()
    results.close()

    assert gate.is_set()
    assert begun == [0, 1]


def test_items_are_taken_as_they_are_needed() -> None:
    with closing(work_ahead(abs, itertools.count(), threads=2, depth=3)) as results:
        assert [next(results) for _ in range(4)] == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_writes_run_in_order_one_at_a_time_in_another_thread_and_leaving_waits_for_all() -> None:
    written: list[int] = []
    threads: set[int] = set()
    running = threading.Lock()

    def write(number: int) -> None:
        assert running.acquire(blocking=False), "two writes at once"
        threads.add(threading.get_ident())
        written.append(number)
        running.release()

    with BoundedWriter(depth=3) as writer:
        for number in range(50):
            writer.submit(partial(write, number))

    assert written == list(range(50))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_several_threads_write_at_once_and_leaving_waits_for_all_of_them() -> None:
    together = threading.Barrier(3)
    written: list[int] = []

    def write(number: int) -> None:
        together.wait(60)  # broken, and so an error, unless three writes run at once
        written.append(number)

    with BoundedWriter(depth=3, threads=3) as writer:
        for number in range(6):
            writer.submit(partial(write, number))
    assert sorted(written) == list(range(6))


@pytest.mark.parametrize("depth", [1, 3])
def test_submit_waits_while_depth_writes_are_unfinished_and_not_before(depth: int) -> None:
    gate = threading.Event()
    opener = threading.Timer(0.2, gate.set)

    with BoundedWriter(depth=depth) as writer:
        for _ in range(depth):
            writer.submit(lambda: _wait(gate))
        assert not gate.is_set(), "as many as `depth` are taken without waiting"
        opener.start()
        writer.submit(lambda: None)
        assert gate.is_set(), "one more waits for the first"


def _wait(event: threading.Event) -> None:
    assert event.wait(60)


def _fail(message: str) -> None:
    raise OSError(message)


def test_an_exception_of_a_write_is_raised_at_the_first_submit_after_it() -> None:
    failed, later = threading.Event(), []

    def fail() -> None:
        try:
            _fail("disk full")
        finally:
            failed.set()

    def submit_until_it_raises() -> None:
        with BoundedWriter(depth=100) as writer:
            writer.submit(fail)
            assert failed.wait(60)
            # The future is done a moment after the write; far fewer submits than `depth` must be enough.
            for _ in range(50):
                writer.submit(lambda: time.sleep(0.01))
                later.append(1)
                time.sleep(0.01)

    with pytest.raises(OSError, match="disk full"):
        submit_until_it_raises()
    assert len(later) < 50


def test_a_full_writer_raises_what_the_first_write_raised() -> None:
    with BoundedWriter(depth=1) as writer:
        writer.submit(lambda: _fail("disk full"))
        with pytest.raises(OSError, match="disk full"):
            writer.submit(lambda: None)


def test_an_exception_of_the_last_write_is_raised_on_leaving() -> None:
    submitted = []

    def submit_last() -> None:
        with BoundedWriter(depth=2) as writer:
            writer.submit(lambda: _fail("disk full"))
            submitted.append(True)

    with pytest.raises(OSError, match="disk full"):
        submit_last()
    assert submitted == [True]


def test_an_exception_of_the_body_drops_writes_not_begun_and_is_not_hidden_by_a_failed_write() -> None:
    begun, gate = threading.Event(), threading.Event()
    written: list[str] = []

    def first() -> None:
        begun.set()
        _wait(gate)
        written.append("first")
        _fail("disk full")

    def interrupt() -> None:
        with BoundedWriter(depth=3) as writer:
            writer.submit(first)
            writer.submit(lambda: written.append("second"))
            assert begun.wait(60)
            threading.Timer(0.2, gate.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert written == ["first"], "the one that runs is waited for, the other dropped"
