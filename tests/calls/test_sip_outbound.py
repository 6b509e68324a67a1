"""Calls that we place by SIP: ordered over the API, rung at sipp, which is who is called and the judge."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr

from agent.config.settings import Settings
from agent.server.sip import prepared
from agent.simulator.brain import Call
from agent.simulator.caller import SPEECH
from agent.simulator.gemini_setup import Conduct
from agent.simulator.wav import read_phone_wav
from tests.calls.debian_baresip import called, needs_baresip
from tests.calls.exchange import exchange, within
from tests.calls.sip_serving import bare
from tests.calls.sipp_runner import callee, needs_sipp
from tests.calls.test_outbound import ANY_TIME, API_TOKEN, CALLEE, OURS, Caller
from tests.calls.test_sip import Operator, kinds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.calls.exchange import Exchange, Record
    from tests.calls.sipp_runner import Callee

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90), needs_sipp]

ONCE = ANY_TIME | {"attempts": 1, "ring_seconds": 5}
GOODBYE = Call("end_call", {})


class SipCaller(Caller):
    """Somebody who orders calls by SIP."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def call(self, there: Callee, **more: Any) -> dict[str, Any]:
        """Order a call to whoever waits there; what became of it, which must be as its scenario says."""
        told = await self.became(**({"to": f"sip:bob@{there.where}"} | more))
        verdict = await there.done
        assert verdict.good, verdict.told
        return told

    async def recorded(self, told: dict[str, Any]) -> Record:
        """The one record of an ordered call."""
        return await self.exchange.record(told["provider_call_id"])


@asynccontextmanager
async def office(
    folder: Path, tool: Call | None = None, agent: dict[str, Any] | None = None, **settings: str
) -> AsyncIterator[SipCaller]:
    where = prepared(Settings.load({"SIP_LISTEN": "127.0.0.1:0"})).sip_listen
    assert where is not None
    given = {
        "SIP_LISTEN": where,
        "CALL_SIP_HOSTS": "127.0.0.1",
        "CALL_COUNTRIES": "US",
        "API_TOKEN": API_TOKEN,
        "CALLS_PER_SECOND": "50",
        "CALLS_PER_NUMBER": "50",
    }
    environ: dict[str, Any] = given | settings
    described = {"outbound": ONCE} | (agent or {})
    conduct = Conduct(setup_seconds=0.02, model_delay_seconds=0.02, speed=50.0)
    async with exchange(
        folder, brain=lambda: Operator(tool), conduct=conduct, agent=described, **environ
    ) as running:
        yield SipCaller(running)


async def test_somebody_is_called_talks_and_hangs_up(tmp_path: Path) -> None:
    async with office(tmp_path) as caller, callee(tmp_path, "called") as there:
        told = await caller.call(there)
        record = await caller.recorded(told)
        assert (told["reason"], record.end_reason, record.legs) == (
            "caller_hung_up",
            "caller_hung_up",
            1,
        )
        events = caller.exchange.events(told["provider_call_id"])
        assert "caller_said" in kinds(events)
        assert "picked up" in str(events[0])  # the greeting is one for somebody who is called


@pytest.mark.parametrize(("codec", "rate"), [("0 PCMU", 8000), ("8 PCMA", 8000), ("9 G722", 16000)])
async def test_an_answer_that_comes_at_once_is_not_missed_nor_its_codec(
    tmp_path: Path, codec: str, rate: int
) -> None:
    number, name = codec.split()
    says = {"RTP/AVP 0": f"RTP/AVP {number}", "rtpmap:0 PCMU": f"rtpmap:{number} {name}"}
    async with (
        office(tmp_path, GOODBYE) as caller,
        callee(tmp_path, "called_at_once", says=says) as there,
    ):
        told = await caller.call(there)
        assert told["reason"] == "agent_hung_up"
        events = caller.exchange.events(told["provider_call_id"])
        (started,) = [entry for entry in events if entry.get("kind") == "line_started"]
        assert started.get("rate", 8000) == rate


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("486 Busy Here", "caller_busy"),
        ("600 Busy Everywhere", "caller_busy"),
        ("480 Temporarily Unavailable", "no_answer"),
        ("603 Decline", "declined"),
        ("404 Not Found", "invalid_number"),
        ("403 Forbidden", "carrier_refused"),
        ("503 Service Unavailable", "call_failed"),
    ],
)
async def test_how_a_call_is_not_taken(tmp_path: Path, status: str, reason: str) -> None:
    async with (
        office(tmp_path) as caller,
        callee(tmp_path, "called_refuses", says={"486 Busy Here": status}) as there,
    ):
        told = await caller.call(there)
        record = await caller.recorded(told)
        assert (told["reason"], record.end_reason, record.legs) == (reason, reason, 0)


async def test_a_call_that_nobody_takes_is_taken_back(tmp_path: Path) -> None:
    async with office(tmp_path) as caller, callee(tmp_path, "called_away") as there:
        assert (await caller.call(there))["reason"] == "no_answer"


RINGS = "  <send><![CDATA[\nSIP/2.0 180"
DEAF = '  <recv request="INVITE"/>\n  <recv request="INVITE"/>\n'
"""A callee who says nothing until he is asked for the third time, a second and a half later."""


@pytest.mark.parametrize("before", ["", DEAF], ids=["while it rings", "before it rings"])
async def test_a_call_that_nobody_wants_any_more_rings_no_longer(
    tmp_path: Path, before: str
) -> None:
    agent = {"outbound": ONCE | {"ring_seconds": 60, "attempts": 3}}
    async with (
        office(tmp_path, agent=agent) as caller,
        callee(tmp_path, "called_away", says={RINGS: before + RINGS}) as there,
    ):
        dial = await dialling(caller, f"sip:bob@{there.where}")
        assert dial.stderr is not None
        told = ""
        while "rings" not in told:
            told = (await dial.stderr.readline()).decode()
        dial.send_signal(signal.SIGINT)
        verdict = await there.done
        assert verdict.good, verdict.told
        assert "pickup: taken back" in (await dial.communicate())[1].decode()
        assert dial.returncode != 0
        ended = await caller.ended(told.split()[2])
        assert (ended["reason"], ended["tries"]) == ("cancelled", 1)
        assert (await caller.ask("DELETE", f"/api/calls/{ended['id']}"))[0] == 409


async def dialling(caller: SipCaller, address: str) -> asyncio.subprocess.Process:
    """`pickup dial` at work."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "dial", address, "--agent", "test"),
        *("--server", caller.exchange.url),
        env={**bare(), "API_TOKEN": API_TOKEN},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with office(tmp_path) as caller:
        told = await caller.became(to="sip:bob@127.0.0.1:9")
        assert told["reason"] in {"call_failed", "no_answer"}


async def test_a_number_is_called_by_a_trunk_that_asks_for_a_password(tmp_path: Path) -> None:
    async with callee(tmp_path, "called_by_trunk") as there:
        trunk: dict[str, Any] = {
            "SIP_TRUNK": there.where,
            "SIP_PASSWORD": "open sesame",
            "CALLER_ID": OURS,
        }
        async with office(tmp_path, GOODBYE, **trunk) as caller:
            told = await caller.call(there, to=CALLEE)
            assert told["reason"] == "agent_hung_up"


async def test_a_wrong_password_places_no_call(tmp_path: Path) -> None:
    async with callee(tmp_path, "called_by_trunk") as there:
        trunk: dict[str, Any] = {
            "SIP_TRUNK": there.where,
            "SIP_PASSWORD": "open barley",
            "CALLER_ID": OURS,
        }
        async with office(tmp_path, **trunk) as caller:
            told = await caller.became(to=CALLEE)
            assert told["reason"] == "carrier_refused"


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("sip:bob@elsewhere.example", "destination"),
        ("sip:+12025550143@127.0.0.1", "destination"),
        ("sip:bob@127.0.0.1;transport=tcp", "destination"),
        (CALLEE, "carrier"),
    ],
)
async def test_who_is_not_called(tmp_path: Path, to: str, why: str) -> None:
    async with office(tmp_path, agent={"outbound": ONCE | {"by": "sip"}}) as caller:
        _, told = await caller.order(to=to)
        assert told["error"]["why"] == why


async def test_the_server_stops_while_it_rings(tmp_path: Path) -> None:
    async with callee(tmp_path, "called_away") as there:
        async with office(tmp_path, agent={"outbound": ONCE | {"ring_seconds": 60}}) as caller:
            _, told = await caller.order(to=f"sip:bob@{there.where}")
            await caller.until(told["id"], lambda now: now["state"] == "placed")
            caller.exchange.building.drain()
            board = caller.exchange.building.switchboard
            assert board is not None
            await board.close()
            await within(5.0, lambda: there.done.done(), "it still rings")
        verdict = await there.done
        assert verdict.good, verdict.told


@needs_baresip
async def test_another_telephone_is_dialled_by_the_command_and_hears_words_and_keys(
    tmp_path: Path,
) -> None:
    rate = 16000
    said = np.zeros(6 * rate)
    words = soxr.resample(read_phone_wav(SPEECH / "caller_open.wav").astype(float), 8000, rate)
    said[rate:][: len(words)] = words
    keys = Call("send_digits", {"digits": "42w#"})
    agent = {"tools": ["end_call", "send_digits"]}
    async with (
        office(tmp_path, keys, agent) as caller,
        called(tmp_path / "phone", said, "g722", 9) as (where, done),
    ):
        dial = await dialling(caller, f"sip:caller@{where}")
        _, told = await asyncio.wait_for(dial.communicate(), 30)
        phone = await done
        assert (dial.returncode, told.decode().splitlines()[-1]) == (
            0,
            "pickup: ended: caller_hung_up",
        )
        assert re.findall(r"received event: '(.)' \(end=0\)", phone.told) == ["4", "2", "#"]
        assert phone.rate == rate
        blocks = phone.heard[: len(phone.heard) // 800 * 800].reshape(-1, 800)
        assert (np.sqrt((blocks**2).mean(axis=1)) > 300).sum() * 800 / rate > 0.8
