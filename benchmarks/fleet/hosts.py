"""Hosts of a fleet, each with a name and mounts of its own, so that one can be wrong. Linux, as root."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darefine.cli.demo import own_environment

STOP_S = 60.0


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a host: mounts that are made in it before it starts, and settings."""

    name: str
    mounts: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def kinds_of(slides: Path, data_dir: Path, folder: Path, torn: Path) -> tuple[Wrong, ...]:
    """Return the kinds of wrong hosts.

    Args:
        slides: folder of the slides.
        data_dir: of the API.
        folder: for what they need.
        torn: weights folder in which the jobs' model does not fit its card.
    """
    jobs = shlex.quote(str(data_dir / "jobs"))
    empty = folder / "empty"
    empty.mkdir()
    return (
        Wrong("no mount of the slides", (f"mount -t tmpfs none {shlex.quote(str(slides))}",)),
        Wrong("no weights", settings={"DAREFINE_WEIGHTS_DIR": str(empty)}),
        Wrong("weights that are not their card's", settings={"DAREFINE_WEIGHTS_DIR": str(torn)}),
        Wrong(
            "data folder that cannot be written",
            (f"mount --bind {jobs} {jobs}", f"mount -o remount,ro,bind {jobs}"),
        ),
        Wrong(
            "disk full",
            (f"mount -t tmpfs -o size=8m none {jobs}", f"(head -c 9m /dev/zero > {jobs}/ballast || true)"),
        ),
        Wrong("no DAREFINE_SLIDE_ROOTS", settings={"DAREFINE_SLIDE_ROOTS": ""}),
        Wrong("a data folder of its own", settings={"DAREFINE_DATA_DIR": str(folder / "own")}),
    )


class FleetHost:
    """A supervisor under a host name of its own; started again at will.

    Args:
        name: of the host.
        command: of darefine, such as `worker`.
        environment: its settings.
        log: what it says goes to the end of this file.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "darefine", *command]
        self._environment = {**own_environment(), "DAREFINE_THREADS": "1", **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, wrong: Wrong | None = None) -> None:
        """Start it, right or wrong."""
        mounts = wrong.mounts if wrong else ()
        script = " && ".join([f"hostname {self.name}", *mounts, f"exec {shlex.join(self._command)}"])
        environment = {**self._environment, **(wrong.settings if wrong else {})}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--uts", "sh", "-c", script],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        """End it as SIGTERM does; after STOP_S it is killed."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
