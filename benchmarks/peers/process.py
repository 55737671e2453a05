"""Task, clock and answer of a measured process."""

import platform
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

from workers.bench.memory import MemoryWatch

from .task import LABELS, Outcome, Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """Value of a run, its seconds, and the most memory that was resident, MB; None where unknown."""

    value: T
    seconds: float
    peak_mb: int | None


def task_of_this_process() -> Task:
    """Load the task whose file is the only argument, and give torch its threads."""
    task = Task.load(Path(sys.argv[1]))
    torch.set_num_threads(task.threads)
    return task


def timed(run: Callable[[], T]) -> Timed[T]:
    """Call `run` and measure its seconds and memory."""
    memory = MemoryWatch("cpu")
    start = time.perf_counter()
    value = run()
    seconds = time.perf_counter() - start
    # Not getrusage: on Linux its peak begins as high as that of the process that started this one.
    return Timed(value, round(seconds, 3), memory.peak_mb())


def answer(task: Task, outcome: Outcome, labels: NDArray[np.uint8]) -> None:
    """Save the outcome and the label map, (H, W) of label px, 0 = not analysed, in the task's folder."""
    np.save(Path(task.folder) / LABELS, labels)
    outcome.save(Path(task.folder))


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, torch and these packages."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: version(package) for package in packages},
    }
