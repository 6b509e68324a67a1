"""What the agent's file says about a call, in the call's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.call.dead_air import DeadAirOptions
from agent.config.agent_file import AgentFile
from agent.config.agent_parts import Limits, Silences
from agent.config.settings import Settings
from agent.server.habits import call_options

if TYPE_CHECKING:
    from agent.call.options import CallOptions

OF_SESSIONS = {"no_session": "moment_after"}
"""Silences that the call's options have, not those of its dead air."""
ELSEWHERE = {"caller": "limits.silence", "tool": "filler_after"}
"""Silences that other keys of the file are for."""
MEASURES = {"unsigned", "usual", "least", "echo", "words"}
"""What a silence is and what is said into it, not how long it may be."""


def options(**said: object) -> CallOptions:
    agent = AgentFile.model_validate({"name": "Desk", "persona": "x", **said})
    return call_options(Settings.load({}, Path("none")), agent)


def test_every_silence_can_be_said_and_no_other() -> None:
    timings = set(DeadAirOptions.__struct_fields__) - MEASURES
    assert set(Silences.model_fields) - set(OF_SESSIONS) | set(ELSEWHERE) == timings


@pytest.mark.parametrize("name", Silences.model_fields)
def test_a_silence_that_is_said_is_the_calls_and_the_others_stay(name: str) -> None:
    given, delivered = options(silences={name: 7.5}), options()
    if name in OF_SESSIONS:
        assert given == msgspec.structs.replace(delivered, **{OF_SESSIONS[name]: 7.5})
    else:
        assert given.dead_air == msgspec.structs.replace(DeadAirOptions(), **{name: 7.5})
        assert given == msgspec.structs.replace(delivered, dead_air=given.dead_air)


def test_a_silent_caller_and_a_slow_tool_have_keys_of_their_own() -> None:
    given = options(limits=Limits(silence=9.0), filler_after=2.0)
    assert given.dead_air == msgspec.structs.replace(DeadAirOptions(), caller=9.0, tool=2.0)
