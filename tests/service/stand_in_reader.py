"""A reader of slides that does what the name of the slide says: abort, hang, or take its time."""

import os
import sys
import time
from pathlib import Path

import wsi.tiles.reader
from wsi.reading.slide import Slide, open_slide

OPENED = "DAREFINE_TEST_OPENED"
"""Environment variable: a file that gets a line for each slide opened."""


# Opened beforehand: a reader may write to no file.
log = os.open(os.environ[OPENED], os.O_WRONLY | os.O_APPEND) if OPENED in os.environ else -1


def open_stand_in(path: Path) -> Slide:
    os.write(log, f"{os.getpid()} {path.name}\n".encode())
    if path.name.startswith("abort"):
        os.abort()
    if path.name.startswith("hang"):
        time.sleep(3600)
    if path.name.startswith("slow"):
        time.sleep(0.5)
    return open_slide(path)


if __name__ == "__main__":
    wsi.tiles.reader.open_slide = open_stand_in
    sys.exit(wsi.tiles.reader.main(sys.argv[1:]))
