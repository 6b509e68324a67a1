"""What a driver needs of a WebSocket, and the queue that stands before it.

Two adapters exist: Starlette's for lines (`agent/telephony`), `websockets`' for models (`agent/models`). A third needs no other
change. `send` never waits: one writer task empties a queue that is bounded in milliseconds of audio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Closed(Exception):
    """The socket is closed; expected, and caught by the driver that owns the socket.

    Attributes:
        code: close code (RFC 6455, section 7.4), 1006 where the connection broke without one.
        reason: the peer's words, possibly empty.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"socket closed ({code}): {reason}")
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """A WebSocket as drivers see it."""

    async def receive(self) -> str | bytes:
        """Next message; raises `Closed` when there will be none."""
        ...

    async def write(self, message: str | bytes) -> None:
        """Hand one message to the transport, as text or as binary; raises `Closed`. Only the `Outbox` calls this."""
        ...

    def offer(self, message: str | bytes) -> bool:
        """Hand one message over if that takes no waiting; says whether it was. Only the `Outbox` calls this."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with a code; harmless when closed already."""
        ...


class Outbox:
    """The queue and the one writer of a socket.

    Bounded in milliseconds of audio, since that is what a slow peer costs the listener. When it holds `limit_ms` the peer is
    lost: `overflow` is called once and everything after is refused, because audio that late helps nobody.

    Args:
        write: hands one message to the transport.
        limit_ms: how much audio may wait.
        overflow: called once when more is waiting.
        offer: hands one message to the transport if that takes no waiting, and says whether it did: fifty times a second the
            writer's task need not be woken.
    """

    def __init__(
        self,
        write: Callable[[str | bytes], Awaitable[None]],
        *,
        limit_ms: float = 2000.0,
        overflow: Callable[[], None],
        offer: Callable[[str | bytes], bool] = lambda message: False,
    ) -> None:
        self._write = write
        self._offer = offer
        self._limit_ms = limit_ms
        self._overflow = overflow
        self._queue: deque[tuple[str | bytes, float]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._open = True
        self.queued_ms = 0.0

    def put(self, message: str | bytes, ms: float = 0.0) -> None:
        """Queue a message that carries `ms` of audio; nothing is taken after overflow or close."""
        if not self._open:
            return
        if self._idle and self._offer(message):
            return
        self._queue.append((message, ms))
        self.queued_ms += ms
        if self.queued_ms > self._limit_ms:
            self._open = False
            self._overflow()
            return
        self._stir()

    @property
    def _idle(self) -> bool:
        """Whether the writer waits for something to write: nothing is queued then, or under way."""
        return self._wake is not None and not self._wake.done()

    def drop_audio(self) -> None:
        """Forget queued messages that carry audio; control messages stay, in order."""
        self._queue = deque(entry for entry in self._queue if entry[1] == 0.0)
        self.queued_ms = 0.0

    def end(self) -> None:
        """Take no more; `run` returns when what is queued has been written."""
        self._open = False
        self._stir()

    async def run(self) -> None:
        """Write until `end`; raises what `write` raises (`Closed`)."""
        new_future = asyncio.get_running_loop().create_future
        while True:
            while self._queue:
                message, ms = self._queue.popleft()
                self.queued_ms -= ms
                await self._write(message)
            if not self._open:
                return
            self._wake = new_future()
            await self._wake

    def _stir(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
