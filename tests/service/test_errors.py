"""The table from error to status is complete, and every answer is a problem document."""

import inspect
from types import ModuleType

import pytest

import service.errors
import workers.errors
import wsi.errors

from .conftest import Api, assert_problem

NEVER_IN_A_REQUEST = {
    wsi.errors: {"WsiError", "LabelStoreError", "LabelTiffError", "PlanFormatError", "PyramidError"},
    service.errors: {"ServiceError", "KeyNameError", "KeyUnknownError"},
}
"""Bases, and errors that end in a job record or at the command line.

Of the workers' errors only the queue's reach a request."""

QUEUE_ERRORS = {
    "JobNotFoundError",
    "JobFinalError",
    "IdempotencyConflictError",
    "BatchNotFoundError",
    "BatchFinalError",
    "WebhookNotFoundError",
}


def errors_of(module: ModuleType) -> list[type[Exception]]:
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("module", NEVER_IN_A_REQUEST)
def test_every_error_that_can_reach_a_request_has_a_status(module: ModuleType) -> None:
    expected = {error.__name__ for error in errors_of(module)} - NEVER_IN_A_REQUEST[module]
    assert expected == {error.__name__ for error in service.errors.STATUS} & {
        error.__name__ for error in errors_of(module)
    }


def test_queue_errors_have_a_status() -> None:
    assert {
        e.__name__ for e in service.errors.STATUS if e.__module__ == workers.errors.__name__
    } == QUEUE_ERRORS


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "/healthz", 405, "method-not-allowed"),
        ("GET", "/v1/jobs?limit=0", 422, "request-invalid"),
        ("GET", "/v1/jobs/none", 404, "job-not-found"),
    ],
)
def test_problem_documents_everywhere(api: Api, method: str, path: str, status: int, kind: str) -> None:
    assert_problem(api.http.request(method, path), status, kind)


def test_malformed_json_body(api: Api) -> None:
    response = api.http.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"})
    assert_problem(response, 422, "request-invalid")
