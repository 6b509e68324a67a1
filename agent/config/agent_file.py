"""What the agent is: the keys of its YAML file.

    name: Harbour Dental        # who answers
    persona: |                  # the model's instruction
      You are the front desk of ...
    greeting: How can I help?   # the first words after the disclosure

`agent_yaml.py` reads the text and tells mistakes by line, `agent_files.py` keeps the folder of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, StringConstraints

from agent.config.agent_parts import (
    ClosedOrLine,
    Greeting,
    GreetingOrLine,
    Limits,
    ModelOptions,
    Outbound,
    OwnWords,
    Recording,
    RecordingOrSwitch,
    Silences,
    TargetOrAddress,
)
from agent.config.agent_tools import Tool, ToolEntry
from agent.config.hours import Hours, is_open
from agent.config.shapes import (
    Line,
    Number,
    OneOrMore,
    Part,
    Reached,
    Shape,
    Tag,
    TargetName,
    Variable,
    Zone,
)
from agent.config.variables import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

DISCLOSURE = "Hello. You are speaking with an automated assistant."
"""The first words of every call, unless the agent's file has others or waives them."""


def _not_a_switch(text: str) -> str:
    """Refuse a word that was meant as a switch: it would be read aloud to callers."""
    if text.lower() in ("no", "off", "none", "false", "yes", "on", "true"):
        raise ValueError("write false to waive it")
    return text


class AgentFile(Part):
    """An agent as its file describes it; frozen, so that a call keeps the agent it began with."""

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
        Shape("the name of who answers, at most 80 characters"),
    ]
    persona: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000),
        Shape("the model's instruction, some text of at most 50000 characters"),
    ]
    greeting: Annotated[
        GreetingOrLine,
        Shape("a line to be spoken, at most 500 characters, or `free: how to greet`"),
    ] = Greeting(say="How can I help you?")
    voice: Annotated[
        str,
        Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"),
        Shape("a voice's name, such as Kore or Puck"),
    ] = "Kore"
    language: Tag = "en-US"
    languages: Annotated[
        tuple[Tag, ...],
        OneOrMore,
        Shape("the other languages it speaks, a list of tags such as de-DE"),
    ] = ()
    model: Annotated[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None,
        Shape("a model's name such as gemini-3.8-live"),
    ] = None
    model_options: Annotated[
        ModelOptions, Shape("options of the model's session, such as `temperature: 0.7`")
    ] = ModelOptions()
    numbers: Annotated[
        tuple[Reached, ...],
        OneOrMore,
        Shape("a list of the numbers, extensions and sip addresses that reach it"),
    ] = ()
    variables: Annotated[
        dict[Variable, Annotated[str, Field(max_length=500)] | None],
        Shape("names with their defaults; null where a call has to bring the value"),
    ] = {}
    timezone: Zone = "UTC"
    hours: Annotated[
        Hours | None, Shape("ranges by weekday such as `monday: 08:00-18:00`, and `holidays`")
    ] = None
    closed: Annotated[
        ClosedOrLine | None,
        Shape("what callers hear outside the hours, or `transfer: TARGET`; unset, it answers"),
    ] = None
    disclosure: Annotated[
        Annotated[Line, AfterValidator(_not_a_switch)] | Literal[False],
        Shape("a line to be spoken, at most 500 characters, or false to waive it"),
    ] = DISCLOSURE
    consent: Annotated[
        Annotated[Line, AfterValidator(_not_a_switch)] | None,
        Shape("a line to be spoken, at most 500 characters; recording begins after it"),
    ] = None
    recording: Annotated[
        RecordingOrSwitch, Shape("true or false, or a mapping with `on` and `retention_days`")
    ] = Recording(on=False)
    tools: Annotated[
        tuple[Tool, ...], Shape("a list of what the model may use, such as `- end_call`")
    ] = (ToolEntry(builtin="end_call"),)
    transfer: Annotated[
        dict[TargetName, TargetOrAddress], Shape("named targets, such as `office: +15551234567`")
    ] = {}
    fallback_number: Number | None = None
    knowledge: Annotated[
        Annotated[str, Field(min_length=1, max_length=300)] | None,
        Shape("a folder of texts for look_up, relative to this file"),
    ] = None
    filler_after: Annotated[
        float | None,
        Field(ge=0.5, le=60, allow_inf_nan=False),
        Shape("seconds that a tool takes until the filler is said, from 0.5 to 60"),
    ] = None
    limits: Annotated[Limits, Shape("what one call may take, such as `seconds: 600`")] = Limits()
    silences: Annotated[Silences, Shape("how long each silence may be, such as `nudge: 4`")] = (
        Silences()
    )
    lines: Annotated[
        OwnWords, Shape("its own words for Pickup's own sentences, such as `busy: ...`")
    ] = OwnWords()
    outbound: Annotated[
        Outbound, Shape("how it calls people: `caller_id`, `voicemail` and more")
    ] = Outbound()

    _filled_from: str = PrivateAttr("")

    def digest(self) -> str:
        """Name this agent's very content, for the record of a call (SHA-256, hexadecimal).

        With a call's values in its words it is still the same agent.
        """
        return self._filled_from or hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def secrets(self) -> tuple[str, ...]:
        """The environment variables that its tools need."""
        return tuple(name for entry in self.tools for name in entry.secrets())

    def spoken_in(self, values: Mapping[str, str]) -> AgentFile:
        """This agent with values in the places of its words; see `variables.with_variables`."""
        greeting, outbound = self.greeting, self.outbound
        changes = {
            "persona": fill(self.persona, values),
            "greeting": greeting.model_copy(
                update={
                    "say": _filled(greeting.say, values),
                    "free": _filled(greeting.free, values),
                }
            ),
            "outbound": outbound.model_copy(
                update={"voicemail": _filled(outbound.voicemail, values)}
            ),
            "variables": dict(values),
        }
        filled = self.model_copy(update=changes)
        filled._filled_from = self.digest()
        return filled

    def is_open(self, wall: float) -> bool:
        """Whether somebody is there at `wall` (seconds since 1970); always, where no hours are given."""
        return self.hours is None or is_open(self.hours, self.timezone, wall)


def _filled(text: str | None, values: Mapping[str, str]) -> str | None:
    return None if text is None else fill(text, values)
