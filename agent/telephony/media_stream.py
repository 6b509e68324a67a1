"""Drives any provider's `MediaStream` over a socket: feed, take events, write, re-arm one wake-up.

One stream is two tasks, a reader and a writer, and one future that says how it ended. Whatever ends
it first wins; the call is told once, and nothing is written after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.drive.socket import Closed, Outbox
from agent.errors import LineProtocolError
from agent.events import Answer, Clear, HangUp, LineEnded, LineEvent, LineRate, Play
from agent.protocols.base import StreamStart

if TYPE_CHECKING:
    from agent.drive.socket import Socket
    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups
    from agent.events import LineCommand, TransferOutcome
    from agent.protocols.base import MediaStream

QUEUE_MS = 2000.0
"""Audio that may wait for a peer that does not read; above it the line is lost: it would be late."""

GOODBYE_SECONDS = 2.0
"""How long a hang-up waits until what was queued before it is written."""

CLOSE_SECONDS = 1.0
"""How long a close may take; a peer that reads nothing would keep it waiting for ever."""

REASON_BYTES = 123  # RFC 6455, section 5.5.1


class Ending(NamedTuple):
    """How a stream ended: what the call was told, and how the socket was closed.

    Attributes:
        event: the reason in `LineEnded`.
        code: close code, ours or the peer's.
        text: for the log; holds no secret and no number.
        by_peer: whether the socket was closed, or broke, on the other side.
    """

    event: Literal["stopped", "closed", "lost"]
    code: int
    text: str
    by_peer: bool = False


class MediaStreamLine:
    """A phone leg that is connected; the shape is `agent.call.ports.ArrivingLine`.

    Args:
        socket: accepted, and nobody else's.
        protocol: a machine of its own for this stream.
        wakeups: the process's schedule.
    """

    transfers = False
    """No stream carries a transfer: a provider's webhooks do, where there are any."""

    def __init__(self, socket: Socket, protocol: MediaStream, wakeups: Wakeups) -> None:
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.sink: Callable[[LineEvent], None] | None = None
        self._socket = socket
        self._protocol = protocol
        self._now = wakeups.now
        self._wakeup = wakeups.register(self._wake)
        self._hang_up_by: float | None = None
        self._outbox = Outbox(
            self._write, limit_ms=QUEUE_MS, overflow=self._overflowed, offer=self._offer
        )

    @property
    def sends_digits(self) -> bool:
        """Whether the provider presses keys itself (`Digits`)."""
        return self._protocol.facts.sends_digits

    @property
    def rate(self) -> LineRate:
        """Of the provider's sound, Hz."""
        return self._protocol.facts.rate

    async def answer(self) -> bool:
        """Have the provider stop ringing, where it waits for that."""
        self._put(self._protocol.send(Answer()))
        return not self.ended.done()

    async def transfer(self, address: str, within: float) -> TransferOutcome:
        """Cannot be done by a stream."""
        return "failed"

    def send(self, command: LineCommand) -> None:
        """Carry out a command; never waits, and does nothing once the line ends or hangs up.

        `Clear` also takes back what has not been written yet, so that no older sound can follow it.
        """
        if self.ended.done() or self._hang_up_by is not None:
            return
        if isinstance(command, HangUp):
            self._hang_up_by = self._now() + GOODBYE_SECONDS
            self._put(self._protocol.send(command))
            self._outbox.end()
            self._arm()
            return
        message = self._protocol.send(command)
        if isinstance(command, Clear):
            self._outbox.drop_audio()
        self._put(message, 1000 * command.pcm.seconds if isinstance(command, Play) else 0.0)

    def _put(self, message: str | bytes | None, ms: float = 0.0) -> None:
        if message is not None:
            self._outbox.put(message, ms)

    def end(self, ending: Ending) -> None:
        """Note how the line ended; only the first time counts."""
        if not self.ended.done():
            self.ended.set_result(ending)
            self._wakeup.at(None)

    async def read(self, admit: Admit) -> None:
        """Feed the protocol until the line ends."""
        receive, feed, now = self._socket.receive, self._protocol.receive, self._now
        self._arm()
        try:
            while not self.ended.done():
                for event in feed(await receive(), now()):
                    if isinstance(event, StreamStart):
                        await self._admit(event, admit)
                    else:
                        self._tell(event)
                self._reply()
                self._arm()
        except Closed as error:
            self._closed(error)
        except LineProtocolError as error:
            self.end(Ending("lost", error.close_code, str(error)))

    async def write(self) -> None:
        """Write what is queued until the line ends or has hung up."""
        try:
            await self._outbox.run()
        except Closed as error:
            self._closed(error)
        else:
            self.end(Ending("closed", 1000, "hung up"))

    def _reply(self) -> None:
        """What the protocol has to say by itself; it is bounded there."""
        for message in self._protocol.replies():
            self._outbox.put(message)

    async def _write(self, message: str | bytes) -> None:
        if self.ended.done():
            raise Closed(1000, "the line has ended")  # after the end nothing is sent
        await self._socket.write(message)

    def _offer(self, message: str | bytes) -> bool:
        return not self.ended.done() and self._socket.offer(message)

    async def _admit(self, start: StreamStart, admit: Admit) -> None:
        self.sink = await admit(start, self)
        if self.sink is None:
            self.end(Ending("lost", 1008, "unknown call"))

    def _tell(self, event: LineEvent) -> None:
        if isinstance(event, LineEnded):
            self.end(Ending(event.reason, 1000, f"line {event.reason}"))
        elif self.sink is not None and not self.ended.done():
            self.sink(event)

    def _wake(self, now: float) -> None:
        if self._hang_up_by is not None and now >= self._hang_up_by:
            self.end(Ending("lost", 1000, "hung up before everything was written"))
            return
        try:
            for event in self._protocol.tick(now):
                self._tell(event)
        except LineProtocolError as error:
            self.end(Ending("lost", error.close_code, str(error)))
        self._reply()
        self._arm()

    def _arm(self) -> None:
        """Be woken at the protocol's deadline.

        It moves with every message; a wake-up that stands earlier is left alone and sets the next
        when it comes.
        """
        deadline = self._protocol.deadline()
        if self._hang_up_by is not None:
            deadline = self._hang_up_by if deadline is None else min(deadline, self._hang_up_by)
        if self.ended.done() or deadline is None:
            self._wakeup.at(None)
        elif self._wakeup.deadline is None or deadline < self._wakeup.deadline:
            self._wakeup.at(deadline)

    def _closed(self, error: Closed) -> None:
        """RFC 6455, section 7.4.1: 1006 is no close at all, any other code is the peer's word."""
        event: Literal["closed", "lost"] = "lost" if error.code == 1006 else "closed"
        self.end(Ending(event, error.code, f"the socket closed: {error.reason}", by_peer=True))

    def _overflowed(self) -> None:
        self.end(Ending("lost", 1008, f"{QUEUE_MS:.0f} ms of audio wait to be written"))


Admit = Callable[[StreamStart, MediaStreamLine], Awaitable[Callable[[LineEvent], None] | None]]
"""Finds the call that a stream belongs to and answers with its sink; None refuses the stream.

It may be cancelled when the line ends meanwhile. `LineStarted` is its own to say, because only the
token knows the leg.
"""


async def serve(
    socket: Socket, protocol: MediaStream, admit: Admit, wakeups: Wakeups, tasks: Tasks
) -> Ending:
    """Drive one stream from its upgrade to its end.

    Every event goes to the sink at once, from this event loop. If there is a sink, exactly one
    `LineEnded` reaches it, and it is the last.

    Args:
        socket: accepted, and nobody else's.
        protocol: a machine of its own for this stream.
        admit: see `Admit`.
        wakeups: the process's schedule.
        tasks: owner of the stream's two tasks; what the sink or `admit` raise goes to it.
    """
    line = MediaStreamLine(socket, protocol, wakeups)
    pair = (tasks.start("line-reader", line.read(admit)), tasks.start("line-writer", line.write()))
    for task in pair:
        task.add_done_callback(lambda _: line.end(Ending("lost", 1011, "internal error")))
    try:
        await asyncio.wait((line.ended,))
    finally:
        line.end(Ending("lost", 1001, "the server is going away"))
        for task in pair:
            task.cancel()
        ending = line.ended.result()
        if line.sink is not None:
            line.sink(LineEnded(ending.event))
    await asyncio.wait(pair)
    if not ending.by_peer:
        reason = ending.text.encode()[:REASON_BYTES].decode(errors="ignore")
        closing = tasks.start("line-close", socket.close(ending.code, reason))
        await asyncio.wait((closing,), timeout=CLOSE_SECONDS)
        closing.cancel()
    return ending
