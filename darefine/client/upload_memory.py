"""Remember unfinished uploads in the user's cache folder, so that another process can go on with them."""

import contextlib
import hashlib
import json
import time
from pathlib import Path

import platformdirs

from wsi.atomic import write_atomically

FORGOTTEN_S = 7 * 24 * 3600.0
"""Age at which what is remembered is removed; services keep uploads for a day by default."""


class UploadMemory:
    """Where uploads lie on services, by service, file name and sha256: never for another content.

    A cache that cannot be read or written is no fault: uploads then begin anew.

    Args:
        folder: made when something is first remembered; `darefine/uploads` in the user's cache by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or platformdirs.user_cache_path("darefine") / "uploads"

    def recall(self, url: str, name: str, sha256: str) -> str | None:
        """Return the path of the unfinished upload on the service at `url`, or None."""
        try:
            path = json.loads(self._file(url, name, sha256).read_bytes())["path"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return path if isinstance(path, str) else None

    def keep(self, url: str, name: str, sha256: str, path: str) -> None:
        """Remember the path of an upload; forget old ones."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in self._folder.iterdir():
                if time.time() - file.stat().st_mtime > FORGOTTEN_S:
                    file.unlink(missing_ok=True)
            write_atomically(self._file(url, name, sha256), json.dumps({"path": path}).encode())

    def forget(self, url: str, name: str, sha256: str) -> None:
        """Forget an upload."""
        with contextlib.suppress(OSError):
            self._file(url, name, sha256).unlink(missing_ok=True)

    def _file(self, url: str, name: str, sha256: str) -> Path:
        digest = hashlib.sha256(f"{url}\0{name}\0{sha256}".encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"
