"""Working ahead: the next items in threads while the caller uses the current one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def work_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, depth: int
) -> Generator[tuple[T, R]]:
    """Yield `(item, function(item))` in the order of `items`, computed in `threads` threads.

    While the caller uses one result, at most `depth` more are made or wait, so memory is bounded by `depth` + 1
    results however long `items` is. The first exception of `function` is raised at its place in the
    order; what was not started is dropped. Closing the generator waits for the calls that run.
    """
    pending: deque[tuple[T, Future[R]]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in remaining:
                pending.append((item, pool.submit(function, item)))
                if len(pending) > depth:
                    first, result = pending.popleft()
                    yield first, result.result()
            while pending:
                first, result = pending.popleft()
                yield first, result.result()
        finally:
            for _, result in pending:
                result.cancel()
