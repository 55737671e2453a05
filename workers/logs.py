"""Logging of the processes that this room starts; everything goes to standard error."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s"


def configure_logging(level: str) -> None:
    """Set this process's logging up, once, at its edge."""
    logging.basicConfig(level=level, format=FORMAT)
    # RQ tells of every step of its own; what matters of a job is in our own records and log.
    logging.getLogger("rq").setLevel(logging.WARNING)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
