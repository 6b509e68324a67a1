"""Twilio's door: signed webhooks in, TwiML out, and the media stream.

`/twilio/voice` rings, `/twilio/media` is the stream, `/twilio/after` is asked when a stream has ended, `/twilio/status` tells of the
call's own end. Nothing is opened for a request that Twilio did not sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from agent.drive.tasks import Tasks
from agent.errors import LineProtocolError
from agent.protocols.twilio import twiml
from agent.protocols.twilio.webhook import FORM_BYTES, SIGNATURE_HEADER, incoming_call, parse_form
from agent.server.providers import STREAMS
from agent.server.register import Caller
from agent.server.switchboard import HangUpNow, Join, Say, Transfer
from agent.telephony.media_stream import serve
from agent.telephony.socket import StarletteSocket

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import Scope
    from starlette.websockets import WebSocket

    from agent.drive.wakeups import Wakeups
    from agent.protocols.twilio.webhook import Signatures
    from agent.server.switchboard import Switchboard, Verdict

log = structlog.get_logger()

SPOKEN = {
    "busy": "All our lines are busy at the moment. Please call again in a few minutes. Goodbye.",
    "trouble": "I am sorry, something went wrong on our side. Please call again in a few minutes. "
    "Goodbye.",
}
"""What Twilio's own voice says where there is no stream to speak on."""

OVER = {
    "completed": "caller_hung_up",
    "canceled": "caller_hung_up",
    "busy": "caller_busy",
    "no-answer": "no_answer",
    "failed": "call_failed",
}
"""`CallStatus` values after which a call is over, and the `end_reason` where we did not end it (Twilio: call status values)."""

STRANGERS = 50
"""Streams beyond twice the slots that may wait for their `start`; one more is turned away before it is accepted."""


class TwilioDoor:
    """The routes of one Twilio account.

    Args:
        switchboard: who is on which call.
        signatures: tells Twilio's requests from others.
        public_url: the origin at which Twilio reaches us.
        account_sid: the account whose calls we take; None: any that the token signs for.
        wakeups: the process's clock and schedule.
        max_sockets: streams that may be open at once.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        signatures: Signatures,
        public_url: str,
        account_sid: str | None,
        wakeups: Wakeups,
        max_sockets: int,
    ) -> None:
        self._switchboard = switchboard
        self._signatures = signatures
        self._account_sid = account_sid
        self._action_url = f"{public_url}/twilio/after"
        self._stream_url = f"ws{public_url.removeprefix('http')}/twilio/media"
        self._wakeups = wakeups
        self._max_sockets = max_sockets
        self._sockets = 0

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/twilio/voice", self.voice, methods=["POST"]),
            Route("/twilio/after", self.after, methods=["POST"]),
            Route("/twilio/status", self.status, methods=["POST"]),
            WebSocketRoute("/twilio/media", self.media),
        ]

    async def voice(self, request: Request) -> Response:
        """Somebody calls."""
        caller = await self._caller(request)
        if isinstance(caller, Response):
            return caller
        return self._twiml(await self._switchboard.ring(caller[0]))

    async def after(self, request: Request) -> Response:
        """The stream has ended."""
        caller = await self._caller(request)
        if isinstance(caller, Response):
            return caller
        return self._twiml(await self._switchboard.after(caller[0]))

    async def status(self, request: Request) -> Response:
        """The call's status changed; repeated and late ones change nothing."""
        caller = await self._caller(request)
        if isinstance(caller, Response):
            return caller
        if (reason := OVER.get(caller[1])) is not None:
            self._switchboard.over(caller[0].call_id, reason)
        return Response(status_code=204)

    async def media(self, websocket: WebSocket) -> None:
        """A media stream: signed, counted, and served until it ends."""
        target = _target(websocket.scope)
        if not self._signatures.upgrade(target, websocket.headers.get(SIGNATURE_HEADER)):
            self._forged("stream")
            await websocket.close(1008)  # before accept: HTTP 403
            return
        if self._sockets >= self._max_sockets:
            await websocket.close(1013)
            return
        await websocket.accept()
        self._sockets += 1
        tasks = Tasks("stream", _stream_failed)
        protocol = STREAMS["twilio"](self._wakeups.now())
        socket = StarletteSocket(websocket)
        try:
            ending = await serve(socket, protocol, self._switchboard.admit, self._wakeups, tasks)
        finally:
            self._sockets -= 1
            await tasks.close()
        log.debug("stream ended", how=ending.event, code=ending.code, faults=protocol.counts())

    async def _caller(self, request: Request) -> tuple[Caller, str] | Response:
        """Who calls and the call's status, from a signed webhook; or the answer that turns it away."""
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > FORM_BYTES:
            return Response("a form of at most 64 KiB, with its length", 413)
        try:
            form = parse_form(await request.body())
            signature = request.headers.get(SIGNATURE_HEADER)
            if not self._signatures.webhook(_target(request.scope), form, signature):
                self._forged("webhook")
                return Response("not signed by Twilio for this URL", 403)
            call = incoming_call(form)
            if call.account_sid != (self._account_sid or call.account_sid):
                return Response("another account's call", 403)
        except LineProtocolError as error:
            return Response(str(error), 400)
        caller = Caller(
            "twilio", call.call_sid, call.account_sid, call.direction, call.from_, call.to
        )
        return caller, call.status

    def _twiml(self, verdict: Verdict) -> Response:
        return Response(self._told(verdict), media_type=twiml.CONTENT_TYPE)

    def _told(self, verdict: Verdict) -> str:
        match verdict:
            case Join(token):
                return twiml.connect(self._stream_url, self._action_url, token)
            case Say(line):
                return twiml.say_and_hang_up(SPOKEN[line])
            case Transfer(number):
                return twiml.dial(number)
            case HangUpNow():
                return twiml.hang_up()

    def _forged(self, where: str) -> None:
        self._switchboard.metrics.forged.labels(where).inc()
        log.warning(
            "not signed by Twilio for this URL: compare PUBLIC_URL and TWILIO_AUTH_TOKEN with the "
            "number's settings",
            where=where,
        )


def _target(scope: Scope) -> str:
    """Path and query as they stood in the request line; the signature covers them undecoded."""
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (path + (b"?" + query if query else b"")).decode("latin-1")


def _stream_failed(child: str, error: BaseException) -> None:
    log.error("a task of a stream failed", task=child, exc_info=error)
