"""Inside a measured process: its task, its clock, its answer."""

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
    """What a run gave, in how many seconds, and the most memory that was resident meanwhile, MB; None where unknown."""

    value: T
    seconds: float
    peak_mb: int | None


def task_of_this_process() -> Task:
    """The task whose file is the only argument; torch has its threads from here on."""
    task = Task.load(Path(sys.argv[1]))
    torch.set_num_threads(task.threads)
    return task


def timed(run: Callable[[], T]) -> Timed[T]:
    """Run under the clock."""
    memory = MemoryWatch("cpu")
    start = time.perf_counter()
    value = run()
    seconds = time.perf_counter() - start
    # Not getrusage: on Linux its peak begins as high as that of the process that started this one.
    return Timed(value, round(seconds, 3), memory.peak_mb())


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
