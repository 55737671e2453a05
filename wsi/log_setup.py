"""Log a process to standard error, as text or as a JSON object a line; every process sets it up by this."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

TEXT = "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s"

CHATTY = ("rq", "rq.worker", "httpx", "httpx2", "pyvips")
"""Loggers of libraries that are heard from warnings on: what matters of a job is in our own lines."""

SERVER = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""Loggers of the web server, which brings handlers of its own."""

_JOB = re.compile(r"\bjob '?([0-9a-f]{24})\b")

_job: ContextVar[str | None] = ContextVar("job", default=None)


@contextmanager
def logging_job(job_id: str) -> Iterator[None]:
    """Let the lines that this thread logs inside carry a job's id, when they are JSON."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    Members: `time` (ISO 8601, UTC), `level`, `logger`, `process`, `message`; `job` where the line is about
    one, because it was logged inside `logging_job` or its text names one; `exception` with a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        named = _JOB.search(message)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": message,
            "job": named[1] if named else _job.get(),
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in line.items() if value is not None})


def configure_logging(level: str | int, log_format: LogFormat = "text") -> None:
    """Log this process to standard error; call it once, at the edge of the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def only_errors_of(*names: str) -> Iterator[None]:
    """Silence loggers, and those below them, inside the context, except for errors."""
    loggers = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def take_over_server() -> None:
    """Send the web server's lines through this process's handler, once the server has set up its own."""
    for name in SERVER:
        logger = logging.getLogger(name)
        # Without handlers it was switched off, as by --no-access-log, or passes its lines on already.
        if logger.handlers:
            logger.handlers.clear()
            logger.propagate = True
