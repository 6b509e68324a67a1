"""Whose fault an end was: the last frames where a message of ours was wrong, and a quota that is used up."""

from __future__ import annotations

import pytest

from agent.errors import Fate
from agent.events import ModelEnded, Pcm16k, SendAudio, SendText, SendToolResult
from agent.protocols.gemini.session import LAST_SENT, GeminiSession, over_quota
from agent.protocols.gemini.setup import GeminiOptions
from agent.simulator.refusals import QUOTA

OPTIONS = GeminiOptions(model="gemini-3.8-live", system_instruction="You answer the telephone.")
SECRET = "4111 1111 1111 1111"


def opened() -> GeminiSession:
    session = GeminiSession(OPTIONS)
    session.connecting(0.0)
    session.opened(0.0)
    return session


def talking() -> tuple[GeminiSession, list[tuple[str, int]]]:
    """A session that was sent seven frames, and what each of them was."""
    session = opened()
    session.receive(b'{"setupComplete": {}}', 0.1)
    call = '{"toolCall": {"functionCalls": [{"id": "1", "name": "book", "args": {}}]}}'
    session.receive(call, 0.2)
    sent = [("audio", len(session.send(SendAudio(Pcm16k(bytes(640)))))) for _ in range(5)]
    sent.append(("text", len(session.send(SendText(SECRET)))))
    result = SendToolResult("1", "book", {"card": SECRET})
    sent.append(("toolResponse", len(session.send(result))))
    return session, sent


def test_a_message_that_closes_the_session_is_told_with_those_before_it() -> None:
    session, sent = talking()
    (ended,) = session.closed(1007, "Request contains an invalid argument.", 1.0)
    assert isinstance(ended, ModelEnded)
    assert ended.fate is Fate.FRESH
    assert ended.last_sent == sent[-LAST_SENT:]
    assert SECRET not in repr(ended)


def test_an_error_message_is_such_an_end_too() -> None:
    session, sent = talking()
    (ended,) = session.receive('{"error": {"code": 400, "message": "Invalid."}}', 1.0)
    assert isinstance(ended, ModelEnded)
    assert ended.last_sent == sent[-LAST_SENT:]


@pytest.mark.parametrize(
    ("code", "reason"), [(1006, ""), (1011, "Internal error encountered."), (1008, "aborted")]
)
def test_other_ends_blame_no_message(code: int, reason: str) -> None:
    (ended,) = talking()[0].closed(code, reason, 1.0)
    assert isinstance(ended, ModelEnded)
    assert ended.last_sent == []


def test_a_refused_setup_blames_no_message() -> None:
    (ended,) = opened().closed(1007, "Request contains an invalid argument.", 1.0)
    assert isinstance(ended, ModelEnded)
    assert (ended.fate, ended.last_sent) == (Fate.STEP_DOWN, [])


def test_a_quota_that_is_used_up_is_known_by_its_words() -> None:
    (closed,) = opened().closed(1011, QUOTA.encode()[:123].decode(), 1.0)
    (failed,) = opened().receive(f'{{"error": {{"code": 429, "message": "{QUOTA}"}}}}', 1.0)
    upgrade = GeminiSession(OPTIONS)
    upgrade.connecting(0.0)
    (refused,) = upgrade.refused(429, "the upgrade was answered with HTTP 429", 1.0)
    for ended in (closed, failed, refused):
        assert isinstance(ended, ModelEnded)
        assert over_quota(ended), ended


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1011, "Internal error encountered."),
        (1007, "API key not valid. Please pass a valid API key."),
        (1008, "models/gone is not found for API version v1beta"),
        (1000, ""),
    ],
)
def test_other_ends_say_nothing_about_the_quota(code: int, reason: str) -> None:
    (ended,) = opened().closed(code, reason, 1.0)
    assert isinstance(ended, ModelEnded)
    assert not over_quota(ended)
