"""Reads JSON values into the card's frozen dataclasses, strictly: every key known, every type as declared."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from .errors import CardError

T = TypeVar("T")


def read_card(kind: type[T], data: object, where: str = "card") -> T:
    """An instance of the dataclass `kind` from a JSON object; `where` names the place in error messages.

    Raises CardError for a missing key, an unknown key, or a value of another type than declared.
    """
    if not isinstance(data, Mapping):
        raise CardError(f"{where} must be an object, not {data!r}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # callers pass dataclasses only
    known = {field.name for field in fields}
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - data.keys()):
        raise CardError(f"{where} lacks {', '.join(missing)}; add it")
    if unknown := sorted(data.keys() - known):
        raise CardError(
            f"{where} has unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    hints = typing.get_type_hints(kind)
    return kind(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _read(hint: Any, value: object, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return read_card(typing.cast("type[Any]", hint), value, where)
    if origin is Literal:
        return _read_choice(typing.get_args(hint), value, where)
    if origin is tuple:
        return _read_tuple(typing.get_args(hint), value, where)
    expected = Mapping if origin is not None else hint
    # In Python a bool is an int and JSON has no separate integers: 5 is a fine float, true is not a fine int.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise CardError(f"{where} must be of type {expected.__name__.lower()}, not {value!r}")
    return value


def _read_choice(choices: tuple[Any, ...], value: object, where: str) -> object:
    if value not in choices or isinstance(value, bool):
        raise CardError(f"{where} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
    return value


def _read_tuple(hints: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise CardError(f"{where} must be a list, not {value!r}")
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise CardError(f"{where} must have {len(hints)} entries, not {len(value)}")
    return tuple(
        _read(hint, item, f"{where}[{k}]") for k, (hint, item) in enumerate(zip(hints, value, strict=True))
    )
