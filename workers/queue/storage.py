"""Tell data folders apart by a token in each, compared through Redis.

A worker that sees another folder than the API would write its results where nobody looks for them.
"""

import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path

from wsi.atomic import write_atomically

from .records import PREFIX

logger = logging.getLogger(__name__)

STORAGE = f"{PREFIX}storage"
"""Key of the token of the API's data folder."""

TOKEN = "storage-token"  # noqa: S105 - the name of a file; its content opens nothing
"""Name of the file in the data folder."""

TOKEN_DIGITS = 32


def storage_token(data_dir: Path) -> str:
    """Return the token of a data folder, written there if it has none; '' if the folder takes no file."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return _written(data_dir / TOKEN)
    except OSError as error:
        logger.warning("%s takes no token that workers could know it by: %s", data_dir, error)
        return ""


def _written(path: Path) -> str:
    """Return the token in a file, made by whoever comes first.

    Raises:
        OSError: it cannot be written.
    """
    with suppress(FileExistsError), path.open("x", encoding="ascii") as file:
        file.write(secrets.token_hex(TOKEN_DIGITS // 2))
    for _ in range(50):
        if token := read_token(path.parent):
            return token
        # Another process has made the file and not written it yet.
        time.sleep(0.02)
    # Its maker died in between.
    write_atomically(path, secrets.token_hex(TOKEN_DIGITS // 2).encode())
    return read_token(path.parent)


def read_token(data_dir: Path) -> str:
    """Return the token of a data folder, '' if there is none."""
    try:
        token = (data_dir / TOKEN).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return token if len(token) == TOKEN_DIGITS else ""
