"""Create, find, list and revoke API keys, kept hashed, one file a key.

A key is 256 random bits, so its plain sha256 tells nothing about it; slow password hashes guard what people
choose. A call that was let in at one moment is refused at the next once its key's file is gone.
"""

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from wsi.atomic import atomic_file

from ..errors import KeyNameError, KeyUnknownError

KEYS_FOLDER = "keys"
"""Folder of the keys inside the data folder."""

NAME = re.compile(r"[\w.@-][\w .@-]{0,59}")
"""What a key may be called: it stands in the audit log."""

PREFIX = "darefine"
"""First part of every key, so that a search for leaked keys finds them."""

KEY = re.compile(rf"{PREFIX}_([0-9a-f]{{8}})_[\w-]{{43}}", re.ASCII)
ID = re.compile("[0-9a-f]{8}")


class Scope(StrEnum):
    """What a key may do; each scope holds those before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def covers(self, needed: "Scope") -> bool:
        """Tell whether this scope holds `needed`."""
        return list(Scope).index(self) >= list(Scope).index(needed)


@with_config(ConfigDict(extra="ignore"))
@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. Times are Unix seconds; a limit that is None is the service's own."""

    id: str
    name: str
    scope: Scope
    digest: str
    """Hexadecimal sha256 of the whole key."""
    created_at: float
    expires_at: float | None = None
    max_slide_bytes: int | None = None
    """Largest request body, in bytes."""
    calls_per_minute: int | None = None

    @property
    def is_valid(self) -> bool:
        """Whether the key has not expired."""
        return self.expires_at is None or time.time() < self.expires_at


_KEY = TypeAdapter(ApiKey)


class KeyStore:
    """API keys of one data folder. Safe to use from several processes: a key is one file.

    Args:
        data_dir: the data folder; keys lie in its folder `keys`, created when the first key is.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / KEYS_FOLDER

    def add(
        self,
        name: str,
        scope: Scope,
        *,
        days: float | None = None,
        max_slide_bytes: int | None = None,
        calls_per_minute: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key and return it with its text, which is not kept and cannot be shown again.

        Raises:
            KeyNameError: when the name has other characters than NAME, or is taken.
        """
        if not NAME.fullmatch(name):
            raise KeyNameError(
                f"{name!r} cannot name a key: use up to 60 letters, digits, spaces and any of . @ _ -"
            )
        if any(key.name == name for key in self.list()):
            raise KeyNameError(f"There is a key named {name!r} already; revoke it first, or choose another.")
        key_id, now = secrets.token_hex(4), time.time()
        text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            name=name,
            scope=scope,
            digest=digest_of(text),
            created_at=now,
            expires_at=None if days is None else now + days * 86_400,
            max_slide_bytes=max_slide_bytes,
            calls_per_minute=calls_per_minute,
        )
        write_private(self._root / f"{key_id}.json", asdict(key))
        return key, text

    def list(self) -> list[ApiKey]:
        """Return every key, expired ones too, oldest first."""
        keys = (self._load(path.stem) for path in self._root.glob("*.json"))
        return sorted((key for key in keys if key is not None), key=lambda key: key.created_at)

    def revoke(self, id_or_name: str) -> ApiKey:
        """Remove a key; calls and sessions with it are refused from now on.

        Raises:
            KeyUnknownError: when there is none of this id or name.
        """
        for key in self.list():
            if id_or_name in (key.id, key.name):
                (self._root / f"{key.id}.json").unlink(missing_ok=True)
                return key
        raise KeyUnknownError(f"No key has the id or name {id_or_name!r}; `darefine keys list` shows them.")

    def find(self, text: str) -> ApiKey | None:
        """Return the valid key whose text this is, or None."""
        match = KEY.fullmatch(text)
        key = self.get(match[1]) if match else None
        return key if key is not None and secrets.compare_digest(key.digest, digest_of(text)) else None

    def get(self, key_id: str) -> ApiKey | None:
        """Return the valid key of this id, or None."""
        key = self._load(key_id) if ID.fullmatch(key_id) else None
        return key if key is not None and key.is_valid else None

    def _load(self, key_id: str) -> ApiKey | None:
        try:
            return _KEY.validate_json((self._root / f"{key_id}.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None


def digest_of(text: str) -> str:
    """Return the hexadecimal sha256 of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_private(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all, readable for this user alone; create both folders above when absent."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
