"""A supervisor of stand-in workers, with a program that only waits in the API's place."""

import sys
from pathlib import Path

from workers.settings import WorkerSettings
from workers.supervisor.supervisor import Supervisor
from workers.work_limits import WorkLimits
from wsi.log_setup import configure_logging

API = """
import os, pathlib, time
pathlib.Path(os.environ['DAREFINE_DATA_DIR'], 'api').write_text(str(os.getpid()))
time.sleep(3600)
"""

if __name__ == "__main__":
    settings = WorkerSettings()
    configure_logging(settings.log_level, settings.log_format)
    worker = (sys.executable, str(Path(__file__).parent))
    limits = WorkLimits.of_arguments(sys.argv[1:])
    api = (sys.executable, "-c", API)
    sys.exit(Supervisor(settings, api, worker_command=worker, limits=limits).run())
