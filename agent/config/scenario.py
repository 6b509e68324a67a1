"""A scenario of `pickup check`: what a scripted caller says, and what is expected of the agent, as one YAML file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator

from agent.config.agent_yaml import parse
from agent.config.shapes import (
    Address,
    Instruction,
    Json,
    OneOrMore,
    Part,
    Shape,
    TargetName,
    ToolName,
    Variable,
    as_json,
)
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.config.agent_checks import Found

LARGEST = 256 * 1024
"""Bytes of a scenario's file."""


def pattern(wanted: str) -> re.Pattern[str] | None:
    """The expression that stands between slashes (`/eight|8/`); None: plain words."""
    if len(wanted) > 2 and wanted.startswith("/") and wanted.endswith("/"):
        return re.compile(wanted[1:-1], re.IGNORECASE)
    return None


def _sound(wanted: str) -> str:
    try:
        pattern(wanted)
    except re.error as error:
        raise ValueError(str(error)) from None
    return wanted


Phrase = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(_sound),
    Shape("words, or a regular expression between slashes such as /eight|8/"),
]
Seconds = Annotated[
    float,
    Field(gt=0, le=600, allow_inf_nan=False),
    Shape("seconds, more than 0 and at most 600"),
]
Clip = Annotated[
    str,
    Field(min_length=1, max_length=300),
    Shape("a WAV file, relative to this file, or one that ships"),
]


class ExpectedTool(Part):
    """A tool that has to be called."""

    name: Annotated[ToolName, Shape("the tool's name")]
    with_: Annotated[
        dict[str, Annotated[Any, BeforeValidator(as_json)]],
        Field(alias="with"),
        Shape("arguments with their values; a text may be an expression between slashes"),
    ] = {}


def _as_tool(value: object) -> object:
    """A name alone stands for a call with any arguments."""
    return {"name": value} if isinstance(value, str) else value


class Expected(Part):
    """What is expected of one answer."""

    says: Annotated[
        tuple[Phrase, ...], OneOrMore, Shape("words that are said, or /expressions/; one or a list")
    ] = ()
    never_says: Annotated[
        tuple[Phrase, ...], OneOrMore, Shape("words that are not said; one or a list")
    ] = ()
    tool: Annotated[
        tuple[
            Annotated[
                ExpectedTool,
                BeforeValidator(_as_tool, json_schema_input_type=ExpectedTool | ToolName),
            ],
            ...,
        ],
        OneOrMore,
        Shape("a tool's name, or `name` and `with`; one or a list"),
    ] = ()
    no_tool: Annotated[
        tuple[ToolName, ...], OneOrMore, Shape("names of tools that are not called; one or a list")
    ] = ()
    first_word_under: Annotated[
        Seconds | None, Shape("seconds until the agent is heard, at most 600")
    ] = None


class ExpectedCall(Expected):
    """What is expected of the call as a whole."""

    ended: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z_]+$", max_length=60)], ...],
        OneOrMore,
        Shape("how the call ends, such as agent_hung_up; one or a list of which one is enough"),
    ] = ()
    transferred: Annotated[
        TargetName | None, Shape("the name of the target that the caller is put through to")
    ] = None


class StandInTool(Part):
    """A tool that the stand-in calls."""

    name: Annotated[ToolName, Shape("the tool's name")]
    args: Annotated[
        Json, Shape("arguments; `$tool.key.0` is that part of the tool's latest result")
    ] = {}


class StandInTurn(Part):
    """What the built-in stand-in answers where no model is there to be tested."""

    says: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000),
        Shape("the words of its answer"),
    ]
    clip: Annotated[Clip | None, Shape("a WAV file of 24 kHz that speaks them")] = None
    tools: Annotated[
        tuple[
            Annotated[
                StandInTool,
                BeforeValidator(_as_tool, json_schema_input_type=StandInTool | ToolName),
            ],
            ...,
        ],
        OneOrMore,
        Shape("what it calls after that: names, or `name` and `args`"),
    ] = ()
    then: Annotated[
        Instruction | None, Shape("words that it says once the last tool has answered")
    ] = None

    @field_validator("then", "says")
    @classmethod
    def _one_line(cls, text: str | None) -> str | None:
        return None if text is None else " ".join(text.split())


class ScenarioTurn(Part):
    """What the caller does, and what the agent shall make of it; who does nothing waits for the greeting."""

    say: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
        | None,
        Shape("the caller's words, at most 2000 characters"),
    ] = None
    clip: Annotated[Clip | None, Shape("a WAV file in which the caller says that")] = None
    press: Annotated[
        Annotated[str, Field(pattern=r"^[0-9*#A-Da-d]{1,40}$")] | None,
        Shape("keys that the caller presses, such as 12#"),
    ] = None
    interrupts: Annotated[
        Seconds | None, Shape("seconds into the answer before at which the caller cuts in")
    ] = None
    hangs_up: Annotated[bool, Shape("true or false")] = False
    expect: Annotated[Expected, Shape("what is expected of the answer, such as `says: eight`")] = (
        Expected()
    )
    stand_in: Annotated[
        StandInTurn | None, Shape("what the stand-in answers, such as `says: At eight.`")
    ] = None

    @property
    def acts(self) -> bool:
        """Whether the caller does anything."""
        return bool(self.say or self.clip or self.press or self.hangs_up)


class Scenario(Part):
    """A scripted call."""

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
        Shape("what it is about, at most 120 characters"),
    ]
    agent: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None,
        Shape("the name of the agent's file; --agent comes before it"),
    ] = None
    direction: Annotated[
        Literal["inbound", "outbound"], Shape("inbound, or outbound: who called whom")
    ] = "inbound"
    number: Annotated[
        Address | None, Shape("the other side's number or address, such as +15551234567")
    ] = None
    variables: Annotated[
        dict[Variable, Annotated[str, Field(max_length=500)]],
        Shape("values of the agent's variables, by name"),
    ] = {}
    transfers: Annotated[
        Literal["connected", "busy", "no_answer", "declined", "failed"],
        Shape("what becomes of a transfer: connected, busy, no_answer, declined or failed"),
    ] = "connected"
    seconds: Annotated[Seconds, Shape("the longest that the call may take, at most 600")] = 120.0
    pace: Annotated[
        float,
        Field(ge=5, le=1000, allow_inf_nan=False),
        Shape("letters that the stand-in speaks in a second, from 5 to 1000"),
    ] = 15.0
    expect: Annotated[
        ExpectedCall, Shape("what is expected of the whole call, such as `ended: agent_hung_up`")
    ] = ExpectedCall()
    turns: Annotated[
        tuple[ScenarioTurn, ...],
        Field(min_length=1, max_length=100),
        Shape("a list of at most 100 turns, such as `- say: When do you open?`"),
    ]

    @property
    def scripted(self) -> bool:
        """Whether the stand-in is told what to answer."""
        return all(turn.stand_in is not None or turn.hangs_up for turn in self.turns)


def parse_scenario(text: str, source: str) -> Scenario:
    """Read a scenario from its file's text; see `agent_yaml.parse`."""
    return parse(text, source, Scenario, _contradictions)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario's file.

    Raises:
        UserError: it cannot be read, or is wrong: `file:line: what, and how to mend it`.
    """
    try:
        text = path.read_bytes()[: LARGEST + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(text) > LARGEST:
        raise UserError(f"{path}: larger than {LARGEST // 1024} kB")
    return parse_scenario(text, str(path))


def _contradictions(scenario: Scenario) -> Iterator[Found]:
    for index, turn in enumerate(scenario.turns):
        path, shown = ("turns", index), f"turns[{index}]"
        if index > 0 and not turn.acts:
            yield path, f"{shown} should have say, clip, press or hangs_up: only the first may wait"
        if turn.interrupts and not (turn.say or turn.clip):
            yield path, f"{shown}.interrupts needs words under say, or a clip"
        if turn.press and (turn.say or turn.clip):
            yield path, f"{shown} has words and keys: make two turns of it"
        if turn.hangs_up and turn.stand_in is not None:
            yield path, f"{shown}.stand_in is never said: the caller hangs up"
