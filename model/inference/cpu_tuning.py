"""Tune OpenMP and malloc for a process that computes.

Imports no torch, because OpenMP reads its settings when torch loads it.
"""

import ctypes
import os

SPIN_COUNT = 3000
"""Iterations that a waiting OpenMP thread spins before it sleeps: about the gap between two operations of a
network."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameter numbers of mallopt(3)."""


def tune_openmp_wait() -> None:
    """Make torch's OpenMP threads (GNU's) sleep soon while they wait, unless the environment sets a policy.

    By default they spin for milliseconds. Beside any other busy thread, such as our own readers, a spinning
    thread keeps the one it waits for off the core, which can slow a training step down several times. If they
    slept at once, they would have to be woken for each operation. Call it before torch is imported; child
    processes inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def tune_malloc() -> None:
    """Make malloc keep freed memory for the next tensor instead of returning it to the system.

    By default glibc maps large tensors anew each time, or gives the end of its heap back, and the system
    clears such memory page by page when it is written again, a good part of a network's time on a CPU.
    Resident memory stays at its peak. Affects this process only; does nothing where malloc is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
