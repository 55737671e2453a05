"""Competitors, and how one of them is run: alone, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import click
import numpy as np
from numpy.typing import NDArray

from .task import LABELS, Outcome, Task

ROOT = Path(__file__).resolve().parents[2]

OURS, OURS_INT8, OURS_LIKE_PEERS, NAIVE, TIATOOLBOX = (
    "ours",
    "ours, int8",
    "ours, fp32, no halo",
    "naive loop",
    "tiatoolbox",
)

MODULES: Mapping[str, str] = MappingProxyType(
    {OURS: "ours", OURS_INT8: "ours", OURS_LIKE_PEERS: "ours", NAIVE: "naive", TIATOOLBOX: "tiatoolbox_run"}
)
"""Competitor -> module of this package."""

OPENMP_SPINS = "300000"
"""Spins that libgomp waits awake by default."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Outcome and labels of one run of a competitor."""

    outcome: Outcome
    labels: NDArray[np.uint8]
    """(H, W) of label px; 0 where nothing was analysed."""


def competitors(tiatoolbox_python: Path | None, *, int8: bool) -> tuple[str, ...]:
    """Return who is measured, in order: tiatoolbox only with its interpreter, int8 only where it is told."""
    left_out = {TIATOOLBOX} if tiatoolbox_python is None else set()
    return tuple(who for who in MODULES if who not in left_out and (int8 or who != OURS_INT8))


def environment_of(who: str) -> dict[str, str]:
    """Return the variables by which a competitor's OpenMP threads wait.

    Others wait as GNU's OpenMP does by default, which is best on an idle machine; ours leaves cores to
    readers.
    """
    return {} if MODULES[who] == "ours" else {"GOMP_SPINCOUNT": OPENMP_SPINS}


def run_competitor(who: str, task: Task, tiatoolbox_python: Path | None) -> Turn:
    """Run one competitor and wait for it.

    Raises:
        ClickException: when it fails; the message holds the end of what it wrote to stderr.
    """
    int8_dir = str(Path(task.card).parent) if who == OURS_INT8 else None
    task = replace(task, like_peers=who == OURS_LIKE_PEERS, int8_dir=int8_dir)
    python = str(tiatoolbox_python) if who == TIATOOLBOX else sys.executable
    module = f"{__package__}.{MODULES[who]}"
    # In the repository's root `-m` finds this package and those it imports, in any virtual environment.
    ended = subprocess.run(
        [python, "-m", module, str(task.save())],
        cwd=ROOT,
        env={**os.environ, **environment_of(who)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise click.ClickException(
            f"{who} failed ({ended.returncode}). The end of what it said:\n{ended.stderr[-2000:]}"
        )
    folder = Path(task.folder)
    return Turn(Outcome.load(folder), np.load(folder / LABELS))
