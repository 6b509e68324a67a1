"""A model that breaks off: the call goes on where that can help; where not, the caller hears one honest sentence."""

from __future__ import annotations

import asyncio
import re
import wave
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from agent.server.lines import SHIPPED
from agent.simulator import brain, faults
from agent.simulator.brain import BenchBrain
from agent.simulator.gemini_setup import Conduct
from agent.simulator.phone import Manners
from agent.simulator.report import AgentSpeaks, CallerSpeaks, Cleared, Ended
from tests.calls.exchange import FALLBACK, TONE_SECONDS, Exchange, Heard, exchange, within, words

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulator.ears import Utterance
    from agent.simulator.report import AnyCallEvent

CODES = (1000, 1006, 1007, 1008, 1011)
FOR_GOOD = tuple(f"close={code}:You exceeded your current quota." for code in CODES if code != 1006)
"""Closes after which trying again cannot help; 1006 has no close frame, so no reason either."""
TRANSFER = {"fallback_number": FALLBACK}
SLOW_SETUP = Conduct(setup_seconds=0.5, model_delay_seconds=0.02, speed=50.0)


def sid(n: int) -> str:
    return f"CA{n:032x}"


class Breaker:
    """Breaks the session of one call when the caller's `count`-th event of a kind comes.

    Args:
        session: the stand-in's number of it.
        fault: as `agent.simulator.faults` writes it; `times` over.
    """

    def __init__(
        self,
        here: Exchange,
        session: int,
        fault: str,
        moment: tuple[type[Any], int],
        times: int = 1,
    ) -> None:
        self._here = here
        self._session = session
        self._faults = [faults.parse(fault)] * times
        self._kind, self._left = moment

    def __call__(self, event: AnyCallEvent) -> None:
        if isinstance(event, self._kind):
            self._left -= 1
            if self._left == 0:
                for fault in self._faults:
                    self._here.gemini.inject(fault, self._session)


async def placed(here: Exchange, n: int, *how: Any, **options: Any) -> asyncio.Task[Heard]:
    """Place call `n` (from 0) and wait until its session is open, so that the session's number is n + 1."""
    watch = Breaker(here, n + 1, *how) if how else None
    # Every stream starts when all sessions are open: a session that is replaced takes a number too.
    given: dict[str, Any] = {"utterances": (words(0.3), words(0.3)), "start_delay_s": 0.6}
    call = here.call(call_sid=sid(n), on_event=watch, **(given | options))
    task = asyncio.ensure_future(call)
    await within(5.0, lambda: here.opened == n + 1, "no session was opened")
    return task


MOMENTS: dict[str, tuple[type[Any], int]] = {
    "the greeting is heard": (AgentSpeaks, 1),
    "the caller speaks": (CallerSpeaks, 1),
    "the answer is heard": (AgentSpeaks, 2),
}
EARLIEST, *LATER = MOMENTS


@pytest.mark.parametrize(
    "moment", [EARLIEST, *(pytest.param(each, marks=pytest.mark.slow) for each in LATER)]
)
async def test_a_session_that_is_gone_for_good_is_told_to_the_caller_and_the_call_ends(
    tmp_path: Path, moment: str
) -> None:
    async with exchange(tmp_path, brain=lambda: BenchBrain(0.6, 0.3)) as here:
        calls = [await placed(here, n, fault, MOMENTS[moment]) for n, fault in enumerate(FOR_GOOD)]
        for n, call in enumerate(calls):
            heard = await call
            assert heard.report.ended is Ended.AGENT_HUNG_UP, FOR_GOOD[n]
            assert heard.tone("trouble") == pytest.approx(TONE_SECONDS, abs=0.05), FOR_GOOD[n]
            assert heard.report.said == [], FOR_GOOD[n]
            record = await here.record(sid(n))
            assert (record.end_reason, record.legs) == ("model_lost", 1), FOR_GOOD[n]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("moment", ["the greeting is heard", "the caller speaks"])
async def test_a_session_that_closes_is_replaced_and_the_conversation_goes_on(
    tmp_path: Path, moment: str
) -> None:
    async with exchange(tmp_path, brain=lambda: BenchBrain(0.6, 0.3)) as here:
        # Two sentences that are not alike: the stand-in knows it when what was answered comes again.
        said = (words(2.2, clip="caller_open"), words(1.6, clip="caller_park"))
        how: dict[str, Any] = {"utterances": said, "max_seconds": 12.0}
        closes = [f"close={code}" for code in CODES]
        calls = [
            await placed(here, n, close, MOMENTS[moment], **how) for n, close in enumerate(closes)
        ]
        for n, call in enumerate(calls):
            heard = await call
            assert heard.report.ended is Ended.CALLER_HUNG_UP, CODES[n]
            assert heard.codes == [1000], CODES[n]
            assert heard.tone("trouble") == 0, CODES[n]
            assert len(heard.report.spoken) == 2, CODES[n]
            last = heard.report.spoken[-1].end_s
            assert heard.report.heard[-1].end_s > last + 0.5, CODES[
                n
            ]  # what was asked last is answered
            assert (await here.record(sid(n))).end_reason == "caller_hung_up", CODES[n]
        assert here.opened >= 2 * len(CODES)


@pytest.mark.parametrize(
    ("agent", "ended", "said"),
    [({}, Ended.REJECTED, 1), (TRANSFER, Ended.TRANSFERRED, 0)],
    ids=["goodbye", "transfer"],
)
async def test_a_session_that_is_gone_for_good_while_it_rings_is_told_by_the_webhook(
    tmp_path: Path, agent: dict[str, Any], ended: Ended, said: int
) -> None:
    async with exchange(tmp_path, conduct=SLOW_SETUP, agent=agent) as here:
        calls = []
        for n, fault in enumerate(FOR_GOOD):
            calls.append(await placed(here, n))
            here.gemini.inject(faults.parse(fault), n + 1)
        for n, call in enumerate(calls):
            heard = await call
            assert heard.report.ended is ended, FOR_GOOD[n]
            assert len(heard.report.said) == said, FOR_GOOD[n]
            # A quota that is used up (1011) is told as what it is, also to those who ring beside it: no room just now.
            why = ("busy",) if "1011" in FOR_GOOD[n] else ("sorry", "busy")
            assert all(any(word in text for word in why) for text in heard.report.said)
            assert heard.codes == []
            assert (await here.record(sid(n))).end_reason == "model_lost", FOR_GOOD[n]


async def test_with_a_fallback_number_the_caller_is_put_through(tmp_path: Path) -> None:
    async with exchange(tmp_path, agent=TRANSFER) as here:
        call = await placed(here, 0, FOR_GOOD[0], (AgentSpeaks, 1))
        heard = await call
        assert heard.report.ended is Ended.TRANSFERRED
        assert heard.tone("put_through") == pytest.approx(TONE_SECONDS, abs=0.05)
        assert heard.tone("trouble") == 0  # nobody is asked to call again
        assert (await here.record(sid(0))).end_reason == "model_lost"
        _, twiml = await here.post("/twilio/after", sid(0))
        assert re.search(rf"<Dial[^>]*><Number>{re.escape(FALLBACK)}</Number></Dial>", twiml)


@pytest.mark.parametrize(
    ("answer_within", "legs"), [("0.1", 1), pytest.param("5", 0, marks=pytest.mark.slow)]
)
async def test_a_setup_that_is_never_answered_ends_honestly(
    tmp_path: Path, answer_within: str, legs: int
) -> None:
    never = faults.parse("no_setup")
    with patch("agent.protocols.gemini.session.SETUP_SECONDS", 0.2):
        async with exchange(tmp_path, faults=(never,), ANSWER_WITHIN=answer_within) as here:
            heard = await here.call(call_sid=sid(0))
            if legs:  # it was answered before: our own voice speaks
                assert heard.tone("trouble") == pytest.approx(TONE_SECONDS, abs=0.05)
            else:
                assert "sorry" in heard.report.said[0]
            record = await here.record(sid(0))
            assert (record.end_reason, record.legs) == ("model_lost", legs)


class Goodbye(BenchBrain):
    """Answers whatever is said with a goodbye, and ends the call."""

    def heard(self, utterance: Utterance) -> brain.Heard:
        text, reply = super().heard(utterance)
        return brain.Heard(text, (*reply, brain.Call("end_call", {})))


async def close_in_the_goodbye(here: Exchange, session: int, code: int) -> None:
    """Break a session when its `end_call` is answered: all of the goodbye is sent then, and most of it is still to be heard."""

    def ended() -> bool:
        records = [each for each in here.gemini.stats().sessions if each.session == session]
        return any(moment.what == "tool_result" for moment in records[0].moments)

    await within(10.0, ended, f"session {session} does not end its call")
    assert here.gemini.inject(faults.parse(f"close={code}"), session) == 1


@pytest.mark.slow
async def test_a_goodbye_is_heard_to_its_end_although_the_session_closes_in_it(
    tmp_path: Path,
) -> None:
    # One thing is said, and nobody hangs up but the agent: a slow machine's caller would speak into the goodbye.
    how: dict[str, Any] = {
        "utterances": (words(0.3),),
        "manners": Manners(quiet_s=0.2, patience_s=0.6, hang_up_after_s=None),
        "max_seconds": 12.0,
    }
    async with exchange(tmp_path, brain=lambda: Goodbye(2.0, 0.3)) as here:
        calls = [await placed(here, n, **how) for n in range(len(CODES))]
        await asyncio.gather(
            *(close_in_the_goodbye(here, n + 1, code) for n, code in enumerate(CODES))
        )
        for n, call in enumerate(calls):
            heard = await call
            assert heard.report.ended is Ended.AGENT_HUNG_UP, CODES[n]
            assert heard.report.heard[-1].heard_ms >= 1990, CODES[n]
            assert heard.tone("trouble") == 0, CODES[n]
            assert (await here.record(sid(n))).end_reason == "agent_hung_up", CODES[n]


@pytest.mark.slow
async def test_our_own_sentence_is_heard_to_its_end_before_the_line_is_closed(
    tmp_path: Path,
) -> None:
    """The sentence as it is delivered: what Pickup is judged by on its worst day."""
    async with exchange(tmp_path, tones=False) as here:
        call = await placed(here, 0, FOR_GOOD[0], (AgentSpeaks, 1), max_seconds=9.0)
        heard = await call
        with wave.open(str(SHIPPED / "trouble.en.wav")) as sentence:
            seconds = sentence.getnframes() / sentence.getframerate()
        assert heard.report.ended is Ended.AGENT_HUNG_UP
        assert heard.report.underruns == []
        told = heard.report.heard[-1].end_s - heard.report.heard[0].start_s
        assert seconds - 0.2 < told < seconds + 1.0
        await here.record(sid(0))  # the transcript is written before it is closed
        (turn,) = (line for line in here.transcript(sid(0)) if "sorry" in line["text"])
        assert turn["who"] == "pickup"


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_model_that_cannot_be_reached_is_given_up_within_ten_seconds(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path, GEMINI_URL="ws://127.0.0.1:9") as here:
        stays = Manners(hang_up_after_s=None)
        heard = await here.call(call_sid=sid(0), max_seconds=30.0, manners=stays)
        assert heard.report.ended is Ended.AGENT_HUNG_UP
        assert heard.report.seconds < 12.5
        assert heard.tone("trouble") == pytest.approx(TONE_SECONDS, abs=0.05)
        assert (await here.record(sid(0))).end_reason == "model_lost"


@pytest.mark.slow
@pytest.mark.parametrize(("times", "sessions"), [(1, 1), (5, 2)])
async def test_malformed_frames_are_skipped_or_mean_another_session(
    tmp_path: Path, times: int, sessions: int
) -> None:
    async with exchange(tmp_path) as here:
        heard = await (await placed(here, 0, "malformed", (AgentSpeaks, 1), times))
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert len(heard.report.heard) >= 2  # the greeting, and answers as if nothing had been
        assert here.opened == sessions
        assert (await here.record(sid(0))).end_reason == "caller_hung_up"


@pytest.mark.slow
async def test_an_empty_turn_is_silence_and_the_next_question_is_answered(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        call = await placed(here, 0, "empty_turn", (CallerSpeaks, 1))
        heard = await call
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert [spoken.n for spoken in heard.report.spoken] == [1, 2]
        first, second = heard.report.spoken
        answers = [start.start_s for start in heard.report.heard if start.start_s > first.end_s]
        assert len(answers) == 1
        assert answers[0] > second.end_s
        assert (await here.record(sid(0))).end_reason == "caller_hung_up"


@pytest.mark.slow
async def test_audio_after_interrupted_is_never_heard(tmp_path: Path) -> None:
    late = faults.parse("late_audio")
    conduct = Conduct(setup_seconds=0.02, model_delay_seconds=0.02, speed=2.0)
    async with exchange(
        tmp_path, brain=lambda: BenchBrain(3.0, 0.3), conduct=conduct, faults=(late,)
    ) as here:
        cleared: list[AnyCallEvent] = []
        heard = await here.call(
            words(0.3),
            words(0.4, interrupt_after_s=0.5),
            call_sid=sid(0),
            on_event=lambda event: cleared.append(event) if isinstance(event, Cleared) else None,
            max_seconds=4.5,
        )
        assert len(cleared) >= 1
        assert [clear.stale_ms for clear in heard.report.clears] == [0.0] * len(cleared)
        (session,) = here.gemini.stats().sessions
        assert session.interruptions >= 1
        assert session.audio_out_ms > sum(part.heard_ms for part in heard.report.heard)
        assert (await here.record(sid(0))).end_reason == "caller_hung_up"
