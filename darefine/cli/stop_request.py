"""Turn Ctrl-C and SIGTERM into a request to stop at the next good moment."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what Slurm, torchrun and `docker stop` send before they kill."""


class StopRequest:
    """Whether one of STOP_SIGNALS has come; the same one again ends the process at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}

    def __call__(self, last: bool) -> bool:
        """Return whether to stop after this step; after the `last` one there is nothing to stop.

        From then on the signals do what they did before.
        """
        if last:
            self.restore()
        return self._asked and not last

    def restore(self) -> None:
        """Put the handlers from before back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        # Only this one: torchrun answers Ctrl-C, which its processes see too, by a SIGTERM to each of them.
        signal.signal(number, self._before[signal.Signals(number)])
        if not self._asked:
            self._asked = True
            click.echo("stopping after this step ...", err=True)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Watch for STOP_SIGNALS while the block runs."""
    request = StopRequest()
    try:
        yield request
    finally:
        request.restore()
