"""Runs one session of any speech model: opens the socket, feeds the protocol, writes what it says, wakes it at its deadlines.

Nothing here knows what a message means. Events reach `sink` synchronously, in order, from the task that read them; the session
tells of its end exactly once (`ModelEnded`), and not at all after the call has left it (`CloseModel`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agent.drive.socket import Closed, Outbox
from agent.errors import OwnFault
from agent.events import CloseModel, SendAudio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.drive.socket import Socket
    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups
    from agent.events import EndAudio, ModelEvent, SendNote, SendText, SendToolResult
    from agent.protocols.live import LiveModel

NORMAL_CLOSURE = 1000
"""RFC 6455, section 7.4.1."""

OUTBOX_MS = 2000.0
"""Audio that may wait for the socket; when full the session is given up, since an answer to sound that old helps nobody."""


class ConnectFailed(Exception):
    """No socket could be opened; expected, and caught by the session that asked for one.

    Attributes:
        status: the HTTP answer to the upgrade; None if there was none.
        reason: what happened, without secrets.
    """

    def __init__(self, status: int | None, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class LiveSession:
    """A session with a speech model; has the shape of the call's `Model` port.

    Args:
        protocol: the model's wire language, fresh.
        connect: opens a socket; raises `ConnectFailed`.
        sink: takes every event.
        wakeups: the process's schedule and clock.
        tasks: owner of this session's tasks; what `sink` raises goes to it.

    Attributes:
        unsent: commands that came after the end; they go nowhere.
    """

    def __init__(
        self,
        protocol: LiveModel,
        connect: Callable[[], Awaitable[Socket]],
        sink: Callable[[ModelEvent], None],
        wakeups: Wakeups,
        tasks: Tasks,
    ) -> None:
        self.unsent = 0
        self._protocol = protocol
        self._connect = connect
        self._sink = sink
        self._now = wakeups.now
        self._wakeup = wakeups.register(self._tick)
        self._tasks = tasks
        self._runner: asyncio.Task[Any] | None = None
        self._put: Callable[[str, float], None] = _no_socket
        self._left = False
        self._stopping = False  # the reader is on its way to close the socket
        self._overflowed = False

    def open(self) -> None:
        """Start connecting; what comes of it arrives as events."""
        self._protocol.connecting(self._now())
        self._runner = self._tasks.start("model", self._run())
        self._wakeup.at(self._protocol.deadline())

    def send(
        self, command: SendAudio | SendText | SendNote | SendToolResult | EndAudio | CloseModel
    ) -> None:
        """Queue a command; never waits. What has no meaning any more, as all has after the end, is only counted in `unsent`.

        Raises:
            OwnFault: the session is not ready yet: what comes before `ModelReady` is kept by the sender.
        """
        if isinstance(command, CloseModel):
            self._leave()
        elif self._protocol.over:
            self.unsent += 1
        else:
            ms = command.pcm.seconds * 1000 if isinstance(command, SendAudio) else 0.0
            if frame := self._protocol.send(command):
                self._put(frame, ms)
            else:
                self.unsent += 1

    async def close(self) -> None:
        """Leave the session and wait until its socket is closed."""
        self._leave()
        if self._runner is not None:
            await asyncio.wait({self._runner})

    async def _run(self) -> None:
        """Connect, then read until the end."""
        try:
            socket = await self._connect()
        except ConnectFailed as failure:
            self._deliver(self._protocol.refused(failure.status, failure.reason, self._now()))
            return
        outbox = Outbox(
            socket.write, limit_ms=OUTBOX_MS, overflow=self._overflow, offer=socket.offer
        )
        try:
            self._put = outbox.put
            outbox.put(self._protocol.opened(self._now()))
            self._wakeup.at(self._protocol.deadline())
            self._tasks.start("model-writer", _write(outbox))
            await self._read(socket)
        finally:
            outbox.end()
            await socket.close(NORMAL_CLOSURE, "")

    async def _read(self, socket: Socket) -> None:
        while not self._protocol.over:
            try:
                frame = await socket.receive()
            except Closed as closed:
                self._deliver(self._protocol.closed(closed.code, closed.reason, self._now()))
            else:
                self._deliver(self._protocol.receive(frame, self._now()))

    def _tick(self, now: float) -> None:
        if self._overflowed:
            reason = f"more than {OUTBOX_MS:g} ms of audio waited to be sent"
            self._deliver(self._protocol.stalled(reason, now))
        else:
            self._deliver(self._protocol.tick(now))

    def _deliver(self, events: list[ModelEvent]) -> None:
        """Hand events on; `sink` may send commands in answer, and leave in the middle."""
        for event in events:
            if self._left:
                return
            self._sink(event)
        if self._protocol.over:
            self._stop()
        elif not self._overflowed:  # else a wake-up is set that must not be lost
            self._wakeup.at(self._protocol.deadline())

    def _overflow(self) -> None:
        """The outbox is full. It was the call that sent, so the call is told later, not inside its own command."""
        self._overflowed = True
        self._wakeup.at(self._now())

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._protocol.leave()
            self._stop()

    def _stop(self) -> None:
        """End the reader, whose last act is to close the socket; if we are the reader it sees that it is over.

        Once: a second time would cut that act short, and the service refuses a session while it still has the one before.
        """
        self._wakeup.at(None)
        runner, stopping = self._runner, self._stopping
        self._stopping = runner is not None
        if runner is not None and not stopping and runner is not asyncio.current_task():
            runner.cancel()


def _no_socket(message: str, ms: float) -> None:
    """Stands for the outbox before there is a socket: a protocol that is ready then breaks its own rule."""
    raise OwnFault(f"{len(message)} characters ({ms:g} ms) for a socket that was never opened")


async def _write(outbox: Outbox) -> None:
    """Empty the outbox; a closed socket ends it, and the reader is the one that tells of that."""
    try:
        await outbox.run()
    except Closed:
        return
