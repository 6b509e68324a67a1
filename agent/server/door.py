"""A phone provider's door: signed webhooks in, verdicts out, and the media stream. The same for every provider.

`/NAME/voice` rings, `/NAME/media` is the stream, `/NAME/after` is asked when a stream or a transfer has ended, `/NAME/whisper` when
somebody picks up a transfer, `/NAME/accept` when a person who was asked has decided, `/NAME/status` tells of the call's own end, `/NAME/amd` of who answered a call of ours. Nothing is opened
for a request that the provider did not sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from agent.errors import LineProtocolError, NotSigned
from agent.protocols import door

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import HTTPConnection, Request
    from starlette.routing import BaseRoute
    from starlette.websockets import WebSocket

    from agent.server.streams import Streams
    from agent.server.switchboard import Switchboard

log = structlog.get_logger()

Read = TypeVar("Read")


class Door:
    """The routes of one provider.

    Args:
        provider: its language.
        switchboard: who is on which call.
        streams: its sockets.
    """

    def __init__(
        self, provider: door.PhoneProvider, switchboard: Switchboard, streams: Streams
    ) -> None:
        self._provider = provider
        self._switchboard = switchboard
        self._streams = streams

    def routes(self) -> list[BaseRoute]:
        at = f"/{self._provider.name}"
        return [
            Route(f"{at}/voice", self.voice, methods=["POST"]),
            Route(f"{at}/after", self.after, methods=["POST"]),
            Route(f"{at}/whisper", self.whisper, methods=["POST"]),
            Route(f"{at}/accept", self.accept, methods=["POST"]),
            Route(f"{at}/status", self.status, methods=["POST"]),
            Route(f"{at}/amd", self.amd, methods=["POST"]),
            WebSocketRoute(f"{at}/media", self.media),
        ]

    async def voice(self, request: Request) -> Response:
        """Somebody calls."""
        return await self._answered(request, self._switchboard.ring)

    async def after(self, request: Request) -> Response:
        """The stream has ended."""
        return await self._answered(request, self._switchboard.after)

    async def whisper(self, request: Request) -> Response:
        """Somebody has picked up a transfer."""
        return await self._answered(request, self._switchboard.whisper)

    async def accept(self, request: Request) -> Response:
        """A person who was asked has decided."""
        return await self._answered(request, self._switchboard.decided)

    async def status(self, request: Request) -> Response:
        """The call's status changed; repeated and late ones change nothing."""
        caller = await self._caller(request)
        if isinstance(caller, Response):
            return caller
        if caller.over:
            self._switchboard.over(caller)
        return Response(status_code=204)

    async def amd(self, request: Request) -> Response:
        """Who, or what, answered a call of ours."""
        found = await self._read(request, self._provider.answered_by)
        if isinstance(found, Response):
            return found
        self._switchboard.answered_by(*found)
        return Response(status_code=204)

    async def media(self, websocket: WebSocket) -> None:
        """A media stream: signed, counted, and served until it ends."""
        if not self._provider.may_stream(as_request(websocket)):
            self._forged("stream")
            await websocket.close(1008)  # before accept: HTTP 403
            return
        stream = self._provider.stream(self._streams.now())
        await self._streams.serve(websocket, stream, self._switchboard.admit)

    async def _answered(
        self, request: Request, ask: Callable[[door.Caller], Awaitable[door.Verdict]]
    ) -> Response:
        caller = await self._caller(request)
        if isinstance(caller, Response):
            return caller
        text, media_type = self._provider.answer(await ask(caller))
        return Response(text, media_type=media_type)

    async def _caller(self, request: Request) -> door.Caller | Response:
        """Who calls."""
        return await self._read(request, self._provider.caller)

    async def _read(
        self, request: Request, read: Callable[[door.Request], Read]
    ) -> Read | Response:
        """What a signed webhook says; or the answer that turns it away."""
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > self._provider.largest:
            return Response(f"at most {self._provider.largest} bytes, with their number", 413)
        try:
            return read(as_request(request, await request.body()))
        except NotSigned as error:
            self._forged("webhook")
            return Response(str(error), 403)
        except LineProtocolError as error:
            return Response(str(error), 400)

    def _forged(self, where: str) -> None:
        self._switchboard.metrics.forged.labels(where).inc()
        log.warning(
            "not signed for this URL: compare PUBLIC_URL and the provider's token with the "
            "number's settings",
            provider=self._provider.name,
            where=where,
        )


def as_request(connection: HTTPConnection, body: bytes = b"") -> door.Request:
    """The request as it stood on the wire: a signature covers path and query undecoded."""
    path: bytes = connection.scope["raw_path"]
    query: bytes = connection.scope["query_string"]
    target = (path + (b"?" + query if query else b"")).decode("latin-1")
    return door.Request(target, connection.headers, body)
