"""A supervisor of stand-in workers, with a program that only waits in the API's place."""

import sys
from pathlib import Path

from workers.settings import WorkerSettings, configure_logging
from workers.supervisor.supervisor import Supervisor

API = """
import os, pathlib, time
pathlib.Path(os.environ['DAREFINE_DATA_DIR'], 'api').write_text(str(os.getpid()))
time.sleep(3600)
"""

if __name__ == "__main__":
    settings = WorkerSettings()
    configure_logging(settings.log_level)
    worker = (sys.executable, str(Path(__file__).parent))
    sys.exit(Supervisor(settings, (sys.executable, "-c", API), worker_command=worker).run())
