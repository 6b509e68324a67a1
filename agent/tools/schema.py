"""The schema of a tool's arguments, made plain for the model. Pure.

Models read a small part of JSON Schema (Google, "Function calling": a subset of OpenAPI 3.0's Schema Object), while type hints
and MCP servers write all of it. `plain` says the same in the small part: references are put in place, what only a validator
reads is dropped or said in the description.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = ("minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength", "pattern")
"""Bounds that models read as they stand."""

ANNOTATIONS = frozenset(
    ("$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "title", "examples")
    + ("example", "deprecated", "readOnly", "writeOnly", "propertyOrdering")
    + ("additionalProperties", "unevaluatedProperties", "uniqueItems", "multipleOf")
)
"""Keywords that mean nothing to a model, and may be lost."""

HANDLED = frozenset(
    ("$ref", "allOf", "anyOf", "const", "default", "description", "enum", "exclusiveMaximum")
    + ("exclusiveMinimum", "format", "items", "nullable", "oneOf", "properties", "required", "type")
)
"""Keywords that are said in another way, or as they stand."""

FORMATS = {
    "date": "YYYY-MM-DD",
    "time": "HH:MM:SS",
    "date-time": "ISO 8601, such as 2026-03-01T18:00:00+01:00",
    "duration": "an ISO 8601 duration",
}
"""How a format is said in words: the service takes hardly any (Live API: Schema.format)."""


def plain(schema: Mapping[str, Any], where: str, *, strict: bool) -> dict[str, Any]:
    """Say a JSON Schema of arguments in the part of it that models read.

    Args:
        schema: of type object.
        where: what it belongs to, for errors.
        strict: whether a keyword that cannot be said is an error; a schema of somebody else's just loses it.

    Raises:
        UserError: no model can be told this; the text names the place.
    """
    result = _Plain(schema, where, strict=strict).of(schema, (), ())
    if result.get("type") != "object":
        raise UserError(f"{where}: arguments are an object with properties")
    return result


class _Plain:
    def __init__(self, root: Mapping[str, Any], where: str, *, strict: bool) -> None:
        self._root = root
        self._where = where
        self._strict = strict

    def of(self, schema: Any, path: tuple[str, ...], refs: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(schema, dict):
            raise self._error(path, "is no schema")
        if (ref := schema.get("$ref")) is not None:
            if ref in refs:
                raise self._error(path, "contains itself, which no model can be told")
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self.of({**self._target(ref, path), **beside}, path, (*refs, ref))
        self._known(schema, path)
        parts = [each for each in schema.get("allOf", ()) if isinstance(each, dict)]
        for part in parts:
            schema = {**self.of(part, path, refs), **schema}
        made = self._typed(schema, path, refs)
        made |= {key: schema[key] for key in KEPT if key in schema}
        _bounds(schema, made)
        if notes := _notes(schema):
            made["description"] = notes
        return made

    def _typed(
        self, schema: Mapping[str, Any], path: tuple[str, ...], refs: tuple[str, ...]
    ) -> dict[str, Any]:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return self._any([{**schema, "type": kind} for kind in kinds], path, refs)
        choices = schema.get("anyOf") or schema.get("oneOf")
        made = self._any(choices, path, refs) if choices else self._single(schema, path, refs)
        if schema.get("nullable"):
            made["nullable"] = True
        return made

    def _any(
        self, choices: list[Any], path: tuple[str, ...], refs: tuple[str, ...]
    ) -> dict[str, Any]:
        """One of several; null is no choice of its own but a property of the others."""
        real = [each for each in choices if each != {"type": "null"} and _type(each) != "null"]
        made = [self.of(each, path, refs) for each in real]
        if not made:
            raise self._error(path, "can only be null")
        result = made[0] if len(made) == 1 else {"anyOf": made}
        return {**result, "nullable": True} if len(real) < len(choices) else result

    def _single(
        self, schema: Mapping[str, Any], path: tuple[str, ...], refs: tuple[str, ...]
    ) -> dict[str, Any]:
        words = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        kind = schema.get("type") or (_kind_of(words) if words else None)
        kind = kind or ("object" if "properties" in schema else None)
        made: dict[str, Any] = {"type": kind}
        match kind:
            case "object":
                self._object(schema, made, path, refs)
            case "array":
                if "items" not in schema:
                    raise self._error(path, "is a list of nobody knows what")
                made["items"] = self.of(schema["items"], (*path, "[]"), refs)
            case "string":
                if words:
                    made["enum"] = [str(word) for word in words]
            case "integer" | "number" | "boolean":
                pass
            case _:
                raise self._error(path, "can be anything, which no model can be told")
        return made

    def _object(
        self,
        schema: Mapping[str, Any],
        made: dict[str, Any],
        path: tuple[str, ...],
        refs: tuple[str, ...],
    ) -> None:
        properties = schema.get("properties") or {}
        if not properties and path:
            raise self._error(path, "is an object whose keys nobody named")
        made["properties"] = {
            name: self.of(each, (*path, name), refs) for name, each in properties.items()
        }
        if required := [name for name in schema.get("required", ()) if name in properties]:
            made["required"] = required

    def _target(self, ref: str, path: tuple[str, ...]) -> Mapping[str, Any]:
        """What a reference inside this document points at (RFC 6901)."""
        found: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        if not ref.startswith("#") or not isinstance(found, dict):
            raise self._error(path, f"refers to {ref}, which is not here")
        return found

    def _known(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> None:
        if not self._strict:
            return
        for keyword in schema.keys() - ANNOTATIONS - HANDLED - set(KEPT):
            raise self._error(path, f"has {keyword}, which no model can be told")
        if isinstance(schema.get("additionalProperties"), dict):
            raise self._error(path, "is an object whose keys nobody named")

    def _error(self, path: tuple[str, ...], what: str) -> UserError:
        return UserError(f"{self._where}: {'.'.join(path) or 'the schema'} {what}")


def _type(schema: Any) -> Any:
    return schema.get("type") if isinstance(schema, dict) else None


def _kind_of(words: list[Any]) -> str | None:
    kinds = {type(word) for word in words}
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(kinds.pop()) if len(kinds) == 1 else None


def _bounds(schema: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Bounds that exclude their own value, where the next value is known."""
    if made.get("type") == "integer":
        for keyword, bound, step in (
            ("exclusiveMinimum", "minimum", 1),
            ("exclusiveMaximum", "maximum", -1),
        ):
            if isinstance(schema.get(keyword), int):
                made.setdefault(bound, schema[keyword] + step)


def _notes(schema: Mapping[str, Any]) -> str:
    """The description, and what has no other place."""
    notes = [str(schema["description"]).strip()] if schema.get("description") else []
    if (form := schema.get("format")) in FORMATS:
        notes.append(FORMATS[form])
    words = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if words and not all(isinstance(word, str) for word in words):
        notes.append("one of " + ", ".join(map(shown, words)))
    if schema.get("default") is not None:
        notes.append(f"default {shown(schema['default'])}")
    return joined(notes)


def joined(notes: list[str]) -> str:
    """Several clauses as one."""
    return "; ".join([*(note.rstrip(".") for note in notes[:-1]), *notes[-1:]])


def shown(value: Any) -> str:
    """A value as it may stand in a sentence."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:37]}..."
