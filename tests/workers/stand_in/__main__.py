"""`python tests/workers/stand_in`: a real worker around the stand-in model process.

A folder with a `__main__.py`, so that the model process does not import the worker again (see `workers.__main__`).
"""

import sys

from stand_in_model import main

from workers.logs import configure_logging
from workers.model_process import ModelProcess
from workers.settings import WorkerSettings
from workers.worker import run_worker

if __name__ == "__main__":
    settings = WorkerSettings()
    configure_logging(settings.log_level)
    sys.exit(run_worker(settings, ModelProcess(main, settings)))
