"""A line's WebSocket on a real socket: what uvicorn and its library would have done with each message, we do too.

The peer is the library's client without I/O, so that a test says what bytes come when.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from agent.server.run import MAX_MESSAGE
from agent.server.wire import WAITING, LineProtocol
from agent.telephony.socket import OFFER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Peer:
    """The other end of a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.protocol = ClientProtocol(parse_uri("ws://pickup.test/"), max_size=None)
        self.frames: list[Frame] = []

    async def upgrade(self, then: bytes = b"") -> None:
        self.protocol.send_request(self.protocol.connect())
        await self.send(then)
        while self.protocol.state is State.CONNECTING:
            await self._receive()

    async def send(self, raw: bytes = b"") -> None:
        """What the protocol has to say, then these bytes."""
        self._writer.write(b"".join(self.protocol.data_to_send()) + raw)
        await self._writer.drain()

    async def frame(self) -> Frame:
        async with asyncio.timeout(5):
            while not self.frames:
                await self._receive()
        return self.frames.pop(0)

    async def text(self) -> str:
        frame = await self.frame()
        assert frame.opcode is Opcode.TEXT
        return bytes(frame.data).decode()

    async def closed(self) -> int | None:
        """The code with which the server closed."""
        async with asyncio.timeout(5):
            while self.protocol.close_rcvd is None:
                await self._receive()
        assert self.protocol.close_rcvd is not None
        return self.protocol.close_rcvd.code

    def breaks(self) -> None:
        """It is gone, without a close."""
        self._writer.transport.abort()

    async def send_only(self, raw: bytes) -> None:
        """These bytes; what the protocol has to say waits."""
        self._writer.write(raw)
        await self._writer.drain()

    async def ended(self) -> None:
        """The server has closed the connection."""
        assert await self._reader.read() == b""

    async def _receive(self) -> None:
        data = await self._reader.read(65_536)
        assert data, "the connection has ended"
        self.protocol.receive_data(data)
        self.frames += [each for each in self.protocol.events_received() if isinstance(each, Frame)]
        self.frames = [each for each in self.frames if each.opcode is not Opcode.CLOSE]


class App:
    """Answers each message with what it was, "close" by closing; notes what ASGI told of the end.

    Args:
        offers: answer by the extension.
        count: `enough` is set after so many answers.

    Attributes:
        accept: the upgrade is accepted when it is set.
        go: the first message is taken when it is set.
        offered: whether each answer was taken.
        end: the event that ended it.
        later: kinds of the events after that.
    """

    def __init__(self, *, offers: bool = False, count: int = 0) -> None:
        self.accept = asyncio.Event()
        self.go = asyncio.Event()
        self.accept.set()
        self.go.set()
        self.enough = asyncio.Event()
        self.offered: list[bool] = []
        self.late: bool | None = None
        self.end: Any = None
        self.later: list[str] = []
        self.over = asyncio.Event()
        self._offers = offers
        self._count = count

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.accept.wait()
        await send({"type": "websocket.accept"})
        offer = scope["extensions"].get(OFFER, {}).get("offer")
        await self.go.wait()
        while (message := await receive())["type"] == "websocket.receive":
            data = message.get("bytes")
            said = message["text"] if data is None else data
            with suppress(RuntimeError):  # closed meanwhile
                if said == "close":
                    await send({"type": "websocket.close", "code": 1000})
                elif self._offers:
                    self.offered.append(offer(said))
                    if len(self.offered) == self._count:
                        self.enough.set()
                else:
                    await send(message | {"type": "websocket.send"})
        self.end = message
        if self._offers:
            self.late = offer("late")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                while True:
                    self.later.append((await receive())["type"])
        self.over.set()


@asynccontextmanager
async def serving(app: App, wire: type[asyncio.Protocol] = LineProtocol) -> AsyncIterator[Peer]:
    config = uvicorn.Config(
        app, port=0, ws=wire, ws_max_size=MAX_MESSAGE, ws_per_message_deflate=False,
        log_config=None, lifespan="off", ws_ping_interval=None,
    )  # fmt: skip
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    writer: asyncio.StreamWriter | None = None
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield Peer(reader, writer)
    finally:
        if writer is not None:
            writer.close()
            await asyncio.sleep(0.02)  # uvicorn looks ten times a second whether all are gone
        server.should_exit = True
        await server.shutdown()


def text(message: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, message, fin).serialize(mask=True)


Wire = type[asyncio.Protocol]


@pytest.fixture(params=[WebSocketsSansIOProtocol, LineProtocol])
def wire(request: pytest.FixtureRequest) -> Wire:
    """uvicorn's own is the judge of ours: a test of this passes with both."""
    found: Wire = request.param
    return found


async def test_messages_go_both_ways_in_order_whatever_their_frames(wire: Wire) -> None:
    async with serving(App(), wire) as peer:
        await peer.upgrade()
        pieces = text(b"in ", fin=False) + text(b"three ", fin=False, opcode=Opcode.CONT)
        await peer.send(text(b"one") + text(b"two"))
        await peer.send(pieces + text(b"pieces", opcode=Opcode.CONT) + text("é".encode()))
        await peer.send(text(b"\xff\0", opcode=Opcode.BINARY))
        assert [await peer.text() for _ in range(4)] == ["one", "two", "in three pieces", "é"]
        answer = await peer.frame()
        assert (answer.opcode, bytes(answer.data)) == (Opcode.BINARY, b"\xff\0")


async def test_a_message_in_two_segments_is_one(wire: Wire) -> None:
    async with serving(App(), wire) as peer:
        await peer.upgrade()
        raw = text(b"x" * 300)
        await peer.send(raw[:7])
        await asyncio.sleep(0.05)
        following = text(b"next")
        await peer.send(raw[7:] + following[:3])
        assert await peer.text() == "x" * 300
        await peer.send(following[3:])
        assert await peer.text() == "next"


async def test_a_ping_is_answered_between_messages(wire: Wire) -> None:
    async with serving(App(), wire) as peer:
        await peer.upgrade()
        await peer.send(text(b"one") + text(b"?", opcode=Opcode.PING) + text(b"two"))
        got = [await peer.frame() for _ in range(3)]
        assert sorted(bytes(each.data) for each in got) == [b"?", b"one", b"two"]
        assert [each.opcode for each in got if each.data == b"?"] == [Opcode.PONG]


async def test_a_peer_that_closes_is_told_as_uvicorn_tells_it(wire: Wire) -> None:
    app = App()
    async with serving(app, wire) as peer:
        await peer.upgrade()
        peer.protocol.send_close(3000, "bye")
        await peer.send(text(b"after the close"))
        assert await peer.closed() == 3000
        await asyncio.wait_for(app.over.wait(), 5)
        assert app.end == {"type": "websocket.disconnect", "code": 3000, "reason": "bye"}
        assert set(app.later) <= {"websocket.disconnect"}


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (text(b"\xff\xfe"), 1007),
        (text(bytes(MAX_MESSAGE + 1)), 1009),
        (Frame(Opcode.TEXT, b"x").serialize(mask=False), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
    ],
    ids=["not UTF-8", "too large", "not masked", "an extension that nobody asked for"],
)
async def test_what_is_against_the_rfc_ends_the_connection_with_its_code(
    wire: Wire, bad: bytes, code: int
) -> None:
    app = App()
    async with serving(app, wire) as peer:
        await peer.upgrade()
        await peer.send(text(b"good"))
        assert await peer.text() == "good"
        await peer.send(bad + text(b"too late"))
        assert await peer.closed() == code
        await asyncio.wait_for(app.over.wait(), 5)
        assert app.end["type"] == "websocket.disconnect"
        assert set(app.later) <= {"websocket.disconnect"}


async def test_half_a_frame_before_the_upgrade_is_answered_is_read_with_its_other_half(
    wire: Wire,
) -> None:
    app = App()
    app.accept.clear()
    async with serving(app, wire) as peer:
        raw = text(b"early") + text(b"and late")
        upgrade = asyncio.create_task(peer.upgrade())
        await asyncio.sleep(0.05)
        await peer.send(raw[:5])
        await asyncio.sleep(0.05)
        app.accept.set()
        await upgrade
        await peer.send(raw[5:])
        assert [await peer.text(), await peer.text()] == ["early", "and late"]


async def test_a_call_that_does_not_take_what_comes_stops_the_reading(wire: Wire) -> None:
    """And takes all of it, in order, when it does."""
    app = App()
    app.go.clear()
    async with serving(app, wire) as peer:
        await peer.upgrade()
        count, size = 400, 60_000
        raw = b"".join(text(b"%06d" % n + bytes(size)) for n in range(count))
        sending = asyncio.create_task(peer.send(raw))
        done, _ = await asyncio.wait((sending,), timeout=0.4)
        assert done == set()  # 24 MB fit into no buffer between us
        app.go.set()
        got = [int((await peer.text())[:6]) for _ in range(count)]
        assert got == list(range(count))
        await sending
        assert count > 2 * WAITING


async def test_what_is_offered_is_sent_at_once_and_nothing_after_the_end() -> None:
    app = App(offers=True)
    async with serving(app) as peer:
        await peer.upgrade()
        await peer.send(text(b"one") + text(b"two", opcode=Opcode.BINARY))
        assert await peer.text() == "one"
        assert bytes((await peer.frame()).data) == b"two"
        await peer.send(text(b"close"))
        assert await peer.closed() == 1000
        await asyncio.wait_for(app.over.wait(), 5)
        assert (app.offered, app.late) == ([True, True], False)


async def test_nothing_is_offered_to_a_connection_that_broke() -> None:
    app = App(offers=True)
    app.go.clear()
    async with serving(app) as peer:
        await peer.upgrade()
        await peer.send(text(b"one"))
        peer.breaks()
        await asyncio.sleep(0.05)
        app.go.set()
        await asyncio.wait_for(app.over.wait(), 5)
        assert (app.offered, app.late) == ([False], False)


async def test_what_cannot_be_sent_at_once_is_not_taken() -> None:
    count = 200
    app = App(offers=True, count=count)
    async with serving(app) as peer:
        await peer.upgrade()
        await peer.send(b"".join(text(bytes(60_000)) for _ in range(count)))  # and reads no answer
        await asyncio.wait_for(app.enough.wait(), 5)
        assert app.offered[0] is True
        assert app.offered[-1] is False


async def test_a_frame_that_was_half_there_when_we_closed_does_not_hide_the_peers_close(
    wire: Wire,
) -> None:
    """He may send until he has read our close, and a connection that is cut before would take it from him."""
    app = App()
    async with serving(app, wire) as peer:
        await peer.upgrade()
        half = text(b"x" * 300)
        await peer.send(text(b"close") + half[:100])
        assert await peer.closed() == 1000  # the answer to it is not sent yet
        await peer.send_only(half[100:])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.ended()
        await peer.send()
        async with asyncio.timeout(2):  # not after the ten seconds that a close may take
            await peer.ended()


async def test_a_connection_that_is_over_waits_for_no_collector() -> None:
    seen: list[weakref.ref[LineProtocol]] = []

    class Watched(LineProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            seen.append(weakref.ref(self))

    app = App(offers=True)
    gc.disable()
    try:
        async with serving(app, Watched) as peer:
            await peer.upgrade()
            await peer.send(text(b"one"))
            await peer.text()
            peer.breaks()
            await asyncio.wait_for(app.over.wait(), 5)
            await asyncio.sleep(0.05)
            assert [each() for each in seen] == [None]
    finally:
        gc.enable()
