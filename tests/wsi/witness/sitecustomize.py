"""Note how a process is confined at the moment when it opens a slide.

Python imports this first wherever the folder is on its path, as in test_confined_processes.py.
"""

import json
import os
import re
import sys

SLIDE, LOG = os.environ.get("DAREFINE_TEST_WATCHED"), os.environ.get("DAREFINE_TEST_LOG")

if SLIDE and LOG:
    # Opened beforehand: a confined process may write to no file.
    log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def witness(event: str, arguments: tuple[object, ...]) -> None:
        """Hook of sys.addaudithook: Python's own opening of the slide, which comes before any decoder's."""
        if event == "open" and isinstance(arguments[0], str | bytes) and os.fsdecode(arguments[0]) == SLIDE:
            text = ""
            for name in ("status", "limits"):
                with open(f"/proc/self/{name}") as file:  # noqa: PTH123 - pathlib is not imported yet
                    text += file.read()
            found = dict(
                re.findall(r"^(NoNewPrivs:|Seccomp:|Max address space) *\t?(\w+)", text, re.MULTILINE)
            )
            os.write(log, json.dumps({"command": sys.orig_argv, **found}).encode() + b"\n")

    sys.addaudithook(witness)
