"""Log the browser page in: image tags and event streams send no headers, so a cookie stands for the key."""

import secrets
import time
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from .keys import ApiKey, KeyStore, digest_of, write_private

COOKIE = "darefine_session"
SESSIONS_FOLDER = "sessions"


class _Session(TypedDict):
    key_id: str
    expires_at: float


_SESSION = TypeAdapter(_Session)


class SessionStore:
    """Sessions of one data folder, kept hashed, one file a session; they outlive a restart of the API.

    Args:
        data_dir: the data folder.
        keys: whose keys the sessions stand for.
        lifetime_s: seconds from login until a session ends.
    """

    def __init__(self, data_dir: Path, keys: KeyStore, *, lifetime_s: float) -> None:
        self._root = data_dir / SESSIONS_FOLDER
        self._keys = keys
        self.lifetime_s = lifetime_s

    def open(self, key: ApiKey) -> str:
        """Start a session for `key` and return its token, for the cookie; forget sessions that are over."""
        self._sweep()
        token = secrets.token_urlsafe(32)
        session = {"key_id": key.id, "expires_at": time.time() + self.lifetime_s}
        write_private(self._path(token), session)
        return token

    def find(self, token: str) -> ApiKey | None:
        """Return the key that a session's token stands for; None when either is over, revoked or unknown."""
        session = _read(self._path(token))
        if session is None or session["expires_at"] < time.time():
            return None
        return self._keys.get(session["key_id"])

    def close(self, token: str) -> None:
        """End a session."""
        self._path(token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._root / f"{digest_of(token)}.json"

    def _sweep(self) -> None:
        for path in self._root.glob("*.json"):
            session = _read(path)
            if session is None or session["expires_at"] < time.time():
                path.unlink(missing_ok=True)


def _read(path: Path) -> _Session | None:
    try:
        return _SESSION.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
