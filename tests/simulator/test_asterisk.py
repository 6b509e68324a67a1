"""The stand-in for chan_websocket: what it takes, what it holds against us, and how its queue moves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.simulator.asterisk import AsteriskReport, Channel, Levels

FRAME = b"\x10" * 160


SIZES = Levels()


def channel(levels: Levels = SIZES) -> tuple[Channel, AsteriskReport]:
    report = AsteriskReport()
    return Channel(levels, report), report


def told(of: Channel) -> list[dict[str, Any]]:
    events = [json.loads(each) for each in of.out]
    of.out.clear()
    return events


def test_it_says_first_what_it_is() -> None:
    asterisk, _ = channel()
    asterisk.start({"PICKUP_A": "1"})
    (start,) = told(asterisk)
    assert (start["event"], start["format"], start["optimal_frame_size"]) == (
        "MEDIA_START",
        "ulaw",
        160,
    )
    assert start["channel_variables"] == {"PICKUP_A": "1"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"command":"MARK_MEDIA","correlation_id":"' + "m" * 84 + '"}', "long-command"),
        ('{"command":"answer"}', "unknown-command"),
        ('{"command":"ANSWER","id":"1"}', "unknown-command"),
        ('{"command":"MARK_MEDIA","correlation_id":1}', "parameters"),
        ('{"command":"START_MEDIA_BUFFERING"}', "not-needed"),
        ("ANSWER", "not-json"),
        ("[]", "not-json"),
        ("{}", "not-json"),
    ],
)
def test_what_asterisk_would_not_take_is_held_against_us(text: str, rule: str) -> None:
    asterisk, report = channel()
    asterisk.text(text, 0.0)
    assert [each.partition(":")[0] for each in report.violations] == [rule]
    assert not asterisk.answered


def test_it_is_answered_and_hung_up_once() -> None:
    asterisk, report = channel()
    asterisk.text('{"command":"ANSWER"}', 0.0)
    assert (asterisk.answered, report.violations) == (True, [])
    asterisk.text('{"command":"ANSWER"}', 0.0)
    assert report.violations == ["answered-twice: ANSWER"]
    asterisk.text('{"command":"HANGUP"}', 0.0)
    assert asterisk.hung_up


def test_frames_leave_in_order_and_marks_are_told_when_they_reach_the_front() -> None:
    asterisk, report = channel()
    asterisk.binary(FRAME * 2, 0.0)
    asterisk.text('{"command":"MARK_MEDIA","correlation_id":"1"}', 0.0)
    asterisk.binary(b"\x20" * 160, 0.0)
    assert asterisk.tick() == FRAME
    assert told(asterisk) == []
    assert asterisk.tick() == FRAME
    (mark,) = told(asterisk)
    assert (mark["event"], mark["correlation_id"]) == ("MEDIA_MARK_PROCESSED", "1")
    assert (asterisk.tick(), asterisk.tick()) == (b"\x20" * 160, None)
    assert report.marks == 1


def test_what_is_no_whole_frame_loses_its_end() -> None:
    asterisk, report = channel()
    asterisk.binary(FRAME + b"\x10" * 40, 0.0)
    assert (asterisk.tick(), asterisk.tick()) == (FRAME, None)
    assert report.violations == ["remainder: 200 bytes are not whole frames"]


def test_a_message_that_is_too_big_ends_the_call() -> None:
    asterisk, report = channel()
    asterisk.binary(bytes(65_520), 0.0)
    assert asterisk.hung_up
    assert report.violations[0].startswith("too-big")


def test_a_flush_throws_away_marks_with_the_sound() -> None:
    asterisk, report = channel()
    asterisk.binary(FRAME * 3, 1.0)
    asterisk.text('{"command":"MARK_MEDIA","correlation_id":"1"}', 1.0)
    asterisk.text('{"command":"FLUSH_MEDIA"}', 1.5)
    assert [(each.at, each.dropped) for each in report.flushes] == [(1.5, 3)]
    assert asterisk.tick() is None
    assert told(asterisk) == []


def test_a_queue_that_fills_says_stop_and_go() -> None:
    asterisk, report = channel(Levels(10, 8, 4))
    asterisk.binary(FRAME * 8, 0.0)
    assert [each["event"] for each in told(asterisk)] == ["MEDIA_XOFF"]
    asterisk.binary(FRAME * 4, 0.2)  # it was on its way
    assert (report.dropped, report.violations) == (2, [])
    asterisk.binary(FRAME, 0.3)
    assert [each.partition(":")[0] for each in report.violations] == ["after-xoff"]
    asterisk.text('{"command":"GET_STATUS"}', 0.3)
    (status,) = told(asterisk)
    assert (status["queue_full"], status["queue_length"]) == (True, 10)
    for _ in range(6):
        asterisk.tick()
    assert told(asterisk) == []
    asterisk.tick()
    assert [each["event"] for each in told(asterisk)] == ["MEDIA_XON"]
    assert report.xoffs == 1


def test_a_paused_queue_waits() -> None:
    asterisk, _ = channel()
    asterisk.binary(FRAME, 0.0)
    asterisk.text('{"command":"PAUSE_MEDIA"}', 0.0)
    assert asterisk.tick() is None
    asterisk.text('{"command":"CONTINUE_MEDIA"}', 0.0)
    assert asterisk.tick() == FRAME
