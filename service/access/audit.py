"""Write one line of JSON for every call that changes something, refused ones too."""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

AUDIT_FILE = "audit.log"
"""Name of the audit log inside the data folder. It may be moved away at any time; a new one is begun."""


class AuditLog:
    """The audit log of a data folder: who, what, from where, with what result.

    Names of slides and query strings are left out: they are often case numbers.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / AUDIT_FILE

    def write(self, **members: Any) -> None:
        """Append a line with the time and `members`; where the file cannot be written it goes to the log."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **members})
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # In one call: several processes may append at once.
                os.write(descriptor, f"{line}\n".encode())
            finally:
                os.close(descriptor)
        except OSError:
            logger.exception("the audit log cannot be written: %s", line)
