"""The OpenAPI document."""

from typing import Any

import pytest
from pydantic import BaseModel

import service.schemas

from .conftest import Api

BINARY = {"image/tiff", "image/jpeg", "image/png", "application/octet-stream"}
EXAMPLES = [
    model
    for model in vars(service.schemas).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and "json_schema_extra" in model.model_config
]


def test_openapi_names_both_ways_to_post_a_job(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert content["application/json"]["schema"]["example"]["slide_id"]


def test_openapi_says_that_errors_are_problem_documents(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    answers = [
        (path, status, answer["content"])
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status[0] not in "23" and (path, status) != ("/readyz", "503")
    ]
    assert {path for path, _, _ in answers} == set(document["paths"])
    for _, _, content in answers:
        assert set(content) == {"application/problem+json"}
        name = content["application/problem+json"]["schema"]["$ref"].rsplit("/", 1)[1]
        example = document["components"]["schemas"][name]["example"]
        assert {"type", "title", "status", "detail"} <= set(example)


def test_openapi_shows_an_example_of_every_problem_and_answer(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    shown = has_example(content, document) or media_type in BINARY
                    assert shown, (path, status, media_type)


def has_example(content: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a media type, its schema or, for a list, the schema of its items has an example."""
    if "example" in content or content.get("examples"):
        return True
    if "schema" not in content:
        return False
    schema = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]
    items = [member["items"] for member in schema["properties"].values() if "$ref" in member.get("items", {})]
    return "example" in schema or any(has_example({"schema": item}, document) for item in items)


def test_many_schemas_have_an_example() -> None:
    assert {"ProblemOut", "JobCreate", "JobOut", "SlideOut"} <= {model.__name__ for model in EXAMPLES}


@pytest.mark.parametrize("model", EXAMPLES)
def test_examples_are_what_the_schema_says(model: type[BaseModel]) -> None:
    example = model.model_json_schema()["example"]
    assert model.model_validate(example).model_dump(mode="json", exclude_unset=True) == example


def test_problem_examples_carry_the_status_they_stand_under(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    cancel = document["paths"]["/v1/jobs/{job_id}/cancel"]["post"]["responses"]
    for status, kind in (("404", "job-not-found"), ("409", "job-final"), ("503", "queue-unavailable")):
        value = cancel[status]["content"]["application/problem+json"]["examples"][kind]["value"]
        assert (value["status"], value["type"]) == (int(status), f"urn:darefine:problem:{kind}")
