"""Promised calls: at a time that exists, lies ahead and has somebody there; to a number that can be called."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.errors import StorageError, ToolFailed
from agent.tools.base import CallInfo
from agent.tools.schedule_callback import Diary, Promise, ScheduleCallback, e164, moment
from agent.tools.schema import plain

BERLIN = ZoneInfo("Europe/Berlin")
CALL = CallInfo("c1", "front_desk", "+4930123456")


def seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


NOW = seconds("2026-03-26T10:00")  # a Thursday; the clocks are put forward on Sunday


def nine_to_five(at: float) -> bool:
    return 9 <= datetime.datetime.fromtimestamp(at, BERLIN).hour < 17


DIARY = Diary("Europe/Berlin", nine_to_five, lambda: NOW)
ALWAYS = Diary("Europe/Berlin", lambda at: True, lambda: NOW)


class Desk:
    """Keeps what it is given, or nothing."""

    def __init__(self, *, down: bool = False) -> None:
        self.kept: list[Promise] = []
        self.down = down

    async def schedule(self, info: CallInfo, promise: Promise) -> None:
        if self.down:
            raise StorageError("down")
        self.kept.append(promise)


async def promise(desk: Desk, info: CallInfo = CALL, **args: Any) -> dict[str, Any]:
    answer = await ScheduleCallback(info, desk, DIARY).run({"at": "2026-03-27T14:30", **args})
    return answer.response


# ---- when


def test_a_time_is_meant_where_the_agent_is() -> None:
    assert moment("2026-03-27T14:30", DIARY) == seconds("2026-03-27T14:30")
    assert moment(" 2026-03-27 14:30 ", DIARY) == seconds("2026-03-27T14:30")
    assert moment("2026-03-27T14:30+00:00", DIARY) == seconds("2026-03-27T15:30")
    assert moment("2026-03-30T12:00", DIARY) == NOW + 4 * 86_400 + 3600  # an hour less


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tomorrow at three", "write it as YYYY-MM-DDTHH:MM.*now Thursday 26 March 2026, 10:00"),
        ("", "is no time"),
        ("2026-02-30T10:00", "is no time"),
        ("2026-03-26T09:59", "in the past"),
        ("2026-03-26T10:00", "in the past"),
        ("2025-03-27T14:30", "in the past"),
        ("2026-06-30T10:00", "more than 90 days"),
        ("9999-12-31T23:59", "more than 90 days|too far"),
        ("2026-03-27T17:00", "Nobody is there on Friday 27 March 2026, 17:00"),
    ],
)
def test_what_is_no_time_for_a_call_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        moment(text, DIARY)


def test_an_hour_that_is_left_out_does_not_exist() -> None:
    with pytest.raises(ToolFailed, match="clocks are put forward"):
        moment("2026-03-29T02:30", ALWAYS)
    assert moment("2026-03-29T03:30", ALWAYS) == seconds("2026-03-29T03:30")


# ---- whom


@pytest.mark.parametrize(
    ("given", "caller", "number"),
    [
        ("", "+4930123456", "+4930123456"),
        ("030 654321", "+4930123456", "+4930654321"),
        ("+44 20 7946 0958", "+4930123456", "+442079460958"),
        ("(555) 010-2345", "+12125550100", "+15550102345"),
        ("+4930654321", "", "+4930654321"),
    ],
)
def test_a_number_is_read_as_people_write_it_where_they_call_from(
    given: str, caller: str, number: str
) -> None:
    assert e164(given, caller) == number


@pytest.mark.parametrize(
    ("given", "caller", "why"),
    [
        ("", "", "not known"),
        ("", "sip:anna@example.com", "not known"),
        ("030 654321", "", "country's code"),
        ("my mobile", "+4930123456", "country's code"),
        ("12", "+4930123456", "no telephone number"),
        ("+1", "+4930123456", "country's code|no telephone number"),
    ],
)
def test_what_cannot_be_called_is_told_why(given: str, caller: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        e164(given, caller)


# ---- the tool


async def test_a_promise_is_kept_and_said_back() -> None:
    desk = Desk()
    said = await promise(desk, note=" About the bill. ")
    (kept,) = desk.kept
    assert (kept.number, kept.at, kept.note) == (
        "+4930123456",
        seconds("2026-03-27T14:30"),
        "About the bill.",
    )
    assert said == {
        "result": "Noted: a call on Friday 27 March 2026, 14:30, to the number that ends in 3456."
    }


async def test_the_same_promise_has_the_same_id() -> None:
    desk = Desk()
    await promise(desk)
    await promise(desk, number="030 123456", at="2026-03-27T14:30:00")
    await promise(desk, at="2026-03-27T15:30")
    first, again, other = (kept.id for kept in desk.kept)
    assert first == again != other


async def test_a_promise_that_is_not_kept_is_not_made() -> None:
    with pytest.raises(ToolFailed, match="not noted"):
        await promise(Desk(down=True))


def test_the_model_is_told_which_day_it_is() -> None:
    declared = ScheduleCallback(CALL, Desk(), DIARY).declaration
    assert "Thursday 26 March 2026, 10:00 (Europe/Berlin)" in declared.description
    assert "Promise that a person calls back." in declared.description
    itself = ScheduleCallback(CALL, Desk(), DIARY, "you call").declaration
    assert "Promise that you call back." in itself.description
    schema = declared.parameters or {}
    assert plain(schema, "schedule_callback", strict=True) == schema
