"""Kill a child process when its parent ends."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> Callable[[], None]:
    """Return a function for the child to call first: it ties the child's life to process `parent_pid`.

    The child is killed when that process ends, however that ends.

    Linux only (prctl(2), survives exec); elsewhere the function does nothing and other means must do: a
    closed pipe for the engine process, re-attaching for the embedded queue. The kernel ties the signal to the
    *thread* that made the child, so children are made in main threads.
    """
    if sys.platform != "linux":
        return lambda: None
    # Looked up here, not in the child: between fork and exec the loader's locks may be held.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return tie
