"""Let one supervisor at most work on a data folder."""

import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import QueueUnavailableError, SupervisorRunningError

logger = logging.getLogger(__name__)

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
        close_to_others(data_dir)
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


def close_to_others(data_dir: Path) -> None:
    """Take the rights of users outside of its group from a data folder, and say so: slides are patients'.

    The group keeps what it has: other hosts may share the folder by it.

    Raises:
        OSError: the folder's mode cannot be read.
    """
    mode = stat.S_IMODE(data_dir.stat().st_mode)
    if not mode & stat.S_IRWXO:
        return
    try:
        data_dir.chmod(mode & ~stat.S_IRWXO)
    except OSError as error:
        logger.warning(
            "every user of this machine can open %s (mode %o), which holds slides and results, and that "
            "cannot be changed (%s): give it to the user of the service, with mode 0700",
            data_dir,
            mode,
            error,
        )
        return
    logger.warning(
        "every user of this machine could open %s (mode %o), which holds slides and results: its mode is now "
        "%o",
        data_dir,
        mode,
        mode & ~stat.S_IRWXO,
    )
