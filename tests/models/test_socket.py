"""A model's connection on a real socket; the library's server side without I/O is the peer, so that a test says which bytes come when."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from agent.drive.socket import Closed
from agent.models.socket import MAX_MESSAGE_BYTES, ClientSocket, open_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


@asynccontextmanager
async def answering(*pieces: bytes, behind: bytes = b"") -> AsyncIterator[ClientSocket]:
    """A server that sends these pieces, each a moment after the other; `behind`: in one with its answer to the upgrade."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        while not (events := protocol.events_received()):
            protocol.receive_data(await reader.read(4096))
        (request,) = events
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.write(b"".join(protocol.data_to_send()) + behind)
        for piece in pieces:
            await asyncio.sleep(0.03)
            writer.write(piece)
        while protocol.close_rcvd is None and (data := await reader.read(65_536)):
            protocol.receive_data(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        socket = await open_socket(f"ws://127.0.0.1:{port}/", {})
        try:
            yield socket
        finally:
            await socket.close(1000, "")
    finally:
        server.close()


async def test_messages_come_whole_and_in_order_whatever_their_frames() -> None:
    pieces = frame(b"in ", fin=False) + frame(b"?", Opcode.PING) + frame(b"two", Opcode.CONT)
    large = frame(bytes(200_000))
    async with answering(
        frame(b"one") + frame(b"text", Opcode.TEXT), pieces, large[:5], large[5:] + frame(b"last")
    ) as socket:
        got = [await socket.receive() for _ in range(5)]
    assert got == [b"one", b"text", b"in two", bytes(200_000), b"last"]


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
async def test_what_comes_with_the_answer_to_the_upgrade_is_read_too(cut: int) -> None:
    raw = frame(b"x" * 300) + frame(b"next")
    async with answering(raw[cut:], behind=raw[:cut]) as socket:
        assert [await socket.receive(), await socket.receive()] == [b"x" * 300, b"next"]


async def test_a_first_segment_of_three_bytes_is_no_beginning() -> None:
    """The library reads what came behind the answer; where its frame ends only the library knows."""
    message = b"\0" + b"\x81\x01" * 150  # would be frames
    raw = frame(message) + frame(b"next")
    async with answering(raw[2:5], raw[5:], behind=raw[:2]) as socket:
        async with asyncio.timeout(5):
            got = [await socket.receive(), await socket.receive()]
    assert got == [message, b"next"]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (frame(b"\x0b\xb8bye", Opcode.CLOSE), 3000),
        (frame(bytes(MAX_MESSAGE_BYTES + 1)), 1009),
        (Frame(Opcode.TEXT, b"x").serialize(mask=True), 1002),
        (b"\xc1\x00", 1002),
    ],
    ids=["it closes", "too large", "masked", "an extension that nobody asked for"],
)
async def test_a_connection_that_ends_says_how(end: bytes, code: int) -> None:
    async with answering(frame(b"good") + end + frame(b"too late")) as socket:
        assert await socket.receive() == b"good"
        with pytest.raises(Closed) as caught:
            await socket.receive()
        assert caught.value.code == code
