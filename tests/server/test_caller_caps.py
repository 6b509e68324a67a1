"""How often one number may call us."""

from __future__ import annotations

from unittest.mock import patch

from agent.server.caller_caps import HOUR, CallerCaps

ADA, BOB = "+12125551234", "sip:bob@example.com"


def test_the_cap_trips_at_its_number_exactly_and_for_that_caller_only() -> None:
    caps = CallerCaps(3)
    assert [caps.admit(ADA, float(n)) for n in range(5)] == [True, True, True, False, False]
    assert caps.admit(BOB, 5.0)


def test_an_hour_later_there_is_room_again() -> None:
    caps = CallerCaps(2)
    assert caps.admit(ADA, 0.0)
    assert caps.admit(ADA, 100.0)
    assert not caps.admit(ADA, HOUR - 0.001)
    assert caps.admit(ADA, HOUR)
    assert not caps.admit(ADA, HOUR + 99.0)
    assert caps.admit(ADA, HOUR + 100.0)


def test_callers_who_cannot_be_told_apart_are_not_counted_together() -> None:
    caps = CallerCaps(1)
    assert all(caps.admit(number, 1.0) for number in ["", "anonymous", "+266696687x"] * 3)


def test_a_flood_of_numbers_takes_no_more_memory() -> None:
    caps = CallerCaps(1)
    with patch("agent.server.caller_caps.MOST", 10):
        for n in range(100):
            assert caps.admit(f"+1212555{n:04}", float(n))
        assert len(caps._calls) == 10
        assert not caps.admit("+12125550099", 100.0)
