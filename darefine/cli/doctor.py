"""`darefine doctor`: what this machine has, and what is wrong with it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Column, Table

from workers.queue.connection import connect, without_password
from workers.settings import WorkerSettings
from workers.supervisor.valkey import server_program

ENOUGH_DISK = 20 * 10**9
MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, `warn` (works, but mind it) or `fail` (jobs will not run)."""

    subject: str
    outcome: str
    detail: str


@click.command()
def doctor() -> None:
    """Say what this machine has and what is wrong with it. Exit code 1 if jobs would not run."""
    settings = WorkerSettings()
    findings = [
        examine(subject, look)
        for subject, look in (
            ("python", look_at_python),
            ("torch", look_at_torch),
            ("driver", look_at_driver),
            ("OpenSlide", look_at_openslide),
            ("libvips", look_at_vips),
            ("model", lambda: look_at_model(settings)),
            ("queue", lambda: look_at_queue(settings)),
            ("disk", lambda: look_at_disk(settings.data_dir)),
        )
    ]
    table = Table("", "what", Column("found", overflow="fold"))
    for finding in findings:
        table.add_row(MARKS[finding.outcome], finding.subject, finding.detail)
    Console().print(table)
    sys.exit(any(finding.outcome == "fail" for finding in findings))


def examine(subject: str, look: Callable[[], tuple[str, str]]) -> Finding:
    """Run one look; whatever it raises is the finding."""
    try:
        outcome, detail = look()
    except Exception as error:  # noqa: BLE001  (the very point is to report what does not work)
        outcome, detail = "fail", f"{type(error).__name__}: {error}"
    return Finding(subject, outcome, detail)


def look_at_python() -> tuple[str, str]:
    """Interpreter, system and this software's version."""
    return "ok", f"{platform.python_version()} on {platform.platform()}, darefine {version('darefine')}"


def look_at_torch() -> tuple[str, str]:
    """Version, device and the precision a worker would choose."""
    import torch  # noqa: PLC0415  (a broken torch must become a finding, not end the program)

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return "ok", f"{torch.__version__}, CUDA {torch.version.cuda}: {names}"
    outcome = "warn" if shutil.which("nvidia-smi") else "ok"
    return (
        outcome,
        f"{torch.__version__}, CPU with {torch.get_num_threads()} threads, no CUDA device in reach",
    )


def look_at_driver() -> tuple[str, str]:
    """The NVIDIA driver, where there is one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "ok", "no NVIDIA driver; jobs run on the CPU"
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    return "ok", answer.stdout.strip().replace("\n", "; ")


def look_at_openslide() -> tuple[str, str]:
    """Version of the OpenSlide library."""
    import openslide  # noqa: PLC0415

    return "ok", f"{openslide.__library_version__} (python binding {openslide.__version__})"


def look_at_vips() -> tuple[str, str]:
    """Version of libvips."""
    import pyvips  # noqa: PLC0415

    return "ok", ".".join(str(pyvips.version(part)) for part in range(3))


def look_at_model(settings: WorkerSettings) -> tuple[str, str]:
    """Load the default model, which checks its weights' sha256."""
    from workers.engine.model_cache import ModelCache  # noqa: PLC0415

    segmenter = ModelCache.of(settings).default()
    return "ok", f"{segmenter.card.name} on {segmenter.device}, {segmenter.dtype}"


def look_at_queue(settings: WorkerSettings) -> tuple[str, str]:
    """The Redis that jobs would be queued on, or the server that would be started."""
    if settings.redis_url is None:
        return "ok", f"embedded: {server_program()}"
    shown = without_password(settings.redis_url)
    try:
        connect(settings.redis_url).ping()
    except RedisError as error:
        return "fail", f"{shown} does not answer: {error}"
    return "ok", shown


def look_at_disk(folder: Path) -> tuple[str, str]:
    """Free space where slides and results go."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return "fail", f"{existing} is not writable; set DAREFINE_DATA_DIR to a folder that is"
    return ("ok" if free > ENOUGH_DISK else "warn"), f"{free / 1e9:.0f} GB free under {folder}"
