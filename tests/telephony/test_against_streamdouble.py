"""The line on a real server, heard by streamdouble, which nobody here wrote.

Two things about it are mended first, as Twilio documents them: an upgrade carries a signature and offers no compression, and `clear`
sends the marks back that were waiting ("Twilio: Media Streams, WebSocket messages", clear).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import streamdouble.session
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from streamdouble.scenario import Dtmf, Expect, Hangup, Scenario, Wait, WaitFor
from streamdouble.session import SessionConfig
from twilio.request_validator import RequestValidator

from agent.audio import g711
from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.events import (
    Clear,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineEvent,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)
from agent.protocols.twilio.stream import TwilioStream
from agent.protocols.twilio.webhook import Signatures
from agent.telephony.media_stream import Ending, MediaStreamLine, serve
from agent.telephony.socket import StarletteSocket
from tests.telephony.fakes import CONNECTED, START, media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.websockets import WebSocket

    from agent.protocols.base import StreamStart

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

AUTH_TOKEN = "12345678901234567890123456789012"


class Echo:
    """A call that says back what it hears; `*` makes it talk for 1.6 s, any other key interrupts it, `#` hangs up."""

    def __init__(self, line: MediaStreamLine) -> None:
        self.line = line
        self.heard: list[LineEvent] = []
        self.frames = 0

    def __call__(self, event: LineEvent) -> None:
        self.heard.append(event)
        match event:
            case LineAudio(pcm):
                self.frames += 1
                self.line.send(Play(pcm))
                if self.frames % 25 == 0:
                    self.line.send(Mark(f"frame {self.frames}"))
            case LineDigit("*"):
                for _ in range(8):
                    self.line.send(Play(Pcm8k(bytes(3200))))
                self.line.send(Mark("monologue"))
            case LineDigit("#"):
                self.line.send(HangUp())
            case LineDigit(_):
                self.line.send(Clear())
            case _:
                pass

    @property
    def marks(self) -> list[str]:
        return [event.name for event in self.heard if isinstance(event, LineMark)]


class Office:
    """A server with one route, and the calls that it had."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.wakeups = Wakeups(loop, loop.time)
        self.tasks = Tasks("office")
        self.calls: list[Echo] = []
        self.endings: list[tuple[Ending, dict[str, int]]] = []
        self.over = asyncio.Event()
        self.url = ""
        self.signatures = Signatures(AUTH_TOKEN, "http://127.0.0.1:1")

    async def media(self, websocket: WebSocket) -> None:
        if not self.signatures.upgrade(
            websocket.url.path, websocket.headers.get("x-twilio-signature")
        ):
            await websocket.close()
            return
        await websocket.accept()
        protocol = TwilioStream(self.wakeups.now())
        ending = await serve(
            StarletteSocket(websocket), protocol, self.admit, self.wakeups, self.tasks
        )
        self.endings.append((ending, protocol.counts()))
        self.over.set()

    async def admit(
        self, start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        if start.parameters.get("token") != "t":
            return None
        self.calls.append(Echo(line))
        return self.calls[-1]

    async def ended(self) -> tuple[Ending, dict[str, int]]:
        async with asyncio.timeout(10):
            await self.over.wait()
        return self.endings[0]


@asynccontextmanager
async def running() -> AsyncIterator[Office]:
    office = Office()
    app = Starlette(routes=[WebSocketRoute("/twilio/media", office.media)])
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=65_536,
            ws_per_message_deflate=False,
            proxy_headers=False,
            log_config=None,
            lifespan="off",
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        office.signatures = Signatures(AUTH_TOKEN, f"http://127.0.0.1:{port}")
        office.url = f"ws://127.0.0.1:{port}/twilio/media"
        serving = office.tasks.start("uvicorn", server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield office
            assert office.tasks.failures == []
        finally:
            server.should_exit = True
            await serving
    assert len(office.tasks) == 0


def headers(url: str) -> dict[str, str]:
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, {})
    return {"X-Twilio-Signature": signature}


class SignedSockets:
    """The `websockets` module as streamdouble sees it; only `connect` differs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(websockets, name)

    def connect(self, url: str, **options: Any) -> Any:
        return websockets.connect(
            url,
            additional_headers=headers(url),
            user_agent_header="Twilio.TmeWs/1.0",
            compression=None,
            **options,
        )


def clear_as_documented(session: Any, now: float) -> None:
    """Drop what was not played, and send the marks back that were waiting for it."""
    session.result.clears_received += 1
    session._clear_seen.set()
    session._playback_ends_at = now
    session._pending_marks = [(now, name) for _, name in session._pending_marks]
    session._marks_changed.set()


@pytest.fixture(autouse=True)
def faithful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamdouble.session, "websockets", SignedSockets())
    monkeypatch.setattr(streamdouble.session.Session, "_handle_clear", clear_as_documented)


CONFIG = SessionConfig(custom_parameters={"token": "t"}, quiet_period_s=0.3, max_drain_s=5.0)


# ---- streamdouble ----------------------------------------------------------------------------


async def test_an_echo_breaks_no_rule_loses_nothing_and_gets_its_marks_back(
    simulated_call: Any,
) -> None:
    frames = [bytes([n]) * 160 for n in range(100)]
    async with running() as office:
        report = await simulated_call(office.url, frames=frames, config=CONFIG)
        ending, faults = await office.ended()
        (call,) = office.calls
    assert report.violations == []
    assert report.result.unknown_events == []
    assert report.exit_code == 0
    assert faults == {}
    assert ending == Ending("stopped", 1000, "line stopped")
    heard = b"".join(g711.encode(e.pcm) for e in call.heard if isinstance(e, LineAudio))
    # mu-law has two zeros; through linear PCM they become one.
    sent = b"".join(frames).replace(b"\x7f", b"\xff")
    assert heard[: len(sent)] == sent
    assert report.audio_received[: len(sent)] == sent
    assert call.marks[:4] == ["frame 25", "frame 50", "frame 75", "frame 100"]
    assert call.heard[-1] == LineEnded("stopped")
    assert sum(isinstance(event, LineEnded) for event in call.heard) == 1


async def test_clear_stops_the_agent_and_its_marks_come_back_at_once(simulated_call: Any) -> None:
    steps = [
        Wait(0.2),
        Dtmf("*"),
        WaitFor("audio"),
        Wait(0.2),
        Dtmf("5"),
        WaitFor("clear"),
        Wait(0.3),
        Expect("clear"),
        Expect("no_violations"),
        Hangup(),
    ]
    async with running() as office:
        report = await simulated_call(
            office.url, scenario=Scenario("interrupt", steps), config=CONFIG
        )
        await office.ended()
        (call,) = office.calls
    assert report.violations == []
    assert report.exit_code == 0
    assert "monologue" in call.marks
    keys = [event.digit for event in call.heard if isinstance(event, LineDigit)]
    assert keys == ["*", "5"]
    after = call.heard[call.heard.index(LineDigit("5")) :]
    frames = [type(e) for e in after[: after.index(LineMark("monologue"))]].count(LineAudio)
    assert frames < 10  # 1.4 s of speech were waiting; the mark came back within 200 ms


async def test_a_wrong_token_is_closed_at_start(simulated_call: Any) -> None:
    config = SessionConfig(custom_parameters={"token": "stolen"}, response_timeout_s=5.0)
    async with running() as office:
        report = await simulated_call(office.url, frames=[b"\xff" * 160] * 50, config=config)
        ending, _ = await office.ended()
    assert report.result.closed_by == "agent"
    assert ending == Ending("lost", 1008, "unknown call")
    assert office.calls == []


# ---- close codes, on a plain socket ----------------------------------------------------------


async def close_code(office: Office, *messages: str | bytes) -> tuple[int | None, str]:
    async with websockets.connect(
        office.url, additional_headers=headers(office.url), compression=None
    ) as client:
        for message in messages:
            await client.send(message)
        async with asyncio.timeout(10):
            await client.wait_closed()
        return client.close_code, client.close_reason or ""


async def test_an_upgrade_without_a_signature_is_403() -> None:
    async with running() as office:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(office.url)
    assert caught.value.response.status_code == 403
    assert office.endings == []


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([CONNECTED, START, START], 1008),
        ([CONNECTED, START.replace("mulaw", "alaw")], 1003),
        ([CONNECTED, START, *[b"\x00"] * 50], 1007),
        ([CONNECTED, START, media(2, "/" * 70_000)], 1009),
        ([CONNECTED, START, '{"event":"stop"}'], 1000),
        ([CONNECTED, START, '{"event":"dtmf","dtmf":{"digit":"#"}}'], 1000),
    ],
    ids=["two starts", "A-law", "rubbish", "too large", "stop", "hang-up"],
)
async def test_the_close_code_says_why(messages: list[str | bytes], code: int) -> None:
    async with running() as office:
        got, _ = await close_code(office, *messages)
        await office.ended()
    assert got == code
    for call in office.calls:
        assert sum(isinstance(event, LineEnded) for event in call.heard) == 1


async def test_a_socket_that_never_starts_is_closed_after_five_seconds() -> None:
    async with running() as office:
        begun = asyncio.get_running_loop().time()
        assert await close_code(office, CONNECTED) == (1008, "Twilio: no start within 5 s")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(5.0, abs=1.0)


async def test_a_reset_is_a_lost_line() -> None:
    async with running() as office:
        client = await websockets.connect(
            office.url, additional_headers=headers(office.url), compression=None
        )
        await client.send(CONNECTED)
        await client.send(START)
        await client.send(media(2, "/" * 212 + "/w=="))
        await client.recv()
        raw: socket.socket = client.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.transport.abort()
        ending, _ = await office.ended()
        await client.wait_closed()
    assert (ending.event, ending.code) == ("lost", 1006)
    assert office.calls[0].heard[-1] == LineEnded("lost")


async def test_a_peer_that_reads_nothing_loses_its_line_and_holds_nothing() -> None:
    async with running() as office:
        client = await websockets.connect(
            office.url, additional_headers=headers(office.url), compression=None, max_queue=1
        )
        await client.send(CONNECTED)
        await client.send(START)
        client.transport.pause_reading()
        for _ in range(5000):  # until the buffers of both sides are full
            await client.send('{"event":"dtmf","dtmf":{"digit":"*"}}')
            await asyncio.sleep(0.001)
            if office.endings:
                break
        ending, _ = await office.ended()
        client.transport.abort()
        await client.wait_closed()
    assert ending.event == "lost"
    assert ending.text == "2000 ms of audio wait to be written"
    assert office.calls[0].heard.count(LineDigit("*")) > 10  # the transport took the first of them
