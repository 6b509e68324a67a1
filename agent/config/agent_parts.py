"""The nested keys of an agent's file, but its hours and tools: each a frozen mapping of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from agent.config.hours import Span, TimeRange
from agent.config.shapes import (
    Address,
    Instruction,
    Line,
    Number,
    OneOrMore,
    Part,
    Shape,
    Sip,
    TargetName,
)

A_LINE = Shape("a line to be spoken, at most 500 characters")


class Greeting(Part):
    """The first words after the disclosure: said verbatim, or in the model's own words."""

    say: Annotated[Line | None, A_LINE] = None
    free: Annotated[
        Instruction | None, Shape("an instruction how to greet, at most 2000 characters")
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Greeting:
        if (self.say is None) == (self.free is None):
            raise PydanticCustomError(
                "told", "should be a line to be spoken, or a mapping with the one key free"
            )
        return self


def _said(value: object) -> object:
    return {"say": value} if isinstance(value, str) else value


GreetingOrLine = Annotated[Greeting, BeforeValidator(_said, json_schema_input_type=str | Greeting)]


class ModelOptions(Part):
    """What a session with the model is opened with; unset, the model's own default holds."""

    temperature: Annotated[
        float | None, Field(gt=0, le=2, allow_inf_nan=False), Shape("above 0 and at most 2")
    ] = None
    thinking_level: Annotated[
        Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"] | None, Shape("MINIMAL, LOW, MEDIUM or HIGH")
    ] = None
    thinking_budget: Annotated[
        int | None, Field(ge=0, le=32_768), Shape("a whole number of tokens, at most 32768")
    ] = None
    proactive_audio: Annotated[
        bool | None, Shape("true to let it stay silent on speech that is not meant for it")
    ] = None
    affective_dialog: Annotated[
        bool | None, Shape("true to let it answer in the caller's mood")
    ] = None
    silence_ms: Annotated[
        int | None,
        Field(ge=100, le=5_000),
        Shape("milliseconds of silence that end the caller's turn, 100 to 5000"),
    ] = None
    prefix_ms: Annotated[
        int | None,
        Field(ge=0, le=2_000),
        Shape("milliseconds of speech before it counts as begun, at most 2000"),
    ] = None
    start_sensitivity: Annotated[Literal["HIGH", "LOW"] | None, Shape("HIGH or LOW")] = None
    end_sensitivity: Annotated[Literal["HIGH", "LOW"] | None, Shape("HIGH or LOW")] = None
    tool_behaviour: Annotated[
        Literal["BLOCKING", "NON_BLOCKING"] | None, Shape("BLOCKING or NON_BLOCKING")
    ] = None
    tool_scheduling: Annotated[
        Literal["SILENT", "WHEN_IDLE", "INTERRUPT"] | None,
        Shape("SILENT, WHEN_IDLE or INTERRUPT"),
    ] = None


class Recording(Part):
    """Whether a call's sound is kept, and for how long."""

    on: Annotated[bool, Shape("true or false")] = True
    retention_days: Annotated[
        int | None, Field(ge=1, le=36_500), Shape("a whole number of days; unset, for ever")
    ] = None


def _switched(value: object) -> object:
    return value if isinstance(value, dict | Recording) else {"on": value}


RecordingOrSwitch = Annotated[
    Recording, BeforeValidator(_switched, json_schema_input_type=bool | Recording)
]


class Target(Part):
    """A person or desk that callers can be put through to."""

    number: Number | None = None
    sip: Sip | None = None
    description: Annotated[
        str | None, Field(max_length=300), Shape("what it is there for, for the model")
    ] = None
    mode: Annotated[
        Literal["cold", "warm"],
        Shape("cold (the caller is put through) or warm (the person hears a summary first)"),
    ] = "cold"
    timeout: Annotated[
        int, Field(ge=5, le=120), Shape("seconds that it may ring, from 5 to 120")
    ] = 25
    whisper: Annotated[Line | None, Shape("a line that the person hears before the caller")] = None

    @property
    def address(self) -> str:
        """The number or SIP address."""
        return self.number or self.sip or ""

    @model_validator(mode="after")
    def _one(self) -> Target:
        if (self.number is None) == (self.sip is None):
            raise PydanticCustomError("told", "should have a number or a sip address, and not both")
        return self


def _addressed(value: object) -> object:
    if isinstance(value, str):
        return {"sip" if value.lower().startswith("sip") else "number": value}
    return value


TargetOrAddress = Annotated[
    Target,
    BeforeValidator(_addressed, json_schema_input_type=Address | Target),
    Shape("a number, a sip address, or a mapping with `number` or `sip` and more"),
]


class Closed(Part):
    """What callers get outside the opening hours."""

    say: Annotated[Line | None, A_LINE] = None
    transfer: Annotated[TargetName | None, Shape("the name of a target under `transfer`")] = None

    @model_validator(mode="after")
    def _one(self) -> Closed:
        if (self.say is None) == (self.transfer is None):
            raise PydanticCustomError("told", "should be a line to be spoken, or name a `transfer`")
        return self


ClosedOrLine = Annotated[Closed, BeforeValidator(_said, json_schema_input_type=str | Closed)]


class Limits(Part):
    """What one call may take; unset, the deployment's own limits hold."""

    seconds: Annotated[
        int | None,
        Field(ge=10, le=86_400),
        Shape("the longest call in seconds, from 10 to 86400"),
    ] = None
    silence: Annotated[
        float | None,
        Field(ge=2, le=600, allow_inf_nan=False),
        Shape("seconds after which a silent caller is asked, from 2 to 600"),
    ] = None
    cost: Annotated[
        float | None,
        Field(gt=0, le=1_000, allow_inf_nan=False),
        Shape("US dollars that a call may cost, such as 0.50"),
    ] = None
    tool_seconds: Annotated[
        float,
        Field(gt=0, le=120, allow_inf_nan=False),
        Shape("seconds that a tool may take, at most 120"),
    ] = 20.0


Seconds = Annotated[
    float | None,
    Field(ge=0.1, le=120, allow_inf_nan=False),
    Shape("seconds, from 0.1 to 120"),
]


class Silences(Part):
    """How long each silence may be before something is done about it; unset, Pickup's own times hold.

    A silent caller and a slow tool have their times in `limits: silence` and in `filler_after`.
    """

    nudge: Seconds = None  # after the caller's words: the model is asked to answer
    resend: Seconds = None  # after that: it hears them again
    hop: Seconds = None  # after that: another session takes over
    repeat: Seconds = (
        None  # after our word that it takes a moment: the caller is asked to say it again
    )
    give_up: Seconds = None  # after that: the call ends
    empty_turn: Seconds = None  # after a turn without a sound
    broke_off: Seconds = None  # after a reply that broke off for nothing
    no_sign: Seconds = None  # after words that the model gives no sign of: it takes a moment
    unsigned_hop: Seconds = None  # after that: another session takes over
    no_session: Seconds = None  # after a session was lost: it takes a moment
    stall: Seconds = None  # inside a reply: it takes a moment
    stalled_hop: Seconds = None  # after that: another session takes over
    caller_again: Seconds = None  # after a silent caller was asked: once more, and then goodbye
    held: Seconds = None  # while the agent holds the call: it takes a moment, again and again


class OwnWords(Part):
    """Sentences that Pickup says itself, in the agent's own words; those that are unset are Pickup's."""

    busy: Annotated[Line | None, A_LINE] = None
    trouble: Annotated[Line | None, A_LINE] = None
    put_through: Annotated[
        Line | None, Shape("a line said instead of `trouble` where there is a `fallback_number`")
    ] = None
    time_limit: Annotated[Line | None, A_LINE] = None
    budget: Annotated[Line | None, A_LINE] = None
    moment: Annotated[Line | None, A_LINE] = None
    repeat: Annotated[Line | None, A_LINE] = None
    still_there: Annotated[Line | None, A_LINE] = None
    unheard: Annotated[Line | None, A_LINE] = None
    filler: Annotated[Line | None, Shape("a line to be spoken while a tool takes its time")] = None


def _on_the_day(span: Span) -> Span:
    if span.closes <= span.opens:
        raise ValueError("over midnight")
    return span


class Outbound(Part):
    """How the agent calls people."""

    caller_id: Annotated[Number | None, Shape("the number that it calls from (E.164)")] = None
    by: Annotated[
        Literal["twilio", "sip"] | None,
        Shape("who carries its calls to numbers: twilio, or sip for the SIP trunk"),
    ] = None
    voicemail: Annotated[
        Instruction | None, Shape("what to leave on an answering machine, for the model")
    ] = None
    ring_seconds: Annotated[
        int, Field(ge=5, le=120), Shape("seconds that it lets ring, from 5 to 120")
    ] = 30
    attempts: Annotated[int, Field(ge=1, le=10), Shape("how often to try, from 1 to 10")] = 3
    retry_minutes: Annotated[
        int, Field(ge=1, le=10_080), Shape("minutes until it tries again, from 1 to 10080")
    ] = 60
    retry_on: Annotated[
        tuple[Literal["busy", "no_answer", "failed", "voicemail"], ...],
        OneOrMore,
        Shape("some of busy, no_answer, failed and voicemail"),
    ] = ("busy", "no_answer", "failed")
    opt_out_key: Annotated[
        Annotated[str, Field(pattern=r"^[0-9*#]$")] | None,
        Shape("a key such as 9 that ends all calls to whoever presses it, or null"),
    ] = None
    callbacks: Annotated[
        Literal["caller", "any"] | None,
        Shape(
            "which promised calls the agent makes itself: to the caller's own number (caller), to any, or null"
        ),
    ] = None
    calling_hours: Annotated[
        TimeRange,
        AfterValidator(_on_the_day),
        Shape("a range such as 08:00-21:00 within a day, where the callee is"),
    ] = Span(8 * 60, 21 * 60)
