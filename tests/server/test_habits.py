"""What the agent's file says about a call, in the call's own terms."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agent.call.dead_air import DeadAirOptions
from agent.config.agent_file import AgentFile
from agent.config.agent_parts import Limits, Silences
from agent.config.settings import Settings
from agent.server.habits import call_options

ELSEWHERE = {"caller": "limits.silence", "tool": "filler_after"}
"""Silences that other keys of the file are for."""
MEASURES = {"unsigned", "usual", "least", "echo", "words"}
"""What a silence is and what is said into it, not how long it may be."""


def silences(**said: object) -> DeadAirOptions:
    agent = AgentFile.model_validate({"name": "Desk", "persona": "x", **said})
    return call_options(Settings.load({}, Path("none")), agent).dead_air


def test_every_silence_can_be_said_and_no_other() -> None:
    timings = set(DeadAirOptions.__struct_fields__) - MEASURES
    assert set(Silences.model_fields) | set(ELSEWHERE) == timings


@pytest.mark.parametrize("name", Silences.model_fields)
def test_a_silence_that_is_said_is_the_calls_and_the_others_stay(name: str) -> None:
    given = silences(silences={name: 7.5})
    assert given == msgspec.structs.replace(DeadAirOptions(), **{name: 7.5})


def test_a_silent_caller_and_a_slow_tool_have_keys_of_their_own() -> None:
    given = silences(limits=Limits(silence=9.0), filler_after=2.0)
    assert given == msgspec.structs.replace(DeadAirOptions(), caller=9.0, tool=2.0)
