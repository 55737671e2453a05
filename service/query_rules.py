"""Read query parameters strictly: a misspelt filter must not be silently absent."""

from typing import Annotated, TypeAlias

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BeforeValidator


async def require_known_parameters(request: Request) -> None:
    """Check that the route has every query parameter that was sent, and that each was sent once.

    Raises:
        RequestValidationError: when it has not, or one came twice.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    known = names_of(route.dependant)
    sent = [name for name, _ in request.query_params.multi_items()]
    said = f"there is no such parameter; known are: {', '.join(sorted(known)) or 'none'}"
    problems = [
        {"loc": ("query", name), "msg": "send it once" if name in known else said}
        for name in dict.fromkeys(sent)
        if name not in known or sent.count(name) > 1
    ]
    if problems:
        raise RequestValidationError(problems)


def names_of(dependant: Dependant) -> set[str]:
    """Return the names of the query parameters of a route and of all that it depends on."""
    names = {field.alias for field in dependant.query_params}
    return names.union(*map(names_of, dependant.dependencies))


def _as_text_of_a_time(value: object) -> object:
    """Return a time as it was sent, unless it is a bare number, which could be seconds or a year.

    Raises:
        ValueError: when it is.
    """
    if isinstance(value, str) and value.replace(".", "", 1).lstrip("+-").isdecimal():
        raise ValueError("send a time with its zone, such as 2026-03-02T09:14:05Z")
    return value


Moment: TypeAlias = Annotated[AwareDatetime, BeforeValidator(_as_text_of_a_time)]
"""A time with its zone, as RFC 3339 writes it."""
