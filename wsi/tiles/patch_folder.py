"""Look at which patches of a job are stored, by the names in their folder."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ..writing.patch_file import patch_index

FRESH_S = 0.25
"""A look this fresh is not repeated by those who only read tiles."""


class PatchFolder:
    """The stored patches of one job, looked up in its folder at most every FRESH_S. Thread-safe.

    Names are enough: a patch gets its own by a rename, when it is whole and flushed. A patch once seen is not
    forgotten: the folder goes only when the pyramids are written, and then all of it.
    """

    def __init__(self, path: Path, patches: int) -> None:
        """Remember the folder, which need not exist yet, and how many `patches` the grid has."""
        self.path = path
        self._patches = patches
        self._looking = threading.Lock()
        self._looked_at = float("-inf")
        self._stored: dict[int, int] = {}

    def stored(self) -> Mapping[int, int]:
        """Return the stored patches, oldest first: index -> time of storing, in ns. Do not change it."""
        if time.monotonic() - self._looked_at < FRESH_S:
            return self._stored
        return self.look()

    def look(self) -> Mapping[int, int]:
        """Return what `stored` does, after a look at the folder."""
        with self._looking:
            found: dict[int, int] = {}
            try:
                with os.scandir(self.path) as entries:
                    for entry in entries:
                        index = patch_index(entry.name)
                        if index is not None and index < self._patches and index not in self._stored:
                            found[index] = entry.stat().st_mtime_ns
            except FileNotFoundError:
                pass  # no patch yet, or all are done and being removed
            if found:
                times = {**self._stored, **found}
                self._stored = dict(sorted(times.items(), key=lambda item: (item[1], item[0])))
            self._looked_at = time.monotonic()
            return self._stored
