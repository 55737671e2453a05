"""Let one supervisor at most work on a data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import QueueUnavailableError, SupervisorRunningError

LOCK_NAME = "serve.lock"


@contextmanager
def supervisor_lock(data_dir: Path) -> Iterator[None]:
    """Hold the lock of the only supervisor of `data_dir`; the kernel releases it however this process ends.

    Raises:
        SupervisorRunningError: another process holds it.
        QueueUnavailableError: the folder cannot be used.
    """
    path = data_dir / LOCK_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise QueueUnavailableError.at(data_dir, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SupervisorRunningError(data_dir, pid=lock.read().strip()) from None
        except OSError as error:
            raise QueueUnavailableError.at(data_dir, error) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
