"""Command `darefine doctor`: report what this machine has and what is wrong with it."""

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

from service.slides.disk import room, too_little
from workers.queue.connection import connect, without_password
from workers.settings import WorkerSettings

ENOUGH_DISK = 20 * 10**9
MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one check: `ok`, `warn` (works, but mind it) or `fail` (jobs will not run)."""

    subject: str
    outcome: str
    detail: str


@click.command()
def doctor() -> None:
    """Say what this machine has and what is wrong with it. Exit code 1 if jobs would not run."""
    settings = WorkerSettings()
    findings = [
        run_check(subject, check)
        for subject, check in (
            ("python", check_python),
            ("torch", check_torch),
            ("driver", check_driver),
            ("OpenSlide", check_openslide),
            ("libvips", check_vips),
            ("model", lambda: check_model(settings)),
            ("queue", lambda: check_queue(settings)),
            ("disk", lambda: check_disk(settings.data_dir)),
        )
    ]
    table = Table("", "what", Column("found", overflow="fold"))
    for finding in findings:
        table.add_row(MARKS[finding.outcome], finding.subject, finding.detail)
    Console().print(table)
    sys.exit(any(finding.outcome == "fail" for finding in findings))


def run_check(subject: str, check: Callable[[], tuple[str, str]]) -> Finding:
    """Run one check; whatever it raises becomes the finding."""
    try:
        outcome, detail = check()
    except Exception as error:  # noqa: BLE001  (the very point is to report what does not work)
        outcome, detail = "fail", f"{type(error).__name__}: {error}"
    return Finding(subject, outcome, detail)


def check_python() -> tuple[str, str]:
    """Report interpreter, system and this software's version."""
    return "ok", f"{platform.python_version()} on {platform.platform()}, darefine {version('darefine')}"


def check_torch() -> tuple[str, str]:
    """Report the version of torch and its CUDA devices; warn where a driver is there but no device."""
    import torch  # noqa: PLC0415  (a broken torch must become a finding, not end the program)

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return "ok", f"{torch.__version__}, CUDA {torch.version.cuda}: {names}"
    outcome = "warn" if shutil.which("nvidia-smi") else "ok"
    return (
        outcome,
        f"{torch.__version__}, CPU with {torch.get_num_threads()} threads, no CUDA device in reach",
    )


def check_driver() -> tuple[str, str]:
    """Report the NVIDIA driver and its devices, where there are any."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "ok", "no NVIDIA driver; jobs run on the CPU"
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    return "ok", answer.stdout.strip().replace("\n", "; ")


def check_openslide() -> tuple[str, str]:
    """Report the version of the OpenSlide library."""
    import openslide  # noqa: PLC0415

    return "ok", f"{openslide.__library_version__} (python binding {openslide.__version__})"


def check_vips() -> tuple[str, str]:
    """Report the version of libvips."""
    import pyvips  # noqa: PLC0415

    return "ok", ".".join(str(pyvips.version(part)) for part in range(3))


def check_model(settings: WorkerSettings) -> tuple[str, str]:
    """Load the default model, which checks the sha256 of its weights."""
    from workers.engine.model_cache import ModelCache  # noqa: PLC0415

    segmenter = ModelCache.of(settings).default()
    return "ok", f"{segmenter.card.name} on {segmenter.device}, {segmenter.dtype}"


def check_queue(settings: WorkerSettings) -> tuple[str, str]:
    """Report the Redis that jobs would be queued on, or the server that would be started."""
    if settings.redis_url is None:
        from workers.supervisor.valkey import server_program  # noqa: PLC0415  (not on Windows)

        return "ok", f"embedded: {server_program()}"
    shown = without_password(settings.redis_url)
    try:
        connect(settings.redis_url).ping()
    except RedisError as error:
        return "fail", f"{shown} does not answer: {error}"
    return "ok", shown


def check_disk(folder: Path) -> tuple[str, str]:
    """Report the free space where slides and results go; warn below ENOUGH_DISK bytes, fail as uploads do."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return "fail", f"{existing} is not writable; set DAREFINE_DATA_DIR to a folder that is"
    if room(existing) <= 0:
        return "fail", f"{existing} takes no uploads: {too_little(existing)}"
    return ("ok" if free > ENOUGH_DISK else "warn"), f"{free / 1e9:.0f} GB free under {folder}"
