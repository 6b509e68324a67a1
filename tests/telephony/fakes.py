"""A loop whose time costs nothing, a socket without a network, and a call that remembers what it was told."""

from __future__ import annotations

import asyncio
import json
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

from agent.drive.socket import Closed
from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.protocols.twilio.stream import TwilioStream
from agent.telephony.media_stream import Admit, Ending, MediaStreamLine, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.events import LineEvent
    from agent.protocols.base import MediaStream, StreamStart

T = TypeVar("T")

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = json.dumps(
    {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC1",
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t"},
        },
    }
)
STOP = '{"event":"stop","streamSid":"MZ1"}'


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: the time-out it was asked for has simply passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("deadlock: nothing is ready and no timer is set")
        self.now += 0.0 if ready else timeout or 0.0
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For tests without sockets: an hour takes no time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def virtually(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def media(number: int, payload: str = "/w==") -> str:
    return json.dumps(
        {
            "event": "media",
            "sequenceNumber": str(number),
            "streamSid": "MZ1",
            "media": {"track": "inbound", "payload": payload},
        }
    )


class FakeSocket:
    """The peer's side is `says` and `closes`; `written` and `closed` are what it got."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[str | bytes | Closed] = asyncio.Queue()
        self.written: list[Any] = []
        self.closed: list[tuple[int, str]] = []
        self.reads = asyncio.Event()  # cleared: the peer reads nothing
        self.reads.set()
        self.takes = False  # it writes at once what it is offered

    def says(self, *messages: str | bytes) -> None:
        for message in messages:
            self.inbox.put_nowait(message)

    def closes(self, code: int, reason: str = "") -> None:
        self.inbox.put_nowait(Closed(code, reason))

    async def receive(self) -> str | bytes:
        message = await self.inbox.get()
        if isinstance(message, Closed):
            raise message
        return message

    async def write(self, message: str | bytes) -> None:
        await self.reads.wait()
        self.written.append(json.loads(message))

    def offer(self, message: str | bytes) -> bool:
        if self.takes:
            self.written.append(json.loads(message))
        return self.takes

    async def close(self, code: int, reason: str) -> None:
        await self.reads.wait()
        self.closed.append((code, reason))

    @property
    def kinds(self) -> list[str]:
        return [message["event"] for message in self.written]


class Scene:
    """One stream under `serve`, with a call that accepts it."""

    def __init__(self, admit: Admit | None = None, protocol: MediaStream | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.socket = FakeSocket()
        self.protocol = protocol or TwilioStream(loop.time())
        self.wakeups = Wakeups(loop, loop.time)
        self.tasks = Tasks("test")
        self.starts: list[StreamStart] = []
        self.heard: list[LineEvent] = []
        self.line: MediaStreamLine | None = None
        self.serving = self.tasks.start(
            "serve",
            serve(self.socket, self.protocol, admit or self.admit, self.wakeups, self.tasks),
        )

    async def admit(
        self, start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        self.starts.append(start)
        self.line = line
        return self.heard.append

    async def connected(self) -> MediaStreamLine:
        """Through `start`, until the call has its line."""
        self.socket.says(CONNECTED, START)
        await settle()
        assert self.line is not None
        return self.line

    async def ending(self) -> Ending:
        ending = await self.serving
        assert isinstance(ending, Ending)
        return ending


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)
