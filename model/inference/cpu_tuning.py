"""How a process that computes uses its machine. Imports no torch: threads must be told before that is loaded."""

import ctypes
import os

SPINS = 3000
"""Turns that an OpenMP thread waits awake: tens of microseconds, about the gap between two operations of a network."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of mallopt(3)."""


def tune_openmp_wait() -> None:
    """Let torch's OpenMP threads (GNU's) fall asleep soon while they wait, unless the environment says otherwise.

    By default they spin for milliseconds. Beside any other busy thread, such as our own readers, a spinning thread keeps the
    one it waits for off the core: on two cores with one of them taken, a training step took 15 s spinning and 3 s
    sleeping. Asleep at once, they would be woken for each operation. Call it before torch is imported; child processes
    inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def tune_malloc() -> None:
    """Let malloc keep what is freed for the next tensor, instead of giving it back to the system. For this process only.

    glibc maps large tensors anew, or gives the end of its heap back, and the system clears such memory page by page when
    it is written again: a sixth of a network's time on a CPU. What is resident stays at its peak. Does nothing where malloc is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
