"""Encode frozen dataclasses as JSON text and read them back strictly."""

import json
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import RecordInvalidError

T = TypeVar("T")


class JsonCodec(Generic[T]):
    """JSON codec of one dataclass. Building one is slow, so build it once for a module."""

    def __init__(self, kind: type[T]) -> None:
        self._name = kind.__name__
        self._adapter = TypeAdapter(kind)

    def to_json(self, value: T, *, sort_keys: bool = False) -> str:
        """Return ASCII JSON text; with `sort_keys`, equal values give equal text."""
        # Not dump_json: the spaces count where a fingerprint of the text is stored (see `JobClient.submit`).
        return json.dumps(self._adapter.dump_python(value, mode="json"), sort_keys=sort_keys)

    def from_json(self, text: str | bytes) -> T:
        """Read a value from JSON text.

        Raises:
            RecordInvalidError: the text is no JSON, or a member is missing, unknown or of another type.
        """
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise RecordInvalidError.of(f"A record of {self._name}", error) from error

    def from_json_or_none(self, text: str | bytes | None) -> T | None:
        """Read a value that nothing depends on: None where there is no text, or none that can be read."""
        try:
            return None if text is None else self.from_json(text)
        except RecordInvalidError:
            return None
