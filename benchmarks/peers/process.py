"""Inside a measured process: its task, its clock, its answer."""

import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .task import LABELS, Outcome, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """What a run gave, in how many seconds, and the process's peak of resident memory right after it, MB."""

    value: T
    seconds: float
    peak_mb: int


def task_of_this_process() -> Task:
    """The task whose file is the only argument; torch has its threads from here on."""
    task = Task.load(Path(sys.argv[1]))
    torch.set_num_threads(task.threads)
    return task


def timed(run: Callable[[], T]) -> Timed[T]:
    """Run under the clock."""
    start = time.perf_counter()
    value = run()
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Timed(value, round(seconds, 3), round(peak / 1e6))


def answer(task: Task, outcome: Outcome, labels: NDArray[np.uint8]) -> None:
    """Leave the outcome and the label map, (H, W) of label px, 0 = not analysed, where the starter looks for them."""
    np.save(Path(task.folder) / LABELS, labels)
    outcome.save(Path(task.folder))


def versions(*packages: str) -> dict[str, str]:
    """Of Python, torch and these packages."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: version(package) for package in packages},
    }
