"""What one call leaves out of its setups, and when that is told."""

from __future__ import annotations

import pytest

from agent.config.agent_file import AgentFile
from agent.errors import UserError
from agent.server.prompt import system_instruction
from agent.server.setups import Setups

VOICE = frozenset({"voice"})


class Told(list[tuple[frozenset[str], str]]):
    def __call__(self, left_out: frozenset[str], why: str) -> None:
        self.append((left_out, why))


def _last(setups: Setups) -> bool:
    return setups.last


DESK = AgentFile(name="Desk", persona="You answer.")


def test_a_setup_that_is_accepted_whole_teaches_nothing() -> None:
    told = Told()
    setups = Setups(VOICE, 3, told)
    assert setups.left_out == {"voice"}
    setups.accepted()
    assert told == []


def test_what_is_accepted_is_told_once() -> None:
    told = Told()
    setups = Setups(frozenset(), 3, told)
    assert _last(setups) is False
    setups.refused(VOICE, "invalid", named=frozenset())
    assert _last(setups) is True
    assert told == []  # it may be that nothing is accepted
    setups.accepted()
    setups.accepted()
    assert told == [(VOICE, "invalid")]
    assert _last(setups) is False  # the next search begins anew


def test_silence_teaches_nothing_that_lasts() -> None:
    told = Told()
    setups = Setups(frozenset(), 3, told)
    setups.unanswered()
    setups.refused(VOICE, "setup not answered within 5 s", named=frozenset())
    assert setups.left_out == VOICE
    setups.accepted()
    assert told == []


def test_a_field_that_was_named_is_known_whatever_becomes_of_the_call() -> None:
    told = Told()
    setups = Setups(frozenset(), 3, told)
    setups.refused(VOICE, "'voice_name'", named=VOICE)
    assert told == [(VOICE, "'voice_name'")]


def test_what_goes_with_the_last_named_field_is_not_held_against_the_agent() -> None:
    told = Told()
    setups = Setups(frozenset(), 3, told)
    setups.refused(VOICE, "'voice_name'", named=VOICE)
    named = frozenset({"temperature"})
    setups.refused(VOICE | named | {"thinking_level"}, "'temperature'", named=named)
    setups.accepted()
    assert setups.left_out == {"voice", "temperature", "thinking_level"}
    assert told == [(VOICE, "'voice_name'"), (VOICE | named, "'temperature'")]


def test_a_handle_that_was_refused_counts_as_a_setup() -> None:
    setups = Setups(frozenset(), 3, Told())
    setups.tried()
    assert setups.last


def test_where_nothing_is_left_the_service_is_quoted() -> None:
    with pytest.raises(UserError, match="smallest setup is refused: invalid"):
        Setups(frozenset(), 3, Told()).refused(None, "invalid", named=frozenset())


def test_a_persona_without_tools_is_told_which_it_lacks() -> None:
    whole, bare = (system_instruction(DESK, absent=names) for names in ((), ("end_call", "book")))
    assert "call `end_call`" in whole
    assert "the tools end_call, book are not available" in bare
    assert "`end_call`" not in bare
