"""What a pipeline tells and asks the worker besides its progress."""

from collections.abc import Callable
from dataclasses import dataclass

from ..identity import LabelIdentity


def _told(_: LabelIdentity) -> None:
    """Pass over what nobody listens to."""


def _alone() -> bool:
    """Return that nobody else can be at work."""
    return True


@dataclass(frozen=True, slots=True)
class Hooks:
    """Calls of a pipeline to its worker; by default nobody listens and nobody else is at work."""

    identified: Callable[[LabelIdentity], None] = _told
    """Gets what the labels depend on, before the first patch."""
    may_clean: Callable[[], bool] = _alone
    """Asks, once all files are written, whether what is left of the work may be removed."""
