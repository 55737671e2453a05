"""How torch's CPU threads behave. Imports no torch: it must be told before that is loaded."""

import os


def yield_idle_cores() -> None:
    """Let torch's OpenMP threads sleep while they wait, unless the environment says otherwise.

    By default they spin. Beside any other busy thread, such as our own readers, a spinning thread keeps the one it waits
    for off the core: on two cores with one of them taken, a training step took 15 s spinning and 3 s sleeping.
    Call it before torch is imported; child processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
