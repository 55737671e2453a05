"""How a process uses its machine."""

import os
import platform
import subprocess
import sys

import pytest

from model.inference.cpu_tuning import SPIN_COUNT, tune_openmp_wait

FAULTS = """
import resource, sys
import numpy as np
from model.inference.cpu_tuning import tune_malloc
if sys.argv[1] == "keep":
    tune_malloc()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def second_time(how: str) -> int:
    """Page faults of filling 100 MB that were filled and freed before, in a process of its own."""
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_memory_that_was_freed_is_not_mapped_anew() -> None:
    assert second_time("keep") < 10 < second_time("as it is")


def test_threads_sleep_soon_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    tune_openmp_wait()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", str(SPIN_COUNT))
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    tune_openmp_wait()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
