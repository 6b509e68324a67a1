"""Agents' files in whole calls: the three examples do their work in the stand-in, and no sound is kept before the caller knows."""

from __future__ import annotations

import json
import shutil
import sqlite3
import wave
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from agent.config.agent_files import EXAMPLES
from agent.simulator.brain import Call, Heard, Reply, Say, described, speechlike
from tests.calls.exchange import FROM, Exchange, exchange, words
from tests.calls.test_outbound import ANY_TIME, office

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulator.ears import Utterance

pytestmark = pytest.mark.slow

SID = "CA" + "1" * 32


class Clerk:
    """Calls these tools, one for each thing the caller says, and goes on with the next of them at once where it is told to."""

    def __init__(self, *plan: Call) -> None:
        self.plan = plan
        self.asked: tuple[str, ...] = ()
        self.answers: tuple[dict[str, Any], ...] = ()

    def prompted(self, text: str) -> Reply:
        self.asked = (*self.asked, text)
        return (self.say("Hello."),)

    def heard(self, utterance: Utterance) -> Heard:
        return Heard(described(utterance), (self.say("Yes."), *self.plan[:1]))

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        self.answers = (*self.answers, response)
        done = [call.name for call in self.plan].index(tool)
        return (self.say("Done."), *self.plan[done + 1 : done + 2])

    @staticmethod
    def say(text: str) -> Say:
        return Say(speechlike(0.3), text)


def example(name: str) -> dict[str, Any]:
    """An example's keys; its words stay words."""
    read: dict[str, Any] = yaml.load((EXAMPLES / f"{name}.yaml").read_text(), yaml.BaseLoader)
    variables = dict.fromkeys(read.get("variables", {}))  # none of the examples' has a default
    return read | {"disclosure": False, "variables": variables}


def tools_of(call: Exchange) -> list[tuple[str, dict[str, Any]]]:
    """The tools that ran, and what they answered."""
    happened = call.events(SID)
    return [
        (each["name"], each["response"]) for each in happened if each["kind"] == "tool_finished"
    ]


def free_time() -> tuple[str, str]:
    """A half hour that the example's calendar has, and nobody has taken."""
    from agent.examples import calendar_tools as calendar

    days = (calendar.now().date() + timedelta(n) for n in range(1, 14))
    return next((str(day), times[0]) for day in days if (times := calendar.slots(day)))


async def test_the_booking_example_books_in_its_calendar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "office" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "office")
    day, at = free_time()
    plan = (
        Call("free_times", {}),
        Call("book", {"day": day, "at": at, "name": "Ada"}),
        Call("end_call", {}),
    )
    async with exchange(tmp_path, brain=lambda: Clerk(*plan), agent=example("booking")) as call:
        shutil.copy(EXAMPLES / "calendar_tools.py", tmp_path / "agents")
        await call.call(words(0.6), call_sid=SID, max_seconds=12.0)
        assert (await call.record(SID)).end_reason == "agent_hung_up"
        ran = dict(tools_of(call))
    assert list(ran) == ["free_times", "book", "end_call"]
    assert day in json.dumps(ran["free_times"])
    assert "Booked for Ada" in json.dumps(ran["book"])
    with closing(sqlite3.connect(tmp_path / "office" / "data" / "calendar.db")) as calendar:
        assert calendar.execute("SELECT day, at, name, number FROM appointments").fetchall() == [
            (day, at, "Ada", FROM)
        ]


async def test_the_front_desk_takes_a_message_and_says_goodbye(tmp_path: Path) -> None:
    plan = (
        Call(
            "take_message", {"message": "Call me about the bill.", "name": "Ada", "confirmed": True}
        ),
        Call("end_call", {}),
    )
    agent = example("front_desk")
    async with exchange(tmp_path, brain=lambda: Clerk(*plan), agent=agent) as call:
        await call.call(words(0.6), call_sid=SID, max_seconds=12.0)
        assert (await call.record(SID)).end_reason == "agent_hung_up"
        assert [name for name, _ in tools_of(call)] == ["take_message", "end_call"]
        with closing(sqlite3.connect(tmp_path / "data" / "pickup.db")) as database:
            assert database.execute("SELECT text FROM messages").fetchall() == [
                ("Call me about the bill.",)
            ]


async def test_the_reminder_calls_somebody_by_name(tmp_path: Path) -> None:
    agent = example("reminder")
    agent["outbound"] |= ANY_TIME
    given = {"name": "Ada", "day": "Monday", "time": "ten thirty"}
    async with office(tmp_path, agent=agent, CALLER_ID="") as caller:
        refused = await caller.order(variables={"name": "Ada"})
        assert refused[0] == 422
        assert "day, time" in json.dumps(refused[1])
        told = await caller.became(variables=given)
        assert told["reason"] == "caller_hung_up"
        (sid,) = caller.twilio.network.calls
        assert caller.twilio.network.calls[sid].report.heard
        (started,) = [
            each for each in caller.exchange.events(sid) if each["kind"] == "call_started"
        ]
        assert "Am I speaking with Ada?" in started["options"]["greeting"]


async def test_no_sound_is_kept_before_the_caller_was_told(tmp_path: Path) -> None:
    agent = {"consent": "This call is being recorded.", "recording": {"on": True}}
    async with exchange(tmp_path, agent=agent) as call:
        await call.call(
            words(1.0, interrupt_after_s=0.0), words(1.0), call_sid=SID, max_seconds=8.0
        )
        record = await call.record(SID)
        happened = call.events(SID)
    told = next(
        each["t"] for each in happened if any(do["kind"] == "keep_sound" for do in each["do"])
    )
    frames = [each for each in happened if each["kind"] == "line_audio"]
    kept = {each["t"] > told for each in frames if each["pcm"][0] is not None}
    assert kept == {True}
    assert any(each["t"] < told for each in frames)
    with wave.open(str(tmp_path / "data" / "calls" / record.id / "call.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    before = sound[: int((told - 0.05) * 8000)]
    assert not before.any()
    assert sound[len(before) :, 0].any()
    assert sound[len(before) :, 1].any()
