"""The booking example's calendar: what is free can be booked once, and only who booked it can cancel it."""

from __future__ import annotations

import contextlib
import threading
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.config.agent_files import EXAMPLES
from agent.errors import ToolFailed
from agent.tools.base import CallInfo
from agent.tools.python_files import PythonFiles

ANNA, BEN = CallInfo("c1", "booking", "+12125550111"), CallInfo("c2", "booking", "+12125550122")
FRIDAY = date(2026, 11, 20)
MONDAY = FRIDAY + timedelta(3)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The example's module, as the server reads it, on a Friday at noon."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    tools = PythonFiles(EXAMPLES, pytest.fail).functions("calendar_tools")
    assert [each.declaration.name for each in tools] == ["free_times", "book", "cancel"]
    assert [each.reads_only for each in tools] == [True, False, False]
    names: dict[str, Any] = tools[0].function.__globals__
    monkeypatch.setitem(names, "now", lambda: datetime(2026, 11, 20, 12, 10, tzinfo=names["ZONE"]))
    return names


def free(shop: dict[str, Any], day: date) -> list[str]:
    days = shop["free_times"](day)["days"]
    return [] if isinstance(days, str) else list(days[0]["free"])


def test_what_is_free_is_told_with_its_weekday(shop: dict[str, Any]) -> None:
    told = shop["free_times"]()
    assert told["today"] == "Friday 2026-11-20"
    assert [(day["day"], day["weekday"]) for day in told["days"]] == [
        ("2026-11-20", "Friday"),
        ("2026-11-23", "Monday"),
        ("2026-11-24", "Tuesday"),
    ]
    assert told["days"][0]["free"][0] > "12:10"
    assert shop["free_times"]() == told


@pytest.mark.parametrize("day", [date(2026, 11, 19), date(2026, 11, 21), date(2027, 3, 1)])
def test_on_other_days_nothing_is(shop: dict[str, Any], day: date) -> None:
    assert shop["free_times"](day)["days"] == "nothing is free"


def test_what_was_booked_is_taken(shop: dict[str, Any]) -> None:
    first = free(shop, MONDAY)[0]
    at = time.fromisoformat(first)
    assert shop["book"](MONDAY, at, " Anna ", ANNA) == (
        f"Booked for Anna: Monday, November 23, at {first}."
    )
    assert first not in free(shop, MONDAY)
    with pytest.raises(ToolFailed, match="not free"):
        shop["book"](MONDAY, at, "Ben", BEN)
    assert (Path("data") / "calendar.db").is_file()


@pytest.mark.parametrize("at", [time(8), time(12, 15), time(17)])
def test_what_was_never_free_cannot_be_booked(shop: dict[str, Any], at: time) -> None:
    with pytest.raises(ToolFailed, match="not free"):
        shop["book"](MONDAY, at, "Anna", ANNA)


def test_nobody_books_without_a_name(shop: dict[str, Any]) -> None:
    with pytest.raises(ToolFailed, match="name"):
        shop["book"](MONDAY, time.fromisoformat(free(shop, MONDAY)[0]), " ", ANNA)


def test_only_the_telephone_that_booked_can_cancel(shop: dict[str, Any]) -> None:
    first = free(shop, MONDAY)[0]
    at = time.fromisoformat(first)
    shop["book"](MONDAY, at, "Anna", ANNA)
    for other in (BEN, CallInfo("c3", "booking")):
        with pytest.raises(ToolFailed, match="no appointment"):
            shop["cancel"](MONDAY, at, other)
    assert shop["cancel"](MONDAY, at, ANNA).startswith("Cancelled: Monday")
    assert first in free(shop, MONDAY)


def test_what_a_withheld_number_booked_cannot_be_cancelled_by_another_one(
    shop: dict[str, Any],
) -> None:
    at = time.fromisoformat(free(shop, MONDAY)[0])
    nobody = CallInfo("c4", "booking")
    shop["book"](MONDAY, at, "Anna", nobody)
    with pytest.raises(ToolFailed, match="no appointment"):
        shop["cancel"](MONDAY, at, nobody)


def test_of_many_that_book_the_same_time_at_once_one_gets_it(shop: dict[str, Any]) -> None:
    at = time.fromisoformat(free(shop, MONDAY)[0])
    booked: list[str] = []

    def book(n: int) -> None:
        with contextlib.suppress(ToolFailed):
            booked.append(shop["book"](MONDAY, at, f"Caller {n}", ANNA))

    callers = [threading.Thread(target=book, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(booked) == 1


def test_a_calendar_that_cannot_be_opened_is_said_so(shop: dict[str, Any]) -> None:
    (Path("data") / "calendar.db").mkdir()
    with pytest.raises(ToolFailed, match="cannot be opened"):
        shop["free_times"]()
