"""What OpenAPI says of every route alike."""

from typing import Any

from fastapi import FastAPI

from .errors import PROBLEM_JSON
from .schemas import JobRefusedOut, ProblemOut

JSON = "application/json"
PROBLEMS = tuple(f"#/components/schemas/{model.__name__}" for model in (ProblemOut, JobRefusedOut))


class DocumentedApp(FastAPI):
    """FastAPI documents every answer that has a model as `application/json`; problems have a media type of their own."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document of the app."""
        document = super().openapi()
        for path in document["paths"].values():
            for operation in path.values():
                for answer in operation["responses"].values():
                    content = answer.get("content", {})
                    if content.get(JSON, {}).get("schema", {}).get("$ref") in PROBLEMS:
                        content[PROBLEM_JSON] = content.pop(JSON)
        return document
