"""`python tests/workers/stand_in`: a real worker around the stand-in engine process.

A folder with a `__main__.py`, so that the engine process does not import the worker again (see
`workers.__main__`).
"""

import sys

from stand_in_engine import main

from workers.rq_worker.engine_process import EngineProcess
from workers.rq_worker.worker import run_worker
from workers.settings import WorkerSettings
from workers.work_limits import WorkLimits
from wsi.log_setup import configure_logging

if __name__ == "__main__":
    settings = WorkerSettings()
    configure_logging(settings.log_level, settings.log_format)
    limits = WorkLimits.of_arguments(sys.argv[1:])
    sys.exit(run_worker(settings, EngineProcess(main, settings), limits=limits))
