"""Opening hours: in the agent's own time, over midnight, over the two odd nights of the year, and not on holidays."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from agent.config.hours import DAYS, Hours, Span, is_open

BERLIN = "Europe/Berlin"
DESK = Hours.model_validate(
    {
        "monday": "08:00-18:00",
        "tuesday": ["8:00-12:00", "13:00-18:00"],
        "friday": "22:00-02:00",
        "saturday": "00:00-24:00",
        "holidays": ["2026-12-21", "12-25"],
    }
)


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("when", "open_"),
    [
        ("2026-11-23T07:59:59", False),  # a Monday
        ("2026-11-23T08:00", True),
        ("2026-11-23T17:59:59", True),
        ("2026-11-23T18:00", False),
        ("2026-11-24T12:30", False),  # between the ranges of a Tuesday
        ("2026-11-24T13:00", True),
        ("2026-11-25T10:00", False),  # a day that is left out
        ("2026-11-27T21:59", False),  # a Friday
        ("2026-11-27T23:00", True),
        ("2026-11-28T01:59", True),  # still Friday's
        ("2026-11-28T23:59", True),  # a whole Saturday
        ("2026-11-29T00:00", False),
        ("2026-12-21T10:00", False),  # a Monday that is a holiday
        ("2026-12-25T23:00", False),  # a Friday that is one every year
        ("2026-12-26T01:00", True),  # Saturday's own, not the holiday's
        ("2027-12-25T10:00", False),
    ],
)
def test_open_or_closed(when: str, open_: bool) -> None:
    assert is_open(DESK, BERLIN, at(when)) is open_


def test_the_hours_are_the_agents_own_time() -> None:
    noon = at("2026-11-23T12:00", "UTC")
    assert is_open(DESK, "America/New_York", at("2026-11-23T08:30", "America/New_York"))
    assert not is_open(DESK, "America/Los_Angeles", noon)
    assert is_open(DESK, "UTC", noon)


def test_clocks_that_change_move_the_hours_with_them() -> None:
    night = Hours.model_validate({"sunday": "02:30-03:30"})
    # Spring forward: 02:30 does not exist, the range begins at 03:00 of summer time.
    spring = at("2026-03-29T01:59:59")
    assert [is_open(night, BERLIN, spring + s) for s in (0, 1, 29 * 60, 31 * 60)] == [
        False,
        True,
        True,
        False,
    ]
    # Fall back: 02:30 comes twice, and both belong to it.
    first = at("2026-10-25T02:30")
    assert is_open(night, BERLIN, first)
    assert is_open(night, BERLIN, first + 3600)


@given(
    wall=st.integers(0, 4_000_000_000),
    opens=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_a_range_that_is_the_same_every_day_depends_on_the_time_of_day_only(
    wall: int, opens: int, length: int
) -> None:
    span = Span(opens, (opens + length) % 1440 or 1440)
    hours = Hours.model_validate(dict.fromkeys(DAYS, (span,)))
    minute = wall // 60 % 1440
    assert is_open(hours, "UTC", wall) is ((minute - opens) % 1440 < length)
