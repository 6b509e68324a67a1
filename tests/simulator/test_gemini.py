"""The stand-in for Gemini Live over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from agent.errors import UserError
from agent.simulator.brain import BenchBrain, speechlike
from agent.simulator.faults import parse
from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from tests.simulator.live_rig import setup_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "/ws/google.ai.generativelanguage.{}.GenerativeService.BidiGenerateContent"
TEXT = {"realtimeInput": {"text": "Greet the caller."}}


@asynccontextmanager
async def standing(**conduct: Any) -> AsyncIterator[tuple[GeminiStandIn, str]]:
    brain = BenchBrain(0.2)
    options = Options(
        conduct=Conduct(**({"setup_seconds": 0.0, "model_delay_seconds": 0.0} | conduct))
    )
    async with serving(options, lambda: brain) as (stand_in, origin):
        yield stand_in, origin


@asynccontextmanager
async def connected(
    origin: str, version: str = "v1beta", query: str = "?key=a-key"
) -> AsyncIterator[ClientConnection]:
    url = origin.replace("http", "ws", 1) + METHOD.format(version) + query
    async with connect(url, proxy=None) as socket:
        yield socket


async def ready(socket: ClientConnection) -> None:
    await socket.send(json.dumps(setup_frame()))
    frame = await socket.recv()
    assert frame == b'{"setupComplete":{}}'  # binary, as the service sends it


async def get(url: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, answer.content_type, await answer.json()


async def test_a_turn_over_the_socket() -> None:
    async with standing() as (stand_in, origin), connected(origin) as socket:
        await ready(socket)
        await socket.send(json.dumps(TEXT))
        names = []
        while "turnComplete" not in names:
            frame = await socket.recv()
            assert isinstance(frame, bytes)
            names += json.loads(frame).get("serverContent", {"-": 0})
        assert names.count("modelTurn") >= 1
        assert names[-2:] == ["generationComplete", "turnComplete"]
        await socket.close()
        [record] = stand_in.stats().sessions
        assert (record.model, record.messages, record.replies) == ("gemini-3.8-live", 2, 1)


async def test_what_happened_is_told_over_http() -> None:
    async with standing() as (_, origin):
        async with connected(origin) as socket:
            await ready(socket)
            await socket.send(b"{}")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        status, kind, stats = await get(f"{origin}/stats")
        assert (status, kind) == (200, "application/json")
        assert (stats["opened"], stats["ready"], stats["live"]) == (1, 1, 0)
        [violation] = stats["violations"]
        assert violation == {
            "rule": "text_frame",
            "doc": "https://ai.google.dev/api/live",
            "detail": "a binary frame of 2 bytes",
            "session": 1,
        }
        [session] = stats["sessions"]
        assert session["close_code"] == 1007
        assert session["close_reason"] == "Request contains an invalid argument."


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ({"close": "1000"}, 1000, ""),
        ({"close": "1007"}, 1007, "Request contains an invalid argument."),
        ({"close": "1008"}, 1008, "The operation was aborted."),
        ({"close": "1011", "reason": "Deadline expired & gone"}, 1011, "Deadline expired & gone"),
        ({"fault": "close=1006"}, 1006, ""),
    ],
)
async def test_a_test_may_close_live_sessions(
    query: dict[str, str], code: int, reason: str
) -> None:
    async with standing() as (stand_in, origin), connected(origin) as socket:
        await ready(socket)
        asked = urlencode(query)
        assert await get(f"{origin}/control?{asked}&session=7") == (
            200,
            "application/json",
            {"sessions": 0},
        )
        assert (await get(f"{origin}/control?{asked}"))[2] == {"sessions": 1}
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        received = caught.value.rcvd
        assert (received.code, received.reason) == (code, reason) if received else code == 1006
        [record] = stand_in.stats().sessions
        assert (record.close_code, record.close_reason) == (code, reason)


async def test_a_wrong_request_is_told_what_is_wrong() -> None:
    async with standing() as (_, origin):
        for query in ("close=99", "fault=gremlin", "close=1011&session=first", ""):
            status, _, answer = await get(f"{origin}/control?{query}")
            assert status == 400
            assert answer["error"]
        assert (await get(f"{origin}/nothing"))[0] == 404
        assert (await get(f"{origin}{METHOD.format('v2')}"))[0] == 404


async def test_a_client_that_goes_on_sending_after_the_close_is_counted() -> None:
    async with standing() as (stand_in, origin):
        async with connected(origin) as socket:
            await ready(socket)
            for _ in range(5):
                await socket.send("{}")  # the first is a breach, the others come after the close
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        assert stand_in.stats().frames_after_close == 4
        assert stand_in.stats().violation_count == 1


async def test_a_client_that_just_goes_leaves_a_finished_record() -> None:
    async with standing() as (stand_in, origin):
        async with connected(origin) as socket:
            await ready(socket)
            assert stand_in.stats().live == 1
        async with connected(origin) as socket:
            await ready(socket)
            socket.transport.abort()
        for _ in range(100):
            if stand_in.stats().live == 0:
                break
            await asyncio.sleep(0.01)
        assert [record.close_code for record in stand_in.stats().sessions] == [1000, 1006]


async def test_the_key_may_come_in_the_header_or_the_query_and_the_version_in_the_path() -> None:
    async with standing() as (_, origin):
        url = origin.replace("http", "ws", 1) + METHOD.format("v1alpha")
        async with connect(url, proxy=None, additional_headers={"x-goog-api-key": "k"}) as socket:
            await ready(socket)
        async with connected(origin, version="v1", query="") as socket:
            await socket.send(json.dumps(setup_frame()))
            with pytest.raises(ConnectionClosed, match="API key not valid"):
                await socket.recv()


async def test_a_client_that_reads_late_loses_nothing() -> None:
    async with standing(speed=1000.0) as (_, origin), connected(origin) as socket:
        await ready(socket)
        await socket.send(json.dumps(TEXT))
        await asyncio.sleep(0.1)
        audio = b""
        while True:
            content = json.loads(await socket.recv()).get("serverContent", {})
            for part in content.get("modelTurn", {}).get("parts", []):
                audio += base64.b64decode(part["inlineData"]["data"])
            if "generationComplete" in content:
                break
        assert audio == speechlike(0.2)


async def test_a_scheduled_close_comes_from_a_sleeping_session() -> None:
    faults = (parse("close=1011@0.05"),)
    async with standing(faults=faults) as (_, origin), connected(origin) as socket:
        await ready(socket)
        with pytest.raises(ConnectionClosed, match="Internal error encountered"):
            await socket.recv()


async def test_a_port_that_is_taken_is_the_users_mistake() -> None:
    async with standing() as (_, origin):
        port = int(origin.rpartition(":")[2])
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}: "):
            async with serving(Options(port=port), lambda: BenchBrain(0.2)):
                raise AssertionError("two cannot have one port")
