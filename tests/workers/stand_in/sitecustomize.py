"""Make prefetching processes do as a job's plan says.

Python imports this first wherever the folder is on its path, as it is on theirs.
"""

import json
import os
import sys
import time

if "workers.engine.tissue" in sys.orig_argv:
    run = json.loads(sys.orig_argv[-2])
    match json.loads(run["slide_name"]).get("prepare"):
        case "die":
            os.abort()
        case "hang":
            time.sleep(3600)
