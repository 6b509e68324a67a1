"""A session over real sockets of this machine: what its call sees of it, and a server that does as told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.events import ModelEnded, ModelEvent, ModelReady
from agent.models.gemini import gemini_connector
from agent.models.live import LiveSession
from agent.protocols.gemini.session import GeminiSession
from agent.protocols.gemini.setup import GeminiOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.drive.socket import Socket

KEY = "AIza-this-is-not-a-key"
OPTIONS = GeminiOptions(model="gemini-3.8-live", system_instruction="You answer the telephone.")


class Watcher:
    """Stands where the call stands: keeps every event, and waits for kinds of them."""

    def __init__(self) -> None:
        self.events: list[ModelEvent] = []
        self.answer: Callable[[ModelEvent], None] = lambda event: None
        self._news = asyncio.Event()

    def sink(self, event: ModelEvent) -> None:
        self.events.append(event)
        self._news.set()
        self.answer(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[Any], count: int = 1, seconds: float = 5.0) -> list[Any]:
        async with asyncio.timeout(seconds):
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()
        return self.of(kind)

    async def ended(self) -> ModelEnded:
        """The end, after making sure that it is told once."""
        await self.until(ModelEnded)
        await asyncio.sleep(0.02)
        [ended] = self.of(ModelEnded)
        assert isinstance(ended, ModelEnded)
        assert self.events[-1] is ended
        return ended


class Rig:
    """One session and what it needs."""

    def __init__(self, connect: Callable[[], Awaitable[Socket]], options: GeminiOptions) -> None:
        self.watcher = Watcher()
        self.tasks = Tasks("call")
        self.wakeups = Wakeups(asyncio.get_running_loop())
        self.protocol = GeminiSession(options)
        self.session = LiveSession(
            self.protocol, connect, self.watcher.sink, self.wakeups, self.tasks
        )

    async def ready(self) -> None:
        await self.watcher.until(ModelReady)

    async def quiet(self) -> None:
        """No task is left within the time that a socket may take to close."""
        async with asyncio.timeout(3.0):
            while len(self.tasks):  # noqa: ASYNC110  # tasks have no event for `none left`
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(
    origin: str,
    options: GeminiOptions = OPTIONS,
    connect: Callable[[], Awaitable[Socket]] | None = None,
) -> AsyncIterator[Rig]:
    """A session that was told to open; nothing of it is left afterwards."""
    rig = Rig(connect or gemini_connector(origin, "v1beta", KEY), options)
    rig.session.open()
    try:
        yield rig
    finally:
        await rig.session.close()
        await rig.tasks.close(grace=1.0)
        rig.wakeups.close()
    assert len(rig.tasks) == 0


@asynccontextmanager
async def server(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    """A WebSocket server on a free port; yields its origin."""
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.2, **options) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


async def answer_setup(connection: ServerConnection) -> dict[str, Any]:
    """Read `setup` and answer it as Google does: an empty object in a binary frame."""
    setup: dict[str, Any] = json.loads(await connection.recv())
    await connection.send(b'{"setupComplete": {}}')
    return setup
