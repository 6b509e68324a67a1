"""The `websockets` client as a `Socket`; the only file that knows that library's exceptions on this side of a call."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from agent.drive.frames import ClientFrames, FrameReader
from agent.drive.socket import Closed
from agent.models.live import ConnectFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.client import ClientProtocol

OPEN_SECONDS = 5.0
"""For DNS, TCP, TLS and the upgrade together."""

CLOSE_SECONDS = 1.0
"""For the closing handshake; then the connection is cut."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A message above this ends the connection with 1009."""

SEND_BUFFER_BYTES = 64 * 1024
"""What the kernel may hold for a peer that does not read: 1.5 s of 16 kHz audio as JSON; the default is minutes."""

HEAD_ENDS = b"\r\n\r\n"

_NO_CLOSE_FRAME = 1006

# The library writes the headers of its handshake, hence the API key, and every frame at DEBUG.
_quiet = logging.getLogger("agent.models.socket.library")
_quiet.setLevel(logging.INFO)


class _Connect(connect):
    """Follows no redirect: the library would carry the key to wherever it points."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Connection(ClientConnection):
    """Reads whole messages itself: the library's own way there costs five times as much."""

    def __init__(self, protocol: ClientProtocol, **kwargs: Any) -> None:
        super().__init__(protocol, **kwargs)
        self._frames: FrameReader | None = None

    def data_received(self, data: bytes) -> None:
        frames = self._frames
        if frames is None or self.protocol.state is not State.OPEN:
            opening = self.protocol.state is State.CONNECTING
            super().data_received(data if frames is None else frames.rest() + data)
            opened = opening and self.protocol.state is State.OPEN
            if opened and data.endswith(HEAD_ENDS) and data.count(HEAD_ENDS) == 1:
                # Nothing came behind the answer to the upgrade, so the next byte begins a frame.
                self._frames = FrameReader(masked=False, limit=MAX_MESSAGE_BYTES)
            return
        for opcode, part in frames.read(data):
            if not opcode:
                super().data_received(part)
            elif self.protocol.state is State.OPEN:  # after a close frame nothing is read
                self.process_event(Frame(Opcode(opcode), part))


class ClientSocket:
    """An open connection; has the shape of `agent.drive.socket.Socket`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._frames = ClientFrames()

    async def receive(self) -> bytes:
        """Next message as bytes, text or binary alike; raises `Closed`."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def write(self, message: str | bytes) -> None:
        """Send one text message, waiting while the connection's buffers are full; raises `Closed`."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise _closed(error) from error

    def offer(self, message: str | bytes) -> bool:
        """Send one text message if the connection is open and nothing waits in its buffers; whether it was sent.

        It cannot fall into a message of the library's: each of ours is one frame, and what the library writes it writes at once. Its
        own `send` costs three times as much.
        """
        transport = self._connection.transport
        if self._connection.state is not State.OPEN or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return False
        transport.write(
            self._frames.text(message.encode() if isinstance(message, str) else message)
        )
        return True

    async def close(self, code: int, reason: str) -> None:
        """Close politely within `CLOSE_SECONDS`, or cut the connection."""
        try:
            # The library's own close_timeout does not bound the wait for a buffer that the peer does not empty.
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close(code, reason)
        except TimeoutError:
            pass
        finally:
            # Cut also where the wait was cancelled: in Python 3.11.2 that is how a time-out ends in a task that is itself
            # being cancelled. Harmless for a connection that is closed.
            self._connection.transport.abort()


async def open_socket(url: str, headers: Mapping[str, str]) -> ClientSocket:
    """Connect to `url` (ws or wss).

    The library's keep-alive is off: the service answers pings late (8 to 30 s were seen), which makes a client close 1011
    by itself. A loopback address is reached without the system's proxy.

    Raises:
        ConnectFailed: refused, unreachable, too slow, or not answered with an upgrade.
    """
    try:
        connection = await _Connect(
            url,
            create_connection=_Connection,
            additional_headers=headers,
            proxy=None if is_loopback(urlsplit(url).hostname or "") else True,
            compression=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,
            max_size=MAX_MESSAGE_BYTES,
            logger=_quiet,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise ConnectFailed(status, f"the upgrade was answered with HTTP {status}") from error
    except (InvalidHandshake, OSError) as error:  # OSError: DNS, TCP, TLS and time-outs too
        raise ConnectFailed(None, f"{type(error).__name__}: {error}") from error
    raw: socket.socket = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return ClientSocket(connection)


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _closed(error: ConnectionClosed) -> Closed:
    """What the peer said; what we said, where the library closed by itself; else that nothing was said."""
    frame = error.rcvd or error.sent
    if frame is None:
        return Closed(_NO_CLOSE_FRAME, "")
    return Closed(int(frame.code), frame.reason)
