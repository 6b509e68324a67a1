"""Schemas made plain, and arguments held against them; a validator that nobody here wrote judges both."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, strategies as st

from agent.errors import UserError
from agent.protocols.gemini.setup import ToolDeclaration, wire_schema
from agent.tools.arguments import fit
from agent.tools.schema import plain

BOOK = {
    "type": "object",
    "properties": {
        "party": {"type": "integer", "minimum": 1, "maximum": 12},
        "name": {"type": "string", "minLength": 2, "maxLength": 20, "pattern": "^[A-Z]"},
        "where": {"type": "string", "enum": ["inside", "outside"]},
        "dishes": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "child": {"type": "boolean"},
        "tip": {"type": "number"},
        "contact": {
            "type": "object",
            "properties": {"mail": {"type": "string"}},
            "required": ["mail"],
        },
    },
    "required": ["party"],
}


def said(args: dict[str, Any], schema: dict[str, Any] = BOOK) -> list[str]:
    return fit(schema, args).complaints


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({}, "party is missing"),
        ({"party": "four"}, 'party should be a whole number, not "four"'),
        ({"party": True}, "party should be a whole number, not true"),
        ({"party": 4.5}, "party should be a whole number, not 4.5"),
        ({"party": 0}, "party should be at least 1, not 0"),
        ({"party": 13}, "party should be at most 12, not 13"),
        ({"party": 2, "name": "A"}, "name has 1 characters, and at least 2 are needed"),
        ({"party": 2, "name": "A" * 21}, "name has 21 characters, and at most 20 are taken"),
        ({"party": 2, "name": "ann"}, 'name should match ^[A-Z], which "ann" does not'),
        (
            {"party": 2, "where": "roof"},
            'where should be one of inside, outside, not "roof"',
        ),
        ({"party": 2, "dishes": []}, "dishes has 0 items, and at least 1 are needed"),
        ({"party": 2, "dishes": ["a", 7]}, "dishes[1] should be text, not 7"),
        ({"party": 2, "dishes": "a"}, 'dishes should be a list, not "a"'),
        ({"party": 2, "child": "yes"}, 'child should be true or false, not "yes"'),
        ({"party": 2, "tip": "much"}, 'tip should be a number, not "much"'),
        ({"party": 2, "contact": {}}, "contact.mail is missing"),
        ({"party": 2, "contact": "me"}, 'contact should be an object, not "me"'),
        (
            {"party": 2, "contact": {"mail": "a", "fax": "b"}},
            "there is no argument contact.fax (there are: mail)",
        ),
    ],
)
def test_a_complaint_names_the_argument_and_what_it_should_be(
    args: dict[str, Any], complaint: str
) -> None:
    assert said(args) == [complaint]


def test_a_long_value_is_not_read_back_in_full_and_complaints_are_few() -> None:
    (complaint,) = said({"party": "x" * 1000})
    assert len(complaint) < 100
    assert len(said(dict.fromkeys("abcdefgh", 1))) == 5


def test_whole_numbers_with_a_fraction_of_zero_and_null_for_left_out_are_what_models_write() -> (
    None
):
    fitted = fit(BOOK, {"party": 4.0, "name": None})
    assert not fitted.complaints
    assert fitted.args == {"party": 4}
    assert isinstance(fitted.args["party"], int)


def test_a_tool_without_arguments_takes_none() -> None:
    assert fit(None, {"reason": "goodbye"}) == ({}, [])


def test_one_of_several_kinds() -> None:
    schema = plain(
        {"type": "object", "properties": {"when": {"type": ["integer", "string", "null"]}}},
        "t",
        strict=True,
    )
    assert schema["properties"]["when"] == {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "nullable": True,
    }
    for value in (7, "noon", None):
        assert fit(schema, {"when": value}) == ({"when": value}, [])
    assert said({"when": []}, schema) == ["when should be a whole number or text, not []"]


# ---- made plain ----------------------------------------------------------------------------------------------------


def one(schema: Any, *, strict: bool = True, **root: Any) -> dict[str, Any]:
    """The plain form of one argument's schema."""
    whole = {"type": "object", "properties": {"it": schema}, **root}
    made: dict[str, Any] = plain(whole, "t", strict=strict)["properties"]["it"]
    return made


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string", "title": "It", "examples": ["a"]}, {"type": "string"}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"enum": [1, 2]}, {"type": "integer", "description": "one of 1, 2"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"oneOf": [{"type": "null"}, {"type": "number"}]}, {"type": "number", "nullable": True}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
        ({"type": "integer", "exclusiveMaximum": 9}, {"type": "integer", "maximum": 8}),
        (
            {"type": "string", "format": "date", "description": "The day."},
            {"type": "string", "description": "The day; YYYY-MM-DD"},
        ),
        ({"type": "integer", "default": 2}, {"type": "integer", "description": "default 2"}),
        ({"allOf": [{"type": "string", "maxLength": 3}]}, {"type": "string", "maxLength": 3}),
        ({"$ref": "#/$defs/Day"}, {"type": "string", "enum": ["mon", "tue"]}),
        (
            {"$ref": "#/$defs/Day", "description": "When."},
            {"type": "string", "enum": ["mon", "tue"], "description": "When."},
        ),
    ],
)
def test_a_schema_is_said_in_the_part_that_models_read(
    schema: dict[str, Any], made: dict[str, Any]
) -> None:
    defs: Any = {"$defs": {"Day": {"enum": ["mon", "tue"]}}}
    assert one(schema, **defs) == made


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({}, "t: it can be anything, which no model can be told"),
        ({"type": "array"}, "t: it is a list of nobody knows what"),
        ({"type": "object"}, "t: it is an object whose keys nobody named"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            "t: it is an object whose keys nobody named",
        ),
        ({"type": "null"}, "t: it can be anything, which no model can be told"),
        ({"anyOf": [{"type": "null"}]}, "t: it can only be null"),
        ({"type": "string", "if": {}}, "t: it has if, which no model can be told"),
        ({"$ref": "#/$defs/Nothing"}, "t: it refers to #/$defs/Nothing, which is not here"),
        ({"$ref": "http://x/y"}, "t: it refers to http://x/y, which is not here"),
        ({"$ref": "#/properties/it"}, "t: it contains itself, which no model can be told"),
        (7, "t: it is no schema"),
    ],
)
def test_what_no_model_can_be_told_is_one_clear_error(schema: Any, why: str) -> None:
    with pytest.raises(UserError) as raised:
        one(schema)
    assert str(raised.value) == why


def test_arguments_are_an_object() -> None:
    with pytest.raises(UserError, match="t: arguments are an object with properties"):
        plain({"type": "string"}, "t", strict=True)


def test_a_schema_of_somebody_else_loses_what_cannot_be_said() -> None:
    assert one({"type": "string", "if": {}, "contentEncoding": "x"}, strict=False) == {
        "type": "string"
    }


# ---- judged --------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([0.5, 2.0, -1.0])
    | st.text("abc", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)
    ),
    max_leaves=6,
)

LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={"minimum": st.integers(-3, 3), "exclusiveMaximum": st.integers(-3, 5)},
    ),
    st.fixed_dictionaries({"type": st.just("number")}, optional={"maximum": st.integers(-3, 3)}),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(1, 4),
            "pattern": st.sampled_from(["a", "^b", "c$"]),
        },
    ),
    st.lists(st.text("abc", max_size=2), min_size=1, unique=True).map(lambda each: {"enum": each}),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def made(properties: dict[str, Any], required: set[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(required & properties.keys()),
            "additionalProperties": False,
        }

    names = st.sampled_from("pqr")
    return st.builds(made, st.dictionaries(names, inner, min_size=1), st.sets(names))


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 2), "maxItems": st.integers(1, 3)},
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each}),
    ),
    max_leaves=5,
)


@given(objects(SCHEMAS), VALUES)
def test_an_independent_validator_agrees(schema: dict[str, Any], value: Any) -> None:
    args = value if isinstance(value, dict) else {"p": value}
    fitted = fit(plain(schema, "t", strict=True), args)
    judged = fitted.args if not fitted.complaints else args  # null for left out is left out
    assert jsonschema.Draft202012Validator(schema).is_valid(judged) is not bool(fitted.complaints)


@given(objects(SCHEMAS))
def test_every_plain_schema_can_be_declared_to_the_model(schema: dict[str, Any]) -> None:
    assert wire_schema(ToolDeclaration("t", "Does.", plain(schema, "t", strict=True)))
