"""Lock files that a process writes to; the system releases them when the process ends, however it ends."""

from typing import IO, Any


def lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; return whether no other process or request holds it."""
    import fcntl  # noqa: PLC0415  (not on Windows, where this module is imported and never used)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
