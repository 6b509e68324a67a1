"""A phone line that misbehaves: the call goes on or ends as it should, and has one record that says which."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.simulator.bad_line import FAULTS
from agent.simulator.phone import Manners
from agent.simulator.report import Ended
from tests.calls.exchange import Exchange, Heard, exchange, within, words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SID = "CA" + "1" * 32


HARMLESS = (
    "media-before-start",
    "bad-base64",
    "file-header",
    "unknown-event",
    "not-json",
    "binary-frame",
    "out-of-order",
)
FATAL = {"two-starts": 1008, "huge-frame": 1009, "reset": 1006}
"""Faults of one stream, and how its socket is closed. The other two, `no-start` and `no-stop`, have tests of their own."""


async def each(here: Exchange, faults: Iterable[str], seconds: float) -> dict[str, Heard]:
    """One call with each fault, all at once; each call's CallSid ends in its number."""
    names = list(faults)
    calls = [
        here.call(call_sid=sid(n), fault=fault, max_seconds=seconds)
        for n, fault in enumerate(names)
    ]
    return dict(zip(names, await asyncio.gather(*calls), strict=True))


def sid(n: int) -> str:
    return f"CA{n:032x}"


def test_every_fault_of_a_line_has_its_test() -> None:
    assert {*HARMLESS, *FATAL, "no-start", "no-stop"} == set(FAULTS)


@pytest.mark.slow
async def test_what_carries_no_sound_is_left_out_and_the_call_goes_on(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        for n, (fault, heard) in enumerate((await each(here, HARMLESS, 1.5)).items()):
            assert heard.report.ended is Ended.CALLER_HUNG_UP, fault
            assert heard.codes == [1000], fault
            assert heard.report.heard[0].heard_ms >= 380, fault  # all of the greeting
            record = await here.record(sid(n))
            assert (record.end_reason, record.legs) == ("caller_hung_up", 1), fault
            # The caller's time line has no hole: sound that cannot be read is silence.
            frames = [line for line in here.events(sid(n)) if line["kind"] == "line_audio"]
            assert len(frames) == pytest.approx(heard.report.legs[0].frames_sent, abs=2), fault


@pytest.mark.slow
async def test_a_stream_that_cannot_go_on_is_closed_and_the_caller_is_taken_back(
    tmp_path: Path,
) -> None:
    """The fault is in every stream of the call, so each one breaks in its turn: three times the caller is taken back."""
    async with exchange(tmp_path) as here:
        for n, (fault, heard) in enumerate((await each(here, FATAL, 15.0)).items()):
            assert heard.codes == [FATAL[fault]] * 4, fault
            assert len(heard.report.said) == 1 and "sorry" in heard.report.said[0], fault
            record = await here.record(sid(n))
            assert (record.end_reason, record.legs) == ("line_lost", 4), fault
        assert here.opened == len(FATAL)  # one session each, for all its streams


@pytest.mark.slow
async def test_a_caller_who_is_gone_without_stop_has_hung_up_once_twilio_says_so(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path) as here:
        heard = await here.call(call_sid=SID, fault="no-stop", max_seconds=0.6)
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert (await here.record(SID)).end_reason == "caller_hung_up"


@pytest.mark.slow
async def test_a_conversation_goes_on_where_it_was_when_the_line_comes_back(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        heard = await here.call(words(0.3), call_sid=SID, fault="reset@0.5x1")
        assert heard.codes == [1006, 1000]
        # The greeting on the first stream; the question on the second, and its answer.
        assert [spoken.n for spoken in heard.report.spoken] == [1]
        assert len(heard.report.heard) == 2
        assert here.opened == 1
        assert (await here.record(SID)).legs == 2


@pytest.mark.slow
async def test_a_stream_without_start_is_closed_after_five_seconds(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        token = await here.ring(SID)
        stays = Manners(hang_up_after_s=None)
        heard = await here.dial(SID, token, fault="no-start", manners=stays, max_seconds=9.0)
        assert heard.codes == [1008]
        assert 4.9 < heard.report.seconds < 6.0
        assert (
            here.rows(SID)[0].ended_at is None
        )  # its slot is kept: the true stream may still come
        heard = await here.dial(SID, token, max_seconds=0.6)
        assert heard.report.heard
        await hung_up(here, SID)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_call_that_nobody_brings_back_is_closed_as_lost(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        await here.call(call_sid=SID, fault="no-stop", max_seconds=0.6, status_path=None)
        await within(15.0, lambda: here.rows(SID)[0].ended_at, "the parked call is never given up")
        assert (await here.record(SID)).end_reason == "line_lost"


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_webhook_whose_stream_never_comes_gives_its_slot_back(tmp_path: Path) -> None:
    async with exchange(tmp_path, MAX_CALLS="1") as here:
        await here.ring(SID)
        await within(30.0, lambda: here.building.active == 0, "the slot is never given back")
        assert (await here.record(SID)).end_reason == "no_start"
        assert await here.ring("CA" + "2" * 32)
        await hung_up(here, "CA" + "2" * 32)


async def hung_up(here: Exchange, call_sid: str) -> None:
    """Twilio says that the call is over."""
    await here.post("/twilio/status", call_sid, CallStatus="completed")
    await here.record(call_sid)
