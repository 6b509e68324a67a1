"""A WebSocket as Twilio opens it, against the `websockets` server and raw sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from agent.simulator import wire
from agent.simulator.wire import HandshakeRefused, Wire

if TYPE_CHECKING:
    from websockets.http11 import Request, Response


class Inbox:
    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.heard = asyncio.Event()
        self.binary: list[int] = []
        self.closed: asyncio.Future[tuple[int, str, Exception | None]] = (
            asyncio.get_running_loop().create_future()
        )

    def on_text(self, text: bytes) -> None:
        self.texts.append(text)
        self.heard.set()

    def on_binary(self, length: int) -> None:
        self.binary.append(length)

    def on_closed(self, code: int, reason: str, error: Exception | None) -> None:
        self.closed.set_result((code, reason, error))


class Faulty(Inbox):
    def on_text(self, text: bytes) -> None:
        raise ValueError("a fault of ours")


Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/media"


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_the_upgrade_offers_nothing_and_carries_twilios_headers() -> None:
    seen: list[Request | None] = []

    async def handler(socket: ServerConnection) -> None:
        seen.append(socket.request)
        async for message in socket:
            await socket.send(message)

    async with server(handler) as url:
        inbox = Inbox()
        line = Wire(url, inbox)
        assert not line.send("too early")
        await line.open({"Host": "agent.example.com", "User-Agent": "Twilio.TmeWs/1.0"})
        assert line.is_open
        assert line.send("caf\u00e9")
        await inbox.heard.wait()
        line.close(1000, "bye")
        assert not line.send("too late")
        assert await inbox.closed == (1000, "bye", None)
    (request,) = seen
    assert request is not None
    headers = request.headers
    assert headers["Host"] == "agent.example.com"
    assert headers["User-Agent"] == "Twilio.TmeWs/1.0"
    assert "Sec-WebSocket-Extensions" not in headers
    assert "Sec-WebSocket-Protocol" not in headers
    assert "Origin" not in headers
    assert inbox.texts == ["caf\u00e9".encode()]


async def test_fragments_are_one_message_and_pings_are_answered() -> None:
    async def handler(socket: ServerConnection) -> None:
        await (await socket.ping())
        await socket.send(["one ", "message", " in parts"])
        await socket.send([b"12", b"345"])
        await socket.close(4000, "done")

    async with server(handler) as url:
        inbox = Inbox()
        await Wire(url, inbox).open({})
        assert await inbox.closed == (4000, "done", None)
    assert inbox.texts == [b"one message in parts"]
    assert inbox.binary == [5]


async def test_a_socket_that_dies_closes_as_1006() -> None:
    async def handler(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with server(handler) as url:
        inbox = Inbox()
        line = Wire(url, inbox)
        await line.open({})
        assert await inbox.closed == (1006, "", None)
        assert not line.is_open
        assert line.fault is None


async def test_a_broken_websocket_is_the_peers_fault() -> None:
    async def handler(socket: ServerConnection) -> None:
        socket.transport.write(b"\x09\x01x")  # a ping without FIN: RFC 6455, section 5.5
        await socket.wait_closed()

    async with server(handler) as url:
        inbox = Inbox()
        line = Wire(url, inbox)
        await line.open({})
        await inbox.closed
        assert line.fault is not None
        assert "control frame" in line.fault


async def test_a_fault_of_the_receiver_is_handed_back_and_not_hidden() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send("anything")
        await socket.wait_closed()

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with server(handler) as url:
        inbox = Faulty()
        await Wire(url, inbox).open({})
        _, _, error = await inbox.closed
        assert isinstance(error, ValueError)


async def test_a_peer_that_does_not_read_costs_messages_and_never_a_wait() -> None:
    over = asyncio.Event()

    async def handler(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await over.wait()
        socket.transport.abort()

    async with server(handler) as url:
        inbox = Inbox()
        line = Wire(url, inbox)
        await line.open({})
        await asyncio.sleep(0.05)
        sent = [line.send("x" * 50_000) for _ in range(400)]
        assert sent[0]
        assert not sent[-1]
        line.abort()
        assert (await inbox.closed)[0] == 1006
        over.set()


async def test_a_refused_upgrade_tells_its_status() -> None:
    async def handler(_: ServerConnection) -> None:
        raise AssertionError("never accepted")

    async with serve(
        handler, "127.0.0.1", 0, process_request=lambda socket, _: socket.respond(403, "no")
    ) as running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(HandshakeRefused) as refused:
            await Wire(f"ws://127.0.0.1:{port}/", Inbox()).open({})
        assert refused.value.status == 403


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_handshake_is_refused(answer: bytes) -> None:
    async with raw_server(answer) as url:
        with pytest.raises(HandshakeRefused) as refused:
            await Wire(url, Inbox()).open({})
        assert refused.value.status == (200 if b"200" in answer else None)


async def test_a_subprotocol_that_nobody_offered_is_refused() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.wait_closed()

    def offer(_: ServerConnection, __: Request, response: Response) -> Response:
        response.headers["Sec-WebSocket-Protocol"] = "audio.twilio.com"
        return response

    async with serve(handler, "127.0.0.1", 0, process_response=offer) as running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(HandshakeRefused, match="subprotocol"):
            await Wire(f"ws://127.0.0.1:{port}/", Inbox()).open({})


async def test_nobody_there_and_nobody_answering_are_refusals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(HandshakeRefused):
        await Wire("ws://127.0.0.1:9/", Inbox()).open({})
    monkeypatch.setattr(wire, "HANDSHAKE_S", 0.05)
    async with raw_server(b"") as url:
        with pytest.raises(HandshakeRefused, match="no answer"):
            await Wire(url, Inbox()).open({})
