"""How calls and transfers end, in the library's words and in ours."""

from __future__ import annotations

import pytest

from agent.protocols.sip.endings import ended, transfer_outcome, untaken


@pytest.mark.parametrize(
    ("text", "established", "reason"),
    [
        ("Connection reset by peer [104]", True, "stopped"),  # a BYE
        ("Connection reset by peer [104]", False, "stopped"),  # a CANCEL
        ("Connection timed out [110]", True, "lost"),
        ("Connection timed out [110]", False, "stopped"),
        ("rtp stream error", True, "lost"),
        ("Call transfered", True, "stopped"),
        ("", True, "stopped"),
    ],
)
def test_what_an_end_means(text: str, established: bool, reason: str) -> None:
    assert ended(text, established=established) == reason


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (486, "busy"),
        (408, "no_answer"),
        (603, "declined"),
        (404, "failed"),
        (503, "failed"),
        (None, "failed"),
    ],
)
def test_what_became_of_a_transfer(status: int | None, outcome: str) -> None:
    assert transfer_outcome(status) == outcome


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("486 Busy Here", "caller_busy"),
        ("600 Busy Everywhere", "caller_busy"),
        ("603 Decline", "declined"),
        ("480 Temporarily Unavailable", "no_answer"),
        ("487 Request Terminated", "no_answer"),
        ("404 Not Found", "invalid_number"),
        ("403", "carrier_refused"),
        ("503 Service Unavailable", "call_failed"),
        ("Connection timed out [110]", "call_failed"),
        ("", "call_failed"),
    ],
)
def test_why_nobody_took_a_call_of_ours(text: str, reason: str) -> None:
    assert untaken(text) == reason
