"""Sockets of one phone provider that are open: counted, served until they end, and refused beyond what there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.drive.tasks import Tasks
from agent.telephony.media_stream import serve
from agent.telephony.socket import StarletteSocket

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from agent.drive.wakeups import Wakeups
    from agent.protocols.base import MediaStream
    from agent.server.metrics import Metrics
    from agent.telephony.media_stream import Admit

log = structlog.get_logger()

STRANGERS = 50
"""Streams beyond twice the slots that may wait for their `start`; one more is turned away before it is accepted."""


class Streams:
    """The sockets of one provider.

    Args:
        metrics: counts those that found no room.
        wakeups: the process's clock and schedule.
        most: how many may be open at once.
    """

    def __init__(self, metrics: Metrics, wakeups: Wakeups, most: int) -> None:
        self._metrics = metrics
        self._wakeups = wakeups
        self._most = most
        self._open = 0

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._wakeups.now()

    async def serve(
        self,
        websocket: WebSocket,
        stream: MediaStream,
        admit: Admit,
        subprotocol: str | None = None,
    ) -> None:
        """Accept a socket that has proved whose it is, and serve it to its end."""
        if self._open >= self._most:
            self._metrics.refused.labels("streams").inc()
            await websocket.close(1013)
            return
        await websocket.accept(subprotocol)
        self._open += 1
        tasks = Tasks("stream", _stream_failed)
        try:
            ending = await serve(StarletteSocket(websocket), stream, admit, self._wakeups, tasks)
        finally:
            self._open -= 1
            await tasks.close()
        log.debug("stream ended", how=ending.event, code=ending.code, faults=stream.counts())


def _stream_failed(child: str, error: BaseException) -> None:
    log.error("a task of a stream failed", task=child, exc_info=error)
