"""Document problem responses in OpenAPI, for every route alike."""

import inspect
from typing import Any

from fastapi import FastAPI
from redis.exceptions import RedisError

from .errors import PROBLEM_JSON, QUEUE_UNAVAILABLE, STATUS, problem_document, problem_kind
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


class DocumentedApp(FastAPI):
    """App that documents problems under their own media type.

    FastAPI documents every response that has a model under the media type of the route's successes.
    """

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the app."""
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    for media_type in content.keys() - {PROBLEM_JSON}:
                        if content[media_type].get("schema", {}).get("$ref") in PROBLEMS:
                            content.setdefault(PROBLEM_JSON, {}).update(content.pop(media_type))
        return document
