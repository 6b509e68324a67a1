"""Faults of the stand-in for Gemini Live that only a real socket shows."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agent.simulator.brain import BenchBrain
from agent.simulator.faults import parse
from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from tests.simulator.live_rig import setup_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=k"
RESUMABLE: dict[str, Any] = {"sessionResumption": {}}


@asynccontextmanager
async def standing(*faults: str, **conduct: Any) -> AsyncIterator[tuple[GeminiStandIn, str]]:
    made = Conduct(setup_seconds=0.0, faults=tuple(map(parse, faults)), **conduct)
    async with serving(Options(conduct=made), lambda: BenchBrain(0.2)) as (stand_in, origin):
        yield stand_in, origin.replace("http", "ws", 1) + PATH


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientConnection]:
    async with connect(
        url, proxy=None, ping_interval=None, close_timeout=0.1, max_size=4 << 20
    ) as socket:
        yield socket


async def ready(socket: ClientConnection, **fields: Any) -> None:
    await socket.send(json.dumps(setup_frame(**fields)))
    assert await socket.recv() == b'{"setupComplete":{}}'


async def test_a_session_limit_ends_the_session_and_its_handle_goes_on() -> None:
    async with standing(session_limit_seconds=0.4) as (stand_in, url):
        async with connected(url) as socket:
            await ready(socket, **RESUMABLE)
            began = time.monotonic()
            update = json.loads(await socket.recv())["sessionResumptionUpdate"]
            assert json.loads(await socket.recv()) == {"goAway": {"timeLeft": "0.1s"}}
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1011
            assert caught.value.rcvd.reason.startswith("Deadline expired")
            assert 0.35 < time.monotonic() - began < 0.9
        async with connected(url) as socket:
            await ready(socket, sessionResumption={"handle": update["newHandle"]})
        stats = stand_in.stats()
        assert (stats.opened, stats.resumed, stats.violation_count) == (2, 1, 0)


async def test_a_second_socket_is_refused_until_the_first_is_closed() -> None:
    async with standing() as (stand_in, url):
        async with connected(url) as socket:
            await ready(socket, **RESUMABLE)
            update = json.loads(await socket.recv())["sessionResumptionUpdate"]
            again: dict[str, Any] = {"sessionResumption": {"handle": update["newHandle"]}}
            async with connected(url) as other:
                await other.send(json.dumps(setup_frame(**again)))
                with pytest.raises(ConnectionClosed, match="Internal error"):
                    await other.recv()
        async with connected(url) as other:
            await ready(other, **again)
        assert [violation.rule for violation in stand_in.stats().violations] == ["handle_in_use"]


async def test_a_half_open_connection_neither_reads_nor_answers_pings() -> None:
    async with standing("half-open=0.4@0.05") as (stand_in, url), connected(url) as socket:
        await ready(socket)
        await asyncio.sleep(0.1)
        pong = asyncio.ensure_future(await socket.ping())
        for _ in range(50):
            await socket.send("{}")  # a breach, were it read
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pong), 0.1)
        assert stand_in.stats().violation_count == 0
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is None  # 1006
        with pytest.raises(ConnectionClosed):
            await pong


async def test_a_pong_comes_late_and_everything_else_in_time() -> None:
    async with standing("late-pong=0.3@0.02") as (_, url), connected(url) as socket:
        await ready(socket)
        await asyncio.sleep(0.06)
        asked = time.monotonic()
        pong = asyncio.ensure_future(await socket.ping())
        await socket.send(json.dumps({"realtimeInput": {"text": "Greet the caller."}}))
        await socket.recv()
        assert not pong.done()
        await pong
        assert 0.29 <= time.monotonic() - asked < 0.8
        unanswered = asyncio.ensure_future(await socket.ping())
        await socket.close()
        assert unanswered.done()


async def test_a_handshake_may_be_refused_or_hang() -> None:
    faults = ("handshake-refused@handshakex1", "handshake-hangs=0.2@handshakex1")
    async with standing(*faults) as (stand_in, url):
        with pytest.raises(InvalidStatus, match="503"):
            async with connected(url):
                pass
        asked = time.monotonic()
        async with connected(url) as socket:
            assert 0.2 <= time.monotonic() - asked < 0.8
            await ready(socket)
        async with connected(url) as socket:
            await ready(socket)
        assert stand_in.stats().opened == 2


async def test_frames_may_be_text_or_huge() -> None:
    async with standing("text-frame", "huge-frame=2") as (_, url), connected(url) as socket:
        await ready(socket)
        assert await socket.recv() == '{"usageMetadata": {"totalTokenCount": 1}}'
        assert len(await socket.recv()) > 2 << 20


async def test_a_fault_of_the_menu_may_be_let_loose_while_it_runs() -> None:
    async with standing() as (stand_in, url), connected(url) as socket:
        await ready(socket)
        origin = url.partition("/ws/")[0].replace("ws", "http", 1)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{origin}/control?fault=goaway%3D0.1") as answer:
                assert await answer.json() == {"sessions": 1}
            assert json.loads(await socket.recv()) == {"goAway": {"timeLeft": "0.1s"}}
            with pytest.raises(ConnectionClosed, match="Deadline expired"):
                await socket.recv()
            async with http.get(f"{origin}/stats") as answer:
                stats = await answer.json()
        assert stats["sessions"][0]["faults"] == ["goaway"]
        assert stats["utterances"]["missing"] == stats["tools"]["answered_twice"] == 0
        assert stand_in.stats().violation_count == 0
