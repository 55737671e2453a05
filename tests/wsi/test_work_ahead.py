"""Working ahead: order, bounds, failures."""

import threading
from contextlib import closing

import pytest

from wsi.work_ahead import work_ahead


def test_results_come_in_order_whatever_finishes_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
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
