"""Confine the engine process, which decodes untrusted slides, as far as settings and platform have it."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wsi.confinement import Confinement, confine

from ..errors import OutsideSandboxError, SandboxUnavailableError
from ..protocol import RunJob
from ..settings import WorkerSettings

logger = logging.getLogger(__name__)

NVIDIA = Path("/dev/nvidiactl")
"""There where a machine has an NVIDIA GPU and its driver."""


def is_wanted(settings: WorkerSettings) -> bool:
    """Return whether the engine is to be confined."""
    return settings.sandbox == "on" or (settings.sandbox == "auto" and not NVIDIA.exists())


def confine_engine(settings: WorkerSettings) -> Confinement:
    """Confine this process: call it before it has other threads. What is missing is logged.

    It reads slides and weights, quantised ones too, and changes the jobs' folders. With torch.compile it may
    also start a compiler, and write to the folder of temporary files.
    """
    for folder in (settings.slides_dir, settings.jobs_dir):
        # The sandbox knows only what is there when it is set up. A folder that cannot be made is a fault of
        # the host, which the first job tells.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
    temporary = [Path(tempfile.gettempdir())] if settings.compile else []
    found = confine(
        readable=[
            settings.weights_dir,
            *_linked(settings.weights_dir),
            settings.data_dir / "slides",
            settings.int8_dir,
            *settings.slide_roots,
        ],
        writable=[settings.jobs_dir, *temporary],
        programs=settings.compile,
    )
    for missing in found.missing:
        logger.warning("the engine runs without a part of its sandbox: %s", missing)
    return found


def require(found: Confinement | None, settings: WorkerSettings) -> None:
    """Check that a sandbox that the settings demand holds.

    Raises:
        SandboxUnavailableError: a part of it does not.
    """
    if settings.sandbox == "on" and (found is None or found.missing):
        missing = "; ".join(found.missing) if found else "it was not set up"
        raise SandboxUnavailableError(
            f"DAREFINE_SANDBOX=on, but this machine has no whole sandbox ({missing}). Install what is "
            "missing, or set it to auto or off."
        )


def check_readable(run: RunJob, settings: WorkerSettings) -> None:
    """Check that the sandbox lets a job read its slide.

    Raises:
        OutsideSandboxError: the slide lies elsewhere.
    """
    folders = [settings.slides_dir, *(root.resolve() for root in settings.slide_roots)]
    if not any(Path(run.slide_path).is_relative_to(folder) for folder in folders):
        raise OutsideSandboxError(
            f"{run.slide_name} lies in a folder that this worker's sandbox does not open. Set "
            "DAREFINE_SLIDE_ROOTS for the workers as for the API."
        )


def _linked(folder: Path) -> Iterator[Path]:
    """Yield the folders that links in a folder of weights lead to, as in caches of model hubs."""
    if folder.is_dir():
        yield from {path.resolve().parent for path in folder.rglob("*") if path.is_symlink()}
