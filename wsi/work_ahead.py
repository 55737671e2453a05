"""Read ahead and write behind in threads, with bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def work_ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, depth: int
) -> Generator[tuple[T, R]]:
    """Yield `(item, function(item))` in the order of `items`, computed in `threads` threads.

    While the caller uses one result, at most `depth` more are made or wait, so memory is bounded by
    `depth` + 1 results however long `items` is. The first exception of `function` is raised at its place in
    the order; what was not started is dropped. Closing the generator waits for the calls that run.
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


class BoundedWriter:
    """Write-behind queue of `threads` background threads that holds at most `depth` unfinished writes.

    A context manager. Writes begin in the order they were submitted; with one thread they run one after
    another. Leaving waits for the last one; when the body raised, writes that have not begun are dropped. An
    exception of a write is raised at a `submit` after it and after all before it, or on leaving.
    """

    def __init__(self, *, depth: int, threads: int = 1) -> None:
        self._depth = depth
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write-behind")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._pending and kind is None:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, write: Callable[[], None]) -> None:
        """Queue `write`, after waiting while `depth` writes are unfinished.

        Raises:
            Exception: what an earlier write raised; `write` is not queued then.
        """
        while self._pending and (len(self._pending) >= self._depth or self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(write))
