"""`/api/calls`: another program orders a call, and asks what became of it.

    POST   /api/calls        {"to", "agent", "variables", "wait"} -> 202 and the call; `Idempotency-Key` makes it safe to repeat
    GET    /api/calls/ID     what became of it
    DELETE /api/calls/ID     nobody wants it any more, where nobody has answered it yet

Every request carries `Authorization: Bearer API_TOKEN` (RFC 6750, section 2.1). Every refusal is `{"error": {"why", "message"}}`.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from starlette.responses import Response
from starlette.routing import Route

from agent.errors import StorageError
from agent.server.outbound.orders import Order, OrderRefused
from agent.storage.attempts import AttemptState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from agent.server.outbound.orders import Orders
    from agent.storage.attempts import Attempt

log = structlog.get_logger()

LARGEST = 65_536
"""Bytes of an order."""

KEY = re.compile(r"[\x21-\x7e]{1,200}")
"""An idempotency key: visible ASCII."""

STATUS = {
    "number": 422,
    "carrier": 503,
    "destination": 403,
    "agent": 422,
    "variables": 422,
    "caller_id": 422,
    "hours": 409,
    "key": 409,
    "do_not_call": 403,
    "number_per_day": 429,
    "per_hour": 429,
    "per_day": 429,
}
"""HTTP's word for each reason why an order is refused (RFC 9110, section 15.5; 429: RFC 6585)."""


class OrderedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was ordered, as the API and `pickup dial --json` tell it; times in seconds since 1970-01-01 UTC.

    Attributes:
        state: `reserved`, `placing`, `placed` (it rings, or is on the line) or `ended`.
        reason: how the last try ended, null before there was one.
        provider_call_id: the carrier's id of the present try.
    """

    v: int = 1
    id: str
    agent: str
    state: str
    tries: int
    reason: str | None
    not_before: float
    reserved_at: float
    ended_at: float | None
    provider_call_id: str | None


def as_told(attempt: Attempt) -> OrderedCall:
    """What is told of a call; its number is the asker's already."""
    return OrderedCall(
        id=attempt.id,
        agent=attempt.agent,
        state=AttemptState(attempt.state).name.lower(),
        tries=attempt.tries,
        reason=attempt.reason,
        not_before=attempt.not_before,
        reserved_at=attempt.reserved_at,
        ended_at=attempt.ended_at,
        provider_call_id=attempt.provider_call_id,
    )


class CallsApi:
    """The routes.

    Args:
        orders: takes them.
        token: whoever has it may order calls.
        stir: told that something may be due; None where no carrier is set up, and nothing can be.
        take_back: ends a call that rings; False where it does not.
        new_id: makes ids.
        wall: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        orders: Orders,
        token: str,
        *,
        stir: Callable[[], None] | None,
        take_back: Callable[[str], bool],
        new_id: Callable[[], str],
        wall: Callable[[], float],
    ) -> None:
        self._orders = orders
        self._token = token.encode()
        self._stir = stir
        self._take_back = take_back
        self._new_id = new_id
        self._wall = wall

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/calls", self._guarded(self.order), methods=["POST"]),
            Route("/api/calls/{id}", self._guarded(self.look), methods=["GET"]),
            Route("/api/calls/{id}", self._guarded(self.cancel), methods=["DELETE"]),
        ]

    async def order(self, request: Request) -> Response:
        """Somebody wants a call."""
        if self._stir is None:
            return _refusal(
                503,
                "carrier",
                "no calls can be placed: TWILIO_ACCOUNT_SID and its token (or SIP_LISTEN), and CALL_COUNTRIES "
                "(or CALL_SIP_HOSTS) have to be set",
            )
        key = request.headers.get("idempotency-key")
        if key is not None and KEY.fullmatch(key) is None:
            return _refusal(400, "key", "Idempotency-Key should be 1 to 200 visible characters")
        order = await _read(request)
        if isinstance(order, Response):
            return order
        new_id = self._new_id()
        try:
            attempt = await self._orders.want(order, key or new_id, new_id, self._wall())
        except OrderRefused as error:
            return _refusal(STATUS.get(error.why, 422), error.why, str(error), error.not_before)
        self._stir()
        return _json(202, as_told(attempt))

    async def look(self, request: Request) -> Response:
        """What became of a call."""
        attempt = await self._orders.attempts.get(request.path_params["id"])
        return _unknown() if attempt is None else _json(200, as_told(attempt))

    async def cancel(self, request: Request) -> Response:
        """Nobody wants a call any more."""
        wanted = request.path_params["id"]
        cancelled = await self._orders.attempts.cancel(wanted, self._wall())
        if not cancelled:
            found = await self._orders.attempts.get(wanted)
            if found is None:
                return _unknown()
            if not self._take_back(wanted):
                return _refusal(409, "too_late", "somebody has answered it, or it is over")
        return Response(status_code=204)

    def _guarded(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Whoever has no token learns nothing but that; a database that is down is said so."""

        async def guarded(request: Request) -> Response:
            if not self._may(request.headers.get("authorization", "")):
                answer = _refusal(401, "token", "Authorization should be `Bearer` and API_TOKEN")
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
            try:
                return await handler(request)
            except StorageError as error:
                log.error("an order was not taken", why=str(error))
                return _refusal(503, "database", "the database does not answer; nobody was called")

        return guarded

    def _may(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)


async def _read(request: Request) -> Order | Response:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LARGEST:
        return _refusal(413, "body", f"at most {LARGEST} bytes, with their number")
    try:
        return msgspec.json.decode(await request.body(), type=Order)
    except msgspec.DecodeError as error:
        return _refusal(400, "body", f"the body should be an order in JSON: {error}")


def _unknown() -> Response:
    return _refusal(404, "unknown", "there is no such call")


def _refusal(status: int, why: str, message: str, not_before: float | None = None) -> Response:
    more = {} if not_before is None else {"not_before": not_before}
    return _json(status, {"error": {"why": why, "message": message, **more}})


def _json(status: int, content: Any) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
