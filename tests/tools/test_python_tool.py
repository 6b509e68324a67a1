"""Python functions as tools: what the model is told of them, and what they are called with."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import date, time
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest

from agent.errors import ToolFailed, UserError
from agent.tools.arguments import fit
from agent.tools.effects import Effectful
from agent.tools.python_tool import (
    CallInfo,
    PythonEffect,
    PythonTool,
    is_marked,
    make_tool,
    read_function,
    tool,
)
from agent.tools.threads import Threads

INFO = CallInfo("call-1", "Desk", "+15551234567", variables={"name": "Ann"})


class Where(Enum):
    INSIDE = "inside"
    OUTSIDE = "outside"


@dataclass
class Guest:
    name: str
    age: int | None = None


class Extra(TypedDict):
    wine: bool


@tool(reads_only=True)
def book(
    party: Annotated[int, msgspec.Meta(ge=1, le=12)],
    day: date,
    call: CallInfo,
    guests: list[Guest],
    where: Where = Where.INSIDE,
    speed: Literal["slow", "fast"] = "slow",
    extra: Extra | None = None,
) -> Any:
    """Book a table.

    Args:
        party: how many they are.
        day: the day that the caller asks for.
    """
    return {
        "party": party,
        "day": day,
        "caller": call.caller,
        "guests": [guest.name for guest in guests],
        "where": where,
        "speed": speed,
        "extra": extra,
    }


async def run(function: Any, **args: Any) -> dict[str, Any]:
    made = make_tool(read_function(function), INFO, Threads())
    fitted = fit(made.declaration.parameters, args)
    assert not fitted.complaints
    return (await made.run(fitted.args)).response


def test_a_function_is_declared_by_its_hints_and_its_docstring() -> None:
    declared = read_function(book).declaration
    assert (declared.name, declared.description) == ("book", "Book a table.")
    assert declared.parameters == {
        "type": "object",
        "properties": {
            "party": {
                "type": "integer",
                "minimum": 1,
                "maximum": 12,
                "description": "how many they are.",
            },
            "day": {
                "type": "string",
                "description": "the day that the caller asks for; YYYY-MM-DD",
            },
            "guests": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "age": {"type": "integer", "nullable": True},
                    },
                    "required": ["name"],
                },
            },
            "where": {"type": "string", "enum": ["inside", "outside"]},
            "speed": {"type": "string", "enum": ["fast", "slow"]},
            "extra": {
                "type": "object",
                "properties": {"wine": {"type": "boolean"}},
                "required": ["wine"],
                "nullable": True,
            },
        },
        "required": ["party", "day", "guests"],
    }


async def test_a_function_gets_what_its_hints_say_and_its_answer_is_plain() -> None:
    assert await run(book, party=2.0, day="2026-03-01", guests=[{"name": "Ann"}]) == {
        "party": 2,
        "day": "2026-03-01",
        "caller": "+15551234567",
        "guests": ["Ann"],
        "where": "inside",
        "speed": "slow",
        "extra": None,
    }


@pytest.mark.parametrize("said", ["09:30", "09:30:00"])
async def test_a_time_of_day_may_come_without_its_seconds(said: str) -> None:
    @tool(reads_only=True)
    def remind(at: time, or_at: time | None = None, text: str = "") -> str:
        """Remind somebody.

        Args:
            at: when.
            or_at: or then.
            text: of what.
        """
        return f"{at!r} {or_at!r} {text}"

    made = make_tool(read_function(remind), INFO, Threads())
    answer = await made.run({"at": said, "or_at": said, "text": "09:30"})
    time_of_day = "datetime.time(9, 30)"
    assert answer.response["result"] == f"{time_of_day} {time_of_day} 09:30"
    with pytest.raises(ToolFailed, match="remind was not called right"):
        await made.run({"at": "half nine"})


async def test_what_hints_refuse_and_schemas_cannot_say_is_a_sentence_too() -> None:
    with pytest.raises(ToolFailed, match=r"book was not called right: Invalid RFC3339.*\$\.day"):
        await run(book, party=2, day="tomorrow", guests=[])


@pytest.mark.parametrize(
    ("value", "response"),
    [
        (None, {"result": "done"}),
        ({}, {"result": "done"}),
        ("at eight", {"result": "at eight"}),
        ([1, 2], {"result": [1, 2]}),
        ({"table": 4}, {"table": 4}),
        (Guest("Ann"), {"name": "Ann", "age": None}),
        ({1: date(2026, 3, 1)}, {"1": "2026-03-01"}),
    ],
)
async def test_what_a_function_returns_becomes_an_object(
    value: Any, response: dict[str, Any]
) -> None:
    @tool
    def answers() -> Any:
        """Answer."""
        return value

    assert await run(answers) == response


@pytest.mark.parametrize("value", [object(), {"when": {object()}}, {(1, 2): 3}])
async def test_what_is_not_json_is_one_clear_error(value: Any) -> None:
    @tool
    def answers() -> Any:
        """Answer."""
        return value

    with pytest.raises(ToolFailed, match="answers has run, but what it answered cannot be passed"):
        await run(answers)


async def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    @tool
    def plain() -> str:
        """Tell the thread."""
        return threading.current_thread().name

    @tool
    async def on_loop() -> str:
        """Tell the thread."""
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert await run(plain) == {"result": "tool plain"}
    assert await run(on_loop) == {"result": "MainThread"}


async def test_what_a_function_raises_comes_out_as_it_is() -> None:
    @tool
    def fails() -> None:
        """Fail."""
        raise ToolFailed("There is no table at eight.")

    with pytest.raises(ToolFailed, match=r"There is no table at eight\."):
        await run(fails)


async def test_a_tool_that_would_end_the_process_only_fails() -> None:
    @tool
    async def leaves() -> None:
        """Leave."""
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit was raised"):
        await run(leaves)


def test_a_function_without_arguments_declares_none() -> None:
    @tool(name="now", deadline=3.0)
    def what_time(call: CallInfo) -> str:
        """Tell the time."""
        return call.id

    declared = read_function(what_time).declaration
    assert (declared.name, declared.parameters, declared.deadline) == ("now", None, 3.0)


def test_what_only_reads_is_no_effect_and_everything_else_is() -> None:
    @tool
    def order() -> None:
        """Order."""

    reads, acts = (make_tool(read_function(each), INFO, Threads()) for each in (book, order))
    assert isinstance(reads, PythonTool)
    assert not isinstance(reads, Effectful)
    assert isinstance(acts, PythonEffect)
    assert isinstance(acts, Effectful)
    assert is_marked(order)
    assert not is_marked(run)


def no_doc(party: int) -> None: ...
def no_hint(party) -> None:  # type: ignore[no-untyped-def]
    """Do."""


def many(*party: int) -> None:
    """Do."""


def by_place(party: int, /) -> None:
    """Do."""


def anything(party: Any) -> None:
    """Do."""


def mapping(party: dict[str, int]) -> None:
    """Do."""


def misnamed() -> None:
    """Do."""


def raw(party: bytes) -> None:
    """Do."""


def lock(party: threading.Thread) -> None:
    """Do."""


def later(party: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_doc, "has no docstring: the model could not know when to call it"),
        (no_hint, "party has no type hint"),
        (many, r"\*party: .* is no argument that a model could name"),
        (by_place, "party has no name that could be called"),
        (anything, "party can be anything, which no model can be told"),
        (mapping, "party is an object whose keys nobody named"),
        (raw, "party has contentEncoding, which no model can be told"),
        (lock, "party has a type that JSON does not carry: .*Thread"),
        (later, "a type hint cannot be read: name 'Nowhere' is not defined"),
        (tool(name="book-it")(misnamed), "a tool's name has letters, digits and _, at most 64"),
    ],
)
def test_what_a_model_cannot_be_told_is_one_clear_error_with_its_place(
    function: Any, why: str
) -> None:
    with pytest.raises(UserError, match=why) as raised:
        read_function(function)
    assert f"{__file__}:" in str(raised.value)
