"""`python -m workers`: one worker process, as the supervisor starts it; settings come from the environment.

Spawned children import their parent's main module again unless it is a `__main__.py`, so the model process does not
load RQ and Redis.
"""

import sys

from model.host import yield_idle_cores

from .logs import configure_logging
from .settings import WorkerSettings
from .worker import run_worker


def main() -> int:
    """Run a worker; its exit code."""
    yield_idle_cores()
    settings = WorkerSettings()
    configure_logging(settings.log_level)
    return run_worker(settings)


if __name__ == "__main__":
    sys.exit(main())
