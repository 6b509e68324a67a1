"""Calling hours by the callee's clock, judged by the C library's clock and area codes written down by hand."""

from __future__ import annotations

import os
import random
import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from agent.server.outbound.calling_hours import CallingHours, zones

PLACES = {
    # Prefix -> digits that follow, and the zone that its people live by: NANPA's and national regulators' area codes.
    "+1212": (7, "America/New_York"),
    "+1617": (7, "America/New_York"),
    "+1305": (7, "America/New_York"),
    "+1312": (7, "America/Chicago"),
    "+1214": (7, "America/Chicago"),
    "+1303": (7, "America/Denver"),
    "+1602": (7, "America/Phoenix"),
    "+1415": (7, "America/Los_Angeles"),
    "+1206": (7, "America/Los_Angeles"),
    "+1907": (7, "America/Anchorage"),
    "+1808": (7, "Pacific/Honolulu"),
    "+1416": (7, "America/Toronto"),
    "+1604": (7, "America/Vancouver"),
    "+1902": (7, "America/Halifax"),
    "+1787": (7, "America/Puerto_Rico"),
    "+4420": (8, "Europe/London"),
    "+3531": (7, "Europe/Dublin"),
    "+331": (8, "Europe/Paris"),
    "+4930": (8, "Europe/Berlin"),
    "+3906": (8, "Europe/Rome"),
    "+302": (9, "Europe/Athens"),
    "+9722": (7, "Asia/Jerusalem"),
    "+9714": (7, "Asia/Dubai"),
    "+9111": (8, "Asia/Kolkata"),
    "+9771": (7, "Asia/Kathmandu"),
    "+813": (8, "Asia/Tokyo"),
    "+8610": (8, "Asia/Shanghai"),
    "+612": (8, "Australia/Sydney"),
    "+643": (7, "Pacific/Auckland"),
    "+5511": (8, "America/Sao_Paulo"),
    "+2711": (7, "Africa/Johannesburg"),
}


def some_number(dice: random.Random, prefix: str) -> str:
    digits = PLACES[prefix][0]
    return prefix + str(dice.randint(2, 9)) + "".join(dice.choices("0123456789", k=digits - 1))


def moments(dice: random.Random, count: int) -> Iterator[float]:
    """Times of 2025 to 2030; every third near a change of some country's clocks, when mistakes are made."""
    changes = [
        datetime(year, month, day, dice.randint(0, 23), tzinfo=UTC).timestamp()
        for year in range(2025, 2031)
        for month, days in (
            (3, range(8, 32)),
            (4, range(1, 8)),
            (9, range(24, 31)),
            (10, range(1, 32)),
        )
        for day in days
    ]
    begin, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2025, 2031))
    for n in range(count):
        if n % 3:
            yield dice.uniform(begin, end)
        else:
            yield dice.choice(changes) + dice.uniform(-43200, 43200)


class CLibrary:
    """Local time by the C library and this machine's own tables: neither zoneinfo's code nor the package tzdata."""

    def __enter__(self) -> CLibrary:
        self._before = os.environ.get("TZ")
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = self._before
        clock.tzset()

    def hour_at(self, zone: str, wall: float) -> float:
        if os.environ.get("TZ") != zone:
            os.environ["TZ"] = zone
            clock.tzset()
        local = clock.localtime(wall)
        return local.tm_hour + local.tm_min / 60 + local.tm_sec / 3600


def violations(pairs: int, seed: int) -> tuple[int, int, int]:
    """Numbers that would be rung outside 8 to 21 by the judge's clock; how many would be rung; how many could have been."""
    dice, hours = random.Random(seed), CallingHours()
    wrong = permitted = possible = 0
    with CLibrary() as judge:
        each = pairs // len(PLACES) + 1
        for prefix, (_, zone) in PLACES.items():
            for wall in moments(dice, each):
                inside = 8 <= judge.hour_at(zone, wall) < 21
                permits = hours.permits(some_number(dice, prefix), wall)
                wrong += permits and not inside
                permitted += permits
                possible += inside
    return wrong, permitted, possible


def test_nobody_is_rung_outside_the_hours() -> None:
    wrong, permitted, possible = violations(1_500, seed=1)
    assert wrong == 0
    assert permitted > 0.9 * possible  # careful, and still of use


@pytest.mark.slow
def test_nobody_is_rung_outside_the_hours_many_times(full: bool) -> None:
    pairs = 100_000 if full else 10_000
    wrong, permitted, possible = violations(pairs, seed=2)
    print(f"quiet hours: {wrong} violations of {pairs} pairs; {permitted} of {possible} permitted")
    assert wrong == 0
    assert permitted > 0.9 * possible


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("local", "permitted"),
    [
        ("2026-11-23T07:59:59-05:00", False),
        ("2026-11-23T08:00:00-05:00", True),
        ("2026-11-23T20:59:59-05:00", True),
        ("2026-11-23T21:00:00-05:00", False),
        ("2026-07-01T08:00:00-04:00", True),  # the same clock in summer
        ("2026-07-01T08:00:00-05:00", True),
        ("2026-07-01T07:30:00-04:00", False),
    ],
)
def test_the_hours_begin_and_end_to_the_second(local: str, permitted: bool) -> None:
    assert CallingHours().permits("+12125551234", at(local)) is permitted


def test_where_a_number_may_be_in_several_zones_all_must_be_inside() -> None:
    perth_or_adelaide = "+61893211234"
    assert {zone.key for zone in zones(perth_or_adelaide)} == {
        "Australia/Adelaide",
        "Australia/Perth",
    }
    assert not CallingHours().permits(perth_or_adelaide, at("2026-06-01T07:00+08:00"))
    assert CallingHours().permits(perth_or_adelaide, at("2026-06-01T08:00+08:00"))
    assert not CallingHours().permits(perth_or_adelaide, at("2026-06-01T20:00+08:00"))


@pytest.mark.parametrize(
    "number", ["+881612345678", "+979123456789", "+99912345678", "nonsense", ""]
)
def test_a_number_of_no_known_place_is_never_rung(number: str) -> None:
    hours = CallingHours()
    for hour in range(24):
        assert not hours.permits(number, at("2026-11-23T00:00+00:00") + hour * 3600)
    assert hours.next_permitted(number, at("2026-11-23T00:00+00:00")) is None


def test_the_next_permitted_moment_is_found() -> None:
    hours, number = CallingHours(), "+12125551234"
    assert hours.next_permitted(number, at("2026-11-23T12:00-05:00")) == at(
        "2026-11-23T12:00-05:00"
    )
    assert hours.next_permitted(number, at("2026-11-23T21:00-05:00")) == at(
        "2026-11-24T08:00-05:00"
    )
    assert hours.next_permitted(number, at("2026-11-23T03:00-05:00")) == at(
        "2026-11-23T08:00-05:00"
    )
    # The clocks go forward in the night between.
    assert hours.next_permitted(number, at("2026-03-07T22:00-05:00")) == at(
        "2026-03-08T08:00-04:00"
    )
    two = CallingHours().next_permitted("+61893211234", at("2026-06-01T21:00+08:00"))
    assert two == at("2026-06-02T08:00+08:00")


@pytest.mark.parametrize(
    ("number", "places"),
    [
        ("+19075811560", {"America/Adak", "America/Anchorage", "Pacific/Honolulu"}),
        ("+6433010679", {"Pacific/Auckland", "Pacific/Chatham"}),
        ("+12125551234", {"America/New_York"}),
    ],
)
def test_an_exchange_s_own_zone_does_not_hide_its_area_s(number: str, places: set[str]) -> None:
    assert {zone.key for zone in zones(number)} == places


def test_days_of_rest_are_the_callee_s() -> None:
    weekdays = CallingHours(time(9), time(17), frozenset(range(5)))
    friday = at("2026-11-20T16:59-05:00")
    assert weekdays.permits("+12125551234", friday)
    assert weekdays.next_permitted("+12125551234", friday + 60) == at("2026-11-23T09:00-05:00")


def test_hours_that_never_come_are_no_endless_search() -> None:
    never = CallingHours(days=frozenset())
    assert never.next_permitted("+12125551234", at("2026-11-20T16:59-05:00")) is None


def test_an_address_is_called_in_the_hours_of_its_caller() -> None:
    hours = CallingHours(time(8), time(21), zone="Asia/Tokyo")
    evening = datetime(2026, 11, 22, 21, 0, tzinfo=ZoneInfo("Asia/Tokyo")).timestamp()
    assert hours.permits("sip:desk@pbx.example", evening - 1)
    assert not hours.permits("sip:desk@pbx.example", evening)
    assert hours.next_permitted("sip:desk@pbx.example", evening) == evening + 11 * 3600
