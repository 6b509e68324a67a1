"""A WebSocket as Twilio opens it: no subprotocol, no extensions, never a wait to send or to read.

`websockets` does the protocol without I/O; this driver feeds it and writes what it says. A message
is handed over in the very callback that read it, so that arrival times are the socket's and not a
queue's. Sending never blocks: when the peer does not read and more than `SEND_BUFFER_BYTES` wait,
the message is refused and the caller of `send` counts it (Twilio: error 31930).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol as Port, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

SEND_BUFFER_BYTES = 64 * 1024
"""About 250 frames, 5 s of audio."""
MESSAGE_MAX_BYTES = 8 * 1024 * 1024
"""Ten minutes of mu-law in base64 is 6.4 MB; Twilio documents no limit of its own."""
HANDSHAKE_S = 10.0
"""Twilio's limit is not documented; it gives up at some point (error 31901)."""
ABNORMAL = 1006
"""No close frame came (RFC 6455, section 7.1.5)."""


class HandshakeRefused(Exception):
    """The server did not answer the upgrade with 101.

    Attributes:
        status: HTTP status; None where the answer was no valid handshake, or there was none.
    """

    def __init__(self, status: int | None, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Receiver(Port):
    """Who is told what comes in."""

    def on_text(self, text: bytes) -> None:
        """A text message came: UTF-8."""

    def on_binary(self, length: int) -> None:
        """A binary message of `length` bytes came."""

    def on_closed(self, code: int, reason: str, error: Exception | None) -> None:
        """The socket is gone: once, last. `error` is a fault of a receiver's, never the peer's."""


class Wire(asyncio.Protocol):
    """One WebSocket to a server, as a client."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        self._uri = parse_uri(url)
        self._ws = ClientProtocol(self._uri, max_size=MESSAGE_MAX_BYTES)
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []  # of a fragmented message; bounded by MESSAGE_MAX_BYTES
        self._opcode = Opcode.TEXT

    async def open(self, headers: Mapping[str, str]) -> None:
        """Connect and upgrade; `headers` replace those of the same name.

        Raises:
            HandshakeRefused: no 101; an OSError is one without a status.
        """
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._connect(headers)
        except TimeoutError as error:
            self.abort()
            raise HandshakeRefused(None, f"no answer within {HANDSHAKE_S:.0f} s") from error
        except OSError as error:
            raise HandshakeRefused(None, str(error)) from error

    async def _connect(self, headers: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._uri.secure else None
        await loop.create_connection(
            lambda: self,
            self._uri.host,
            self._uri.port,
            ssl=context,
            server_hostname=self._uri.host if context else None,
        )
        request = self._ws.connect()
        for name, value in headers.items():
            request.headers.pop(name, None)
            request.headers[name] = value
        self._ws.send_request(request)
        self._flush()
        await self._opened

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._ws.state is State.OPEN

    @property
    def fault(self) -> str | None:
        """How the peer broke the WebSocket protocol itself; None where it did not."""
        error = self._ws.parser_exc
        return str(error) if isinstance(error, ProtocolError | PayloadTooBig) else None

    def send(self, message: str | bytes) -> bool:
        """Send a text or binary message; False where the socket is full or closed: dropped."""
        transport = self._transport
        if transport is None or self._ws.state is not State.OPEN:
            return False
        if transport.get_write_buffer_size() > SEND_BUFFER_BYTES:
            return False
        if isinstance(message, str):
            self._ws.send_text(message.encode())
        else:
            self._ws.send_binary(message)
        self._flush()
        return True

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; `on_closed` tells its end."""
        if self._ws.state is State.OPEN:
            self._ws.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Reset the connection: no close frame, nothing more is written."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: TCP (and TLS) are up."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Asyncio: bytes came."""
        self._ws.receive_data(data)
        self._handle()

    def eof_received(self) -> None:
        """Asyncio: the peer writes no more."""
        self._ws.receive_eof()
        self._handle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio: the connection is gone; `exc` is a network error or a receiver's fault."""
        fault = None if isinstance(exc, OSError) else exc
        if not self._opened.done():
            self._opened.set_exception(HandshakeRefused(None, "closed during the handshake"))
            return
        if self._opened.cancelled() or self._opened.exception() is not None:
            return
        if self._ws.state is not State.CLOSED:
            self._ws.receive_eof()
            self._ws.events_received()
        code = self._ws.close_code or ABNORMAL
        self._receiver.on_closed(code, self._ws.close_reason or "", fault)

    def _handle(self) -> None:
        refused = self._ws.handshake_exc
        if refused is not None and not self._opened.done():
            self._refuse(refused)
            return
        for event in self._ws.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Response) and not self._opened.done():
                self._opened.set_result(None)
        self._flush()
        if self._ws.close_expected() and self._transport is not None and self._said_it_all():
            self._transport.close()

    def _said_it_all(self) -> bool:
        """Whether nothing more can come: closing a socket with data unread resets it, and our close frame with it."""
        return self._ws.close_rcvd is not None or self._ws.parser_exc is not None

    def _refuse(self, error: Exception) -> None:
        status = error.response.status_code if isinstance(error, InvalidStatus) else None
        self._opened.set_exception(HandshakeRefused(status, f"handshake refused: {error}"))
        self.abort()

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return  # pings are answered by the protocol itself
        if not frame.fin:
            self._parts.append(bytes(frame.data))
            return
        data = bytes(frame.data)
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts.clear()
        if self._opcode is Opcode.TEXT:
            self._receiver.on_text(data)
        else:
            self._receiver.on_binary(len(data))

    def _flush(self) -> None:
        transport = self._transport
        for data in self._ws.data_to_send():
            if transport is None or transport.is_closing():
                continue
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()
