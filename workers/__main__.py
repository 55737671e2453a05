"""Start one worker process: `python -m workers`, as the supervisor runs it.

Settings come from the environment, when to end from the command line (`WorkLimits.to_arguments`).

Spawned children import their parent's main module again unless it is a `__main__.py`, so the engine process
does not load RQ and Redis.
"""

import sys

from model.inference.cpu_tuning import tune_openmp_wait
from wsi.log_setup import configure_logging

from .rq_worker.worker import run_worker
from .settings import WorkerSettings
from .work_limits import WorkLimits


def main() -> int:
    """Run a worker and return its exit code."""
    tune_openmp_wait()
    settings = WorkerSettings()
    configure_logging(settings.log_level, settings.log_format)
    return run_worker(settings, limits=WorkLimits.of_arguments(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
