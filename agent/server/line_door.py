"""The door of telephone systems that bring their calls over a WebSocket of their own: one route, and no webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.routing import WebSocketRoute

from agent.server.door import as_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from agent.events import LineEvent
    from agent.protocols.base import StreamStart
    from agent.protocols.door import LineProvider
    from agent.server.arrivals import Arrivals
    from agent.server.metrics import Metrics
    from agent.server.streams import Streams
    from agent.telephony.media_stream import MediaStreamLine

log = structlog.get_logger()


class LineDoor:
    """The route of one such provider.

    Args:
        provider: its language.
        arrivals: take its calls.
        streams: its sockets.
        metrics: counts those that did not prove whose they are.
    """

    def __init__(
        self, provider: LineProvider, arrivals: Arrivals, streams: Streams, metrics: Metrics
    ) -> None:
        self._provider = provider
        self._arrivals = arrivals
        self._streams = streams
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        return [WebSocketRoute(f"/{self._provider.name}/media", self.media)]

    async def media(self, websocket: WebSocket) -> None:
        """A call comes in."""
        request = as_request(websocket)
        if not self._provider.may_stream(request):
            self._metrics.forged.labels("stream").inc()
            log.warning("a line gave another user or password", provider=self._provider.name)
            await websocket.close(1008)  # before accept: HTTP 403
            return

        async def admit(
            start: StreamStart, line: MediaStreamLine
        ) -> Callable[[LineEvent], None] | None:
            return self._arrivals.arrive(self._provider.caller(request, start), line)

        asked: list[str] = websocket.scope["subprotocols"]
        named = self._provider.subprotocol if self._provider.subprotocol in asked else None
        stream = self._provider.stream(self._streams.now())
        await self._streams.serve(websocket, stream, admit, named)
