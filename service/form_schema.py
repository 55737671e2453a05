"""Say in OpenAPI which fields a form has that is read by hand."""

from typing import Any

from pydantic import BaseModel


def form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schemas of a model's members as fields of a form: they are sent or not, never null."""
    return {name: _without_null(schema) for name, schema in model.model_json_schema()["properties"].items()}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in schema.items() if key != "default" or value is not None}
    choices = [choice for choice in shown.pop("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        return {**choices[0], **shown}
    return {**shown, "anyOf": choices} if choices else shown
