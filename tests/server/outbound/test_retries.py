"""What becomes of a call that reached nobody."""

from __future__ import annotations

from datetime import datetime, time

import pytest

from agent.server.outbound.calling_hours import CallingHours
from agent.server.outbound.retries import Retries, outcome

NUMBER, HOURS = "+12125551234", CallingHours()


@pytest.mark.parametrize(
    ("reason", "answered", "means"),
    [
        ("caller_busy", False, "busy"),
        ("no_answer", False, "no_answer"),
        ("call_failed", False, "failed"),
        ("carrier_silent", False, "failed"),
        ("no_start", False, "failed"),
        ("voicemail", True, "voicemail"),
        ("model_lost", False, "failed"),
        ("server_stopped", False, "failed"),
        ("model_lost", True, "reached"),
        ("server_stopped", True, "reached"),
        ("caller_hung_up", True, "reached"),
        ("caller_hung_up", False, "reached"),
        ("opted_out", True, "reached"),
        ("fax", True, "reached"),
        ("budget", True, "reached"),
        ("something new", False, "reached"),
    ],
)
def test_only_what_disturbed_nobody_is_no_conversation(
    reason: str, answered: bool, means: str
) -> None:
    assert outcome(reason, answered=answered) == means


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_busy_line_is_tried_again_after_the_pause_and_so_often_as_was_said() -> None:
    retries = Retries(tries=3, wait=1800.0)
    noon = at("2026-11-23T12:00-05:00")
    found = [retries.next_at("busy", n, noon, number=NUMBER, hours=HOURS) for n in (1, 2, 3)]
    assert found == [noon + 1800, noon + 1800, None]


@pytest.mark.parametrize("means", ["reached", "voicemail", "do_not_call"])
def test_what_the_file_does_not_name_is_not_tried_again(means: str) -> None:
    noon = at("2026-11-23T12:00-05:00")
    assert Retries().next_at(means, 1, noon, number=NUMBER, hours=HOURS) is None


def test_the_next_try_waits_for_the_callee_s_morning() -> None:
    evening = at("2026-11-23T20:30-05:00")
    found = Retries(wait=3600.0).next_at("no_answer", 1, evening, number=NUMBER, hours=HOURS)
    assert found == at("2026-11-24T08:00-05:00")


def test_a_number_of_no_known_place_gets_no_second_try() -> None:
    anywhere = CallingHours(time(0), time.max)
    noon = at("2026-11-23T12:00-05:00")
    assert Retries().next_at("busy", 1, noon, number="+881612345678", hours=anywhere) is None
