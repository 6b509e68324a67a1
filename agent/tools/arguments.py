"""What a model sent for a tool, held against the tool's schema: complaints are words that a model can act on. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.tools.schema import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST = 5
"""Complaints about one set of arguments; more would not help a model."""

LONGEST = 4096
"""Characters of a text that a `pattern` is tried on."""


class Fitted(NamedTuple):
    """Arguments as the tool takes them, and what is wrong with them, one clause each."""

    args: dict[str, Any]
    complaints: list[str]


def fit(schema: Mapping[str, Any] | None, args: Mapping[str, Any]) -> Fitted:
    """Hold what a model sent against a plain schema.

    An optional argument that is null is one that was left out, and 4.0 is a whole number: models write both.

    Args:
        schema: as `plain` makes it; None: the tool takes no arguments, and what was sent means nothing.
        args: what the model sent.
    """
    if schema is None:
        return Fitted({}, [])
    complaints: list[str] = []
    fitted = _object(schema, dict(args), "", complaints)
    return Fitted(fitted, complaints[:MOST])


def _fit(schema: Mapping[str, Any], value: Any, name: str, complaints: list[str]) -> Any:
    if value is None and schema.get("nullable"):
        return None
    if choices := schema.get("anyOf"):
        return _choose(choices, value, name, complaints)
    kind = KINDS[schema["type"]]
    if not kind.holds(value):
        complaints.append(f"{name} should be {kind.name}, not {shown(value)}")
        return value
    return kind.fit(schema, value, name, complaints)


def _choose(choices: list[Any], value: Any, name: str, complaints: list[str]) -> Any:
    for choice in choices:
        trial: list[str] = []
        fitted = _fit(choice, value, name, trial)
        if not trial:
            return fitted
    kinds = " or ".join(KINDS[each["type"]].name for each in choices if "type" in each)
    complaints.append(f"{name} should be {kinds or 'something else'}, not {shown(value)}")
    return value


def _object(
    schema: Mapping[str, Any], value: dict[str, Any], name: str, complaints: list[str]
) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    prefix = f"{name}." if name else ""
    fitted: dict[str, Any] = {}
    for key, each in value.items():
        if key not in properties:
            there = ", ".join(properties) or "none"
            complaints.append(f"there is no argument {prefix}{key:.40} (there are: {there})")
        elif each is not None or key in required or properties[key].get("nullable"):
            fitted[key] = _fit(properties[key], each, f"{prefix}{key}", complaints)
    complaints.extend(f"{prefix}{key} is missing" for key in required if key not in value)
    return fitted


def _array(
    schema: Mapping[str, Any], value: list[Any], name: str, complaints: list[str]
) -> list[Any]:
    _size(schema, len(value), "Items", f"{name} has", "items", complaints)
    return [_fit(schema["items"], each, f"{name}[{n}]", complaints) for n, each in enumerate(value)]


def _text(schema: Mapping[str, Any], value: str, name: str, complaints: list[str]) -> str:
    if (words := schema.get("enum")) and value not in words:
        complaints.append(f"{name} should be one of {', '.join(words)}, not {shown(value)}")
    _size(schema, len(value), "Length", f"{name} has", "characters", complaints)
    pattern = schema.get("pattern")
    if pattern and (len(value) > LONGEST or not re.search(pattern, value)):
        complaints.append(f"{name} should match {pattern}, which {shown(value)} does not")
    return value


def _number(schema: Mapping[str, Any], value: float, name: str, complaints: list[str]) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and value < low:
        complaints.append(f"{name} should be at least {low}, not {value}")
    if high is not None and value > high:
        complaints.append(f"{name} should be at most {high}, not {value}")
    return int(value) if schema["type"] == "integer" else value


def _size(
    schema: Mapping[str, Any], size: int, of: str, has: str, what: str, complaints: list[str]
) -> None:
    low, high = schema.get(f"min{of}"), schema.get(f"max{of}")
    if low is not None and size < low:
        complaints.append(f"{has} {size} {what}, and at least {low} are needed")
    if high is not None and size > high:
        complaints.append(f"{has} {size} {what}, and at most {high} are taken")


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_it_is(schema: Mapping[str, Any], value: Any, name: str, complaints: list[str]) -> Any:
    return value


class Kind(NamedTuple):
    """A type of JSON: what it is called, which values are of it, and how one is held against its schema."""

    name: str
    holds: Callable[[Any], bool]
    fit: Callable[[Mapping[str, Any], Any, str, list[str]], Any]


KINDS = {
    "object": Kind("an object", lambda value: isinstance(value, dict), _object),
    "array": Kind("a list", lambda value: isinstance(value, list), _array),
    "string": Kind("text", lambda value: isinstance(value, str), _text),
    "boolean": Kind("true or false", lambda value: isinstance(value, bool), _as_it_is),
    "integer": Kind("a whole number", _is_whole, _number),
    "number": Kind("a number", _is_number, _number),
}
