"""Exceptions as problems that a client can read."""

from model.errors import ModelError
from wsi.errors import WsiError

from .errors import WorkersError
from .jobs import Problem

INTERNAL = "internal"


def expected(error: Exception) -> bool:
    """Whether the error is one that a room raises on purpose, with a message meant for the client."""
    return isinstance(error, WsiError | ModelError | WorkersError)


def problem_of(error: Exception) -> Problem:
    """The problem an exception stands for; unexpected ones show their class, the log has their traceback."""
    if not expected(error):
        detail = f"{type(error).__name__}: {error}. This is a fault of the service; its log says more."
        return Problem(INTERNAL, "Something unexpected went wrong", detail)
    name = type(error).__name__.removesuffix("Error")
    kind = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
    title = (type(error).__doc__ or name).splitlines()[0].rstrip(".")
    return Problem(kind, title, str(error))
