"""Silence on whole calls: whatever keeps the agent from speaking, the caller hears something in time, and the conversation goes on.

All troubles side by side, each on a call of its own; every silence has its delivered length, but for the silent caller's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import msgspec
import pytest

from agent.call.dead_air import DeadAirOptions
from agent.server.wiring import Wiring
from agent.simulator import faults
from agent.simulator.brain import BenchBrain, Call, Heard as Understood, Say
from agent.simulator.gemini_setup import Conduct
from agent.simulator.phone import Manners
from agent.simulator.report import AgentSpeaks, CallerSpeaks, Ended
from agent.tools.base import Answer, CallInfo, Declaration
from tests.calls.exchange import TONE_SECONDS, Exchange, Heard, exchange, within, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from agent.call.options import CallOptions
    from agent.config.agent_file import AgentFile
    from agent.simulator.brain import Reply
    from agent.simulator.ears import Utterance as Sound
    from agent.simulator.phone import Utterance
    from agent.simulator.report import AnyCallEvent
    from agent.tools.base import Tool

NUDGE = DeadAirOptions().words
LONG = 2.6
"""Seconds of speech after which this agent looks something up."""
SLOW = 5.0
"""Seconds that it takes it."""
REPLY = 1.5


class Clerk(BenchBrain):
    """Answers; looks something up first where the question was a long one."""

    def __init__(self) -> None:
        super().__init__(REPLY, 0.8)

    def heard(self, utterance: Sound) -> Understood:
        text, reply = super().heard(utterance)
        return Understood(text, (Call("look_up", {}),) if utterance.seconds > LONG else reply)

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        return (Say(self._reply.pcm, "It says here."),)


class LookUp:
    """A tool that takes its time."""

    declaration = Declaration("look_up", "Look something up.")

    async def run(self, args: dict[str, Any]) -> Answer:
        await asyncio.sleep(SLOW)
        return Answer({"result": "found"})


SPEAKS, SPEAKS_AGAIN = (CallerSpeaks, 1), (AgentSpeaks, 2)


class Trouble(NamedTuple):
    """What goes wrong with one call, and what its caller may notice.

    Attributes:
        wrong: faults of the session.
        first: seconds from the end of the caller's words to the first sound, about.
        reply: likewise to the last part of an answer of the model's.
        moments: how often the caller is told that it takes a moment.
        sessions: that there were.
        nudges: written messages that asked for an answer.
        cause: of the dead air, where it was longer than a usual wait.
        when: the faults are armed as soon as the caller sees so many events of this kind.
        says: what the caller says.
    """

    wrong: tuple[str, ...]
    first: float
    reply: float
    moments: int = 0
    sessions: int = 1
    nudges: int = 0
    cause: str = ""
    when: tuple[type[Any], int] = SPEAKS
    says: Utterance | None = None


BUSY = 3.5
"""Seconds that a sound may come late where other tests keep the machine busy."""


TROUBLES: dict[str, Trouble] = {
    "an utterance that is never answered": Trouble(
        ("no-reply",), 4.0, 4.0, nudges=1, cause="model_silent"
    ),
    "and a nudge that is not heard": Trouble(
        ("no-reply", "deaf"), 6.0, 6.0, nudges=1, cause="model_silent"
    ),
    "an empty turn": Trouble(("empty-turn",), 1.0, 1.0, nudges=1),
    "a reply of silence": Trouble(("silent-reply",), 2.0, 2.0, nudges=1, cause="empty_turn"),
    "words that left no trace": Trouble(
        ("unheard",), 2.5, 5.0, 1, sessions=2, nudges=0, cause="no_sign"
    ),
    "a reply that pauses": Trouble(("stall=4",), 0.2, 4.0, 1, cause="stall", when=SPEAKS_AGAIN),
    "a reply that does not go on": Trouble(
        ("stall=60",), 0.2, 8.0, 1, sessions=2, cause="stall", when=SPEAKS_AGAIN
    ),
    "an interruption that nobody made": Trouble(
        ("phantom-interrupted",), 0.2, 2.0, nudges=1, when=SPEAKS_AGAIN
    ),
    "a tool that takes its time": Trouble((), 3.0, SLOW, 1, cause="tool", says=words(LONG + 0.6)),
}


def sid(n: int) -> str:
    return f"CA{n:032x}"


@asynccontextmanager
async def impatient(tmp_path: Path, **silences: float) -> AsyncIterator[Exchange]:
    """An exchange whose agent has the slow tool; `silences` in place of the delivered ones."""
    options = Wiring.options

    def other(wiring: Wiring, agent: AgentFile, info: CallInfo | None = None) -> CallOptions:
        given = options(wiring, agent, info)
        air = msgspec.structs.replace(given.dead_air, **silences)
        return msgspec.structs.replace(given, dead_air=air)

    async def tools(*_: object) -> Sequence[Tool]:
        return [LookUp()]

    conduct = Conduct(setup_seconds=0.3, model_delay_seconds=0.7, speed=2.0)
    with patch.object(Wiring, "tools", tools), patch.object(Wiring, "options", other):
        async with exchange(tmp_path, brain=Clerk, conduct=conduct) as here:
            yield here


async def placed(here: Exchange, n: int, trouble: Trouble) -> asyncio.Task[Heard]:
    """Place call `n`, whose session is the stand-in's number n + 1."""
    kind, left = trouble.when

    def watch(event: AnyCallEvent) -> None:
        nonlocal left
        left -= isinstance(event, kind)
        if isinstance(event, kind) and left == 0:
            for each in trouble.wrong:
                assert here.gemini.inject(faults.parse(each), n + 1) == 1

    call = here.call(
        trouble.says or words(1.4),
        call_sid=sid(n),
        on_event=watch,
        max_seconds=30.0,
        start_delay_s=1.5,  # every session is open before the first stream is
        manners=Manners(quiet_s=0.3, patience_s=1.5, hang_up_after_s=9.5),
    )
    task = asyncio.ensure_future(call)
    await within(5.0, lambda: here.opened == n + 1, "no session was opened")
    return task


def dead_air(here: Exchange, n: int) -> dict[str, float]:
    with closing(sqlite3.connect(here.folder / "pickup.db")) as database:
        ((metrics,),) = database.execute(
            "SELECT metrics FROM calls WHERE provider_call_id = ?", (sid(n),)
        ).fetchall()
    seconds: dict[str, float] = msgspec.json.decode(metrics)["dead_air"]
    return {cause: each for cause, each in seconds.items() if each}


def complaints(here: Exchange, n: int, name: str, heard: Heard) -> list[str]:
    """What was otherwise than it should be on call `n`."""
    trouble = TROUBLES[name]
    (spoken,) = heard.report.spoken
    after = [part for part in heard.report.heard if part.start_s > spoken.end_s]
    waits = [part.start_s - spoken.end_s for part in after]
    commands = [each for entry in here.events(sid(n)) for each in entry["do"]]
    seen = {
        "ended": heard.report.ended is Ended.CALLER_HUNG_UP,
        "first": trouble.first - 0.1 <= waits[0] <= trouble.first + BUSY,
        "reply": trouble.reply <= waits[-1] <= trouble.reply + BUSY,
        "answered": sum(part.heard_ms for part in after) > 750 + trouble.moments * 400,
        "nudges": [each.get("text") for each in commands].count(NUDGE) == trouble.nudges,
        "sessions": [each["kind"] for each in commands].count("open_model") == trouble.sessions,
        "cause": not trouble.cause or trouble.cause in dead_air(here, n),
    }
    for tone, times in {"moment": trouble.moments, "repeat": 0, "trouble": 0}.items():
        seen[tone] = abs(heard.tone(tone) - times * TONE_SECONDS) <= 0.05
    silences = {cause: round(each, 1) for cause, each in dead_air(here, n).items()}
    sounds = [(round(part.start_s - spoken.end_s, 2), round(part.heard_ms)) for part in after]
    told = f"{name}: heard {sounds}, dead air {silences}"
    print(told)
    return [f"{told}: {what}" for what, good in seen.items() if not good]


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(120)
async def test_whatever_keeps_the_agent_silent_the_caller_is_answered(tmp_path: Path) -> None:
    async with impatient(tmp_path) as here:
        calls = [await placed(here, n, trouble) for n, trouble in enumerate(TROUBLES.values())]
        heard = await asyncio.gather(*calls)
        found = []
        for n, name in enumerate(TROUBLES):
            await here.record(sid(n))
            found += complaints(here, n, name, heard[n])
        assert found == []


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(60)
async def test_a_silent_caller_is_asked_twice_and_then_told_goodbye(tmp_path: Path) -> None:
    async with impatient(tmp_path, caller=2.0, caller_again=1.5) as here:
        stays = Manners(hang_up_after_s=None)
        heard = await here.call(call_sid=sid(0), max_seconds=20.0, manners=stays)
        assert heard.report.ended is Ended.AGENT_HUNG_UP
        assert heard.tone("still_there") == pytest.approx(2 * TONE_SECONDS, abs=0.05)
        assert heard.tone("unheard") == pytest.approx(TONE_SECONDS, abs=0.05)
        greeting, first, second, last = heard.report.heard
        assert first.start_s - greeting.end_s == pytest.approx(2.0, abs=0.3)
        assert second.start_s - first.end_s == pytest.approx(1.5, abs=0.3)
        assert last.start_s - second.end_s == pytest.approx(1.5, abs=0.3)
        assert (await here.record(sid(0))).end_reason == "caller_silent"
