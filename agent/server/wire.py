"""The server's side of a line's WebSocket: uvicorn's own, with a short way for the messages that a call is made of.

uvicorn and the library below it read and write any frame, stop reading after each and start again, and wake a task for each. Fifty
messages a second each way and call are whole text messages: those are read and written here, and everything else (the upgrade,
fragments, pings, closing, what no peer may send) is theirs as it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from agent.drive.frames import BINARY, FrameReader, server_frame
from agent.telephony.socket import OFFER

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import ASGIReceiveEvent
    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.http11 import Request

WAITING = 64
"""Messages that may wait for the call; with more than that nothing is read until all have been taken, and the peer's own buffers
fill: 1.3 s of a line that keeps time."""


class Arrivals:
    """What has come and was not taken: as much of `asyncio.Queue` as uvicorn uses, for one reader."""

    def __init__(self) -> None:
        self._events: deque[ASGIReceiveEvent] = deque()
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._events)

    def empty(self) -> bool:
        return not self._events

    def put_nowait(self, event: ASGIReceiveEvent) -> None:
        self._events.append(event)
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def get(self) -> ASGIReceiveEvent:
        while not self._events:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._events.popleft()


class LineProtocol(WebSocketsSansIOProtocol):
    """One connection; uvicorn makes it when a request asks for an upgrade."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.queue: Arrivals = Arrivals()  # type: ignore[assignment]
        self._reader = FrameReader(masked=True, limit=config.ws_max_size)
        self._short = True
        self._extension: dict[str, Callable[[str | bytes], bool]] = {"offer": self.offer}

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][OFFER] = self._extension  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._extension.clear()  # or each would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        if not self._short or self.conn.state is not State.OPEN:
            # Who sends before he was accepted might have sent half a frame: only the library knows then where the next one begins.
            self._short = self._short and not self.handshake_initiated
            super().data_received(self._reader.rest() + data)
            return
        for opcode, part in self._reader.read(data):
            if not opcode:
                super().data_received(part)
            elif self.conn.state is State.OPEN:  # after a close frame nothing is read
                self._arrived(opcode, part)

    def _arrived(self, opcode: int, message: bytes) -> None:
        if opcode == BINARY:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": message})
        else:
            try:
                self.queue.put_nowait({"type": "websocket.receive", "text": message.decode()})
            except UnicodeDecodeError:
                self.curr_msg_data_type, self.frames = "text", [message]
                self.send_receive_event_to_app()  # uvicorn closes with 1007 (RFC 6455, section 8.1)
                return
        if not self.read_paused and len(self.queue) > WAITING:
            self.read_paused = True
            self.transport.pause_reading()

    def offer(self, message: str | bytes) -> bool:
        """Send a message if the connection is open and nothing waits to be written; whether it was sent."""
        transport = self.transport
        if self.conn.state is not State.OPEN or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return False
        transport.write(server_frame(message))
        return True
