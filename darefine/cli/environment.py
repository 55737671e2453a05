"""Refuse `DAREFINE_*` environment variables that nothing reads, and explain values that cannot be."""

import difflib
from collections.abc import Mapping

import click
from pydantic import ValidationError

from service.settings import ServiceSettings
from workers.settings import PREFIX, WorkerSettings

CLIENT_VARIABLES = frozenset({f"{PREFIX}URL", f"{PREFIX}KEY"})
"""What the client commands read: the service's address and the key to send."""

TEST_PREFIX = f"{PREFIX}TEST_"
"""What the tests read."""


def known_variables() -> frozenset[str]:
    """Return the names of all environment variables of this software that begin with `DAREFINE_`."""
    settings = (*WorkerSettings.model_fields, *ServiceSettings.model_fields)
    return CLIENT_VARIABLES | {f"{PREFIX}{name.upper()}" for name in settings}


def require_known_variables(environment: Mapping[str, str]) -> None:
    """Check that every `DAREFINE_*` variable is one that is read: a slip of the pen would go unnoticed.

    Raises:
        ClickException: when one is not; the message names the nearest.
    """
    known = known_variables()
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise click.ClickException(
                f"There is no setting {name}; did you mean {nearest[0]}? Correct or unset it."
            )


def explain_settings(error: ValidationError) -> str:
    """Return one line that names each setting that cannot be, its value and what it may be."""
    return "; ".join(
        f"{PREFIX}{'_'.join(str(part) for part in item['loc'][:1]).removeprefix(PREFIX).upper()}="
        f"{item['input']}: {item['msg']}"
        for item in error.errors()
    )
