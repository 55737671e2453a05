"""Writing behind: results are written in a thread while the caller makes the next."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self


class BoundedWriter:
    """Hands results to one background thread; blocks the caller when `depth` of them wait.

    Used as a context manager; leaving it waits for the last write. An exception of a write is raised at the next
    `submit`, or on leaving.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth = depth
        self._pending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._pending and kind is None:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, write: Callable[[], None]) -> None:
        """Queue `write`; waits while `depth` writes are unfinished. Raises what an earlier write raised."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(write))
