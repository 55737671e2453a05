"""Turn exceptions into problems that a client can read."""

from model.errors import DeviceError, DeviceMemoryError, ModelError
from wsi.errors import WsiError

from ..errors import SandboxUnavailableError, WorkersError
from ..jobs import Problem, problem_type

INTERNAL = "internal"


def expected(error: Exception) -> bool:
    """Return whether a package raised the error on purpose, with a message meant for the client."""
    return isinstance(error, WsiError | ModelError | WorkersError)


def permanent(error: Exception) -> bool:
    """Return whether the error is one of settings that this machine can never satisfy."""
    if isinstance(error, SandboxUnavailableError):
        return True
    return isinstance(error, DeviceError) and not isinstance(error, DeviceMemoryError)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an exception stands for.

    An unexpected one shows its class; the log has its traceback.
    """
    if not expected(error):
        detail = f"{type(error).__name__}: {error}. This is a fault of the service; its log says more."
        return Problem(INTERNAL, "Something unexpected went wrong", detail)
    title = (type(error).__doc__ or type(error).__name__).splitlines()[0].rstrip(".")
    return Problem(problem_type(type(error)), title, str(error))
