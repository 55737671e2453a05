"""Keep a program running: start it again when it ends, unless its exit code says that it is done or wrong."""

import logging
import os
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence

from wsi.die_with_parent import die_with_parent

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 10.0
"""A program that ran this long is started again at once; others after a pause that doubles."""


class RestartingProcess:
    """Starts a program, starts it again when it ends, and takes it along when this process ends.

    Call its methods from the main thread (see `wsi.die_with_parent`).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        last_codes: Collection[int] = (os.EX_CONFIG,),
    ) -> None:
        """Prepare to run `command`; `environment` is added to this process's own.

        After an exit code of `last_codes` it is not started again.
        """
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._failures = 0
        self._last_codes = last_codes
        self.ended: int | None = None
        """Exit code after which the program is not started again; None while it is."""

    @property
    def pid(self) -> int | None:
        """Process id while the program runs."""
        return self._process.pid if self._process else None

    def poll(self) -> bool:
        """Start the program if it does not run and its pause is over; return whether that was once more."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return False
            self._process = None
            if code in self._last_codes:
                self.ended = code
                if code == os.EX_CONFIG:
                    logger.error("%s ended: its settings are not for this machine", self.name)
                else:
                    logger.info("%s ended with exit code %d", self.name, code)
                return False
            self._failures = 0 if now - self._started_at > HEALTHY_S else self._failures + 1
            pause_s = (
                min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S) if self._failures else 0.0
            )
            self._start_at = now + pause_s
            logger.warning(
                "%s ended with exit code %d, starting it again in %.1f s", self.name, code, pause_s
            )
        if self.ended is not None or now < self._start_at:
            return False
        again = self._started_at > 0.0
        self._start(now)
        return again

    def terminate(self) -> None:
        """Ask the program to end."""
        if self._process is not None:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Wait for the program to end until `deadline` (of the monotonic clock), then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end in time, killing it", self.name)
            self._process.kill()
            self._process.wait()
        self._process = None

    def _start(self, now: float) -> None:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches the whole foreground group; the supervisor alone decides on the order of the end.
            # And not a session of its own: see workers.engine.server.NICENESS.
            process_group=0,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - only calls prctl, resolved beforehand
        )
        self._started_at = now
        logger.info("%s started, process %d", self.name, self._process.pid)
