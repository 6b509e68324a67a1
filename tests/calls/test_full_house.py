"""More callers than slots, webhooks that come twice, and a server that is told to stop: who is on the line stays on it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import aiohttp
import pytest

from agent.simulator.brain import BenchBrain
from agent.simulator.gemini_setup import Conduct
from agent.simulator.phone import Manners
from agent.simulator.report import AgentSpeaks, Ended
from tests.calls.exchange import TONE_SECONDS, Exchange, exchange, token_of, within, words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.simulator.report import AnyCallEvent

FIRST, SECOND, THIRD = ("CA" + digit * 32 for digit in "123")


@pytest.mark.slow
async def test_above_the_limit_a_caller_hears_that_the_lines_are_busy(tmp_path: Path) -> None:
    async with exchange(tmp_path, MAX_CALLS="1") as here:
        token = await here.ring(FIRST)
        refused = await here.call(call_sid=SECOND)
        assert refused.report.ended is Ended.REJECTED
        assert "busy" in refused.report.said[0]
        assert refused.report.twiml_ms is not None
        assert refused.report.twiml_ms < 1000
        assert here.opened == 1
        assert here.rows(SECOND) == []  # a caller who was never taken is a counter, not a call
        assert await here.metric('pickup_refused_total{why="busy"}') == 1
        heard = await here.dial(FIRST, token, max_seconds=0.6, status_path="/twilio/status")
        assert heard.report.heard
        await here.record(FIRST)
        again = await here.call(call_sid=SECOND, max_seconds=0.6)  # the slot is free now
        assert again.report.heard


@pytest.mark.slow
async def test_a_webhook_that_comes_again_gets_the_same_answer_and_no_second_session(
    tmp_path: Path,
) -> None:
    conduct = Conduct(setup_seconds=0.3, speed=50.0)
    async with exchange(tmp_path, conduct=conduct) as here:
        held = await asyncio.gather(*(here.post("/twilio/voice", FIRST) for _ in range(5)))
        later = await here.post("/twilio/voice", FIRST)
        assert {*held, later} == {(200, later[1])}
        assert here.opened == 1
        heard = await here.dial(FIRST, token_of(later[1]), max_seconds=0.6)
        assert heard.report.heard
        status, _ = await here.post("/twilio/status", FIRST, CallStatus="completed")
        assert status == 204
        assert (await here.record(FIRST)).end_reason == "caller_hung_up"
        for path in ("/twilio/voice", "/twilio/after"):  # late copies of what is long over
            assert "<Hangup" in (await here.post(path, FIRST))[1]
        assert here.opened == 1


async def test_a_caller_who_hangs_up_while_it_rings_leaves_nothing_behind(tmp_path: Path) -> None:
    conduct = Conduct(setup_seconds=1.5)
    async with exchange(tmp_path, conduct=conduct) as here:
        ringing = asyncio.ensure_future(here.post("/twilio/voice", FIRST))
        await within(2.0, lambda: here.opened, "no session was opened")
        await here.post("/twilio/status", FIRST, CallStatus="canceled")
        assert "<Hangup" in (await ringing)[1]
        assert (await here.record(FIRST)).end_reason == "caller_hung_up"
        await here.settle()  # the session too, before it was ever ready


async def test_a_status_that_comes_late_or_twice_changes_nothing(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        await here.call(call_sid=FIRST, max_seconds=0.5)
        record = await here.record(FIRST)
        for status in ("completed", "failed", "in-progress", "nonsense"):
            assert (await here.post("/twilio/status", FIRST, CallStatus=status))[0] == 204
        assert (await here.post("/twilio/status", SECOND, CallStatus="completed"))[0] == 204
        assert here.rows(FIRST) == [record]
        assert here.rows(SECOND) == []


@pytest.mark.slow
async def test_a_server_that_drains_refuses_in_speech_and_keeps_who_it_has(tmp_path: Path) -> None:
    async with exchange(tmp_path, brain=lambda: BenchBrain(0.8, 0.4)) as here:
        token = await here.ring(SECOND)  # holds a slot; its stream comes later

        def drain(event: AnyCallEvent) -> None:
            if isinstance(event, AgentSpeaks) and not here.server.should_exit:
                here.building.drain()

        talking = asyncio.ensure_future(
            here.call(words(0.3), call_sid=FIRST, on_event=drain, max_seconds=2.2)
        )
        await asyncio.sleep(0.5)
        assert await ready(here) == 503
        refused = await here.call(call_sid=THIRD)
        assert refused.report.ended is Ended.REJECTED
        assert len(refused.report.said) == 1
        assert here.opened == 2
        assert await here.metric('pickup_refused_total{why="draining"}') == 1
        joined = await here.dial(SECOND, token, max_seconds=0.7, status_path="/twilio/status")
        assert joined.report.heard
        heard = await talking
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert heard.codes == [1000]
        assert len(heard.report.heard) == 2  # the greeting before, the answer after
        assert (await here.record(FIRST)).end_reason == "caller_hung_up"


async def test_the_first_signal_ends_no_call_and_the_server_goes_when_the_last_has(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path) as here:
        heard = await here.call(call_sid=FIRST, on_event=signals(here, 1), max_seconds=0.9)
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        async with asyncio.timeout(3.0):
            while not here.server.should_exit:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
        assert here.rows(FIRST)[0].end_reason == "caller_hung_up"


async def test_the_second_signal_ends_every_call_now(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        heard = await here.call(
            call_sid=FIRST, on_event=signals(here, 2), max_seconds=3.0, status_path=None
        )
        assert heard.report.seconds < 2.5
        assert heard.report.ended in {Ended.AGENT_HUNG_UP, Ended.WEBHOOK_FAILED}
    assert here.rows(FIRST)[0].end_reason == "server_stopped"


def signals(here: Exchange, count: int) -> Callable[[AnyCallEvent], None]:
    """What sends the process so many signals, the first time the agent is heard."""
    left = [count]

    def send(event: AnyCallEvent) -> None:
        while isinstance(event, AgentSpeaks) and left[0]:
            left[0] -= 1
            here.server.handle_exit(signal.SIGTERM, None)

    return send


async def ready(here: Exchange) -> int:
    """What `/readyz` answers."""
    async with aiohttp.ClientSession() as http, http.get(here.url + "/readyz") as answer:
        return answer.status


@pytest.mark.slow
@pytest.mark.timeout(40)
async def test_at_the_time_limit_the_caller_is_told_and_the_call_ends(tmp_path: Path) -> None:
    talkative = Manners(quiet_s=0.2, repeat=True)
    async with exchange(tmp_path, MAX_CALL_SECONDS="10") as here:
        heard = await here.call(
            words(0.5), call_sid=FIRST, manners=talkative, max_seconds=20.0, status_path=None
        )
        assert heard.report.ended is Ended.AGENT_HUNG_UP
        assert 9.9 < heard.report.seconds < 12.0
        assert heard.tone("time_limit") == pytest.approx(TONE_SECONDS, abs=0.05)
        assert (await here.record(FIRST)).end_reason == "time_limit"


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_while_the_database_is_locked_calls_go_on_and_their_records_follow(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path, database_seconds=0.2) as here:
        with closing(sqlite3.connect(here.folder / "pickup.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            heard = await here.call(words(0.3), call_sid=FIRST)
            assert heard.report.ended is Ended.CALLER_HUNG_UP
            assert heard.report.twiml_ms is not None
            assert heard.report.twiml_ms < 2000
            assert len(heard.report.heard) == 2
            assert here.rows(FIRST) == []
            other.execute("ROLLBACK")
        assert (await here.record(FIRST, 25.0)).end_reason == "caller_hung_up"
