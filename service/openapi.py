"""Document problem responses in OpenAPI, for every route alike."""

import inspect
from typing import Any

from fastapi import FastAPI
from redis.exceptions import RedisError

from .access.bodies import METHODS_WITH_BODY
from .access.rules import HEALTH_PATHS
from .access.sessions import COOKIE
from .errors import (
    PROBLEM_JSON,
    QUEUE_UNAVAILABLE,
    STATUS,
    BodyTooLargeError,
    HostNotAllowedError,
    KeyNeededError,
    OriginNotAllowedError,
    RateLimitedError,
    ScopeMissingError,
    UploadIdleError,
    problem_document,
    problem_kind,
)
from .schemas import JobRefusedOut, ProblemOut

PROBLEMS = tuple(f"#/components/schemas/{model.__name__}" for model in (ProblemOut, JobRefusedOut))

Responses = dict[int | str, dict[str, Any]]
"""FastAPI's `responses`: by status."""


def problems(*errors: type[Exception], model: type[ProblemOut] = ProblemOut) -> Responses:
    """Return the OpenAPI responses of a route that may raise `errors`, with an example of each error.

    Statuses come from the table of errors, and texts from the errors' docstrings.
    """
    responses: Responses = {}
    for error in errors:
        status, kind, text = STATUS[error], problem_kind(error), summary(error)
        response = responses.setdefault(
            status, {"description": "", "model": model, "content": {PROBLEM_JSON: {"examples": {}}}}
        )
        response["description"] = f"{response['description']} {text}".lstrip()
        response["content"][PROBLEM_JSON]["examples"][kind] = {
            "summary": text,
            "value": problem_document(status, kind=kind, detail=text),
        }
    return responses


def summary(error: type[Exception]) -> str:
    """Return the first line of an error's docstring."""
    return QUEUE_UNAVAILABLE if error is RedisError else (inspect.getdoc(error) or "").partition("\n")[0]


SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key, made with `darefine keys add`."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A login of the page."},
}

GUARDED = problems(
    KeyNeededError, ScopeMissingError, OriginNotAllowedError, HostNotAllowedError, RateLimitedError
)
"""What every call may be answered before its route is reached (`service.access.middleware`)."""

BOUNDED = problems(BodyTooLargeError, UploadIdleError)
"""And what a call with a body (`service.access.bodies`)."""


def add_guards(operation: dict[str, Any], guards: Responses) -> None:
    """Document in an OpenAPI operation that it may be refused for want of a key, and so on."""
    for status, guard in guards.items():
        known = operation["responses"].setdefault(str(status), {"description": ""})
        known["description"] = f"{known['description']} {guard['description']}".lstrip()
        content = known.setdefault("content", {}).setdefault(PROBLEM_JSON, {"schema": {"$ref": PROBLEMS[0]}})
        content.setdefault("examples", {}).update(guard["content"][PROBLEM_JSON]["examples"])


def add_all_guards(document: dict[str, Any]) -> None:
    """Document in every operation how it may be refused before its route is reached."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path not in HEALTH_PATHS:
                add_guards(operation, GUARDED)
            if method.upper() in METHODS_WITH_BODY:
                add_guards(operation, BOUNDED)


class DocumentedApp(FastAPI):
    """App that documents problems under their own media type, and what guards every call.

    FastAPI documents every response that has a model under the media type of the route's successes.
    """

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the app."""
        if self.openapi_schema:
            return self.openapi_schema
        document = super().openapi()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        # No scheme at all is the third choice: calls from the same machine.
        document["security"] = [*({name: []} for name in SECURITY_SCHEMES), {}]
        for path in document["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    for media_type in content.keys() - {PROBLEM_JSON}:
                        if content[media_type].get("schema", {}).get("$ref") in PROBLEMS:
                            content.setdefault(PROBLEM_JSON, {}).update(content.pop(media_type))
        add_all_guards(document)
        return document
