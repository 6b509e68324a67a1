"""Twilio's REST API: calls placed, found again, changed and ended by Twilio's own asynchronous client.

Source: "Twilio: Calls resource" (https://www.twilio.com/docs/voice/api/call-resource). What is sent, and what a refusal means, is
`agent/protocols/twilio/outbound.py`'s; the client's errors leave here as `CarrierRefused` or `CarrierSilent`.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client
from yarl import URL

from agent.errors import CarrierRefused, CarrierSilent
from agent.protocols.twilio.outbound import UNREACHED, call_parameters, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.protocols.door import CallOrder

PATIENCE = 10.0
"""Seconds for one request."""

OVER_ALREADY = frozenset({20404, 21220})
"""Error codes of a change to a call that has ended (Twilio: 20404 not found, 21220 invalid call state)."""

SKEW = 30.0
"""Seconds that Twilio's clock may be behind ours."""

MOST_FOUND = 20
"""Calls to one number that are looked at."""


class Credentials(NamedTuple):
    """How to ask.

    Attributes:
        origin: of the REST API: Twilio's, a region's, or an emulator's.
        account: SID of the account.
        user, secret: the account's SID and token, or an API key and its secret.
    """

    origin: str
    account: str
    user: str
    secret: str


_SILENT = logging.getLogger("agent.telephony.twilio_rest.requests")
_SILENT.setLevel(logging.CRITICAL)
"""Twilio's client would log every request with its query, and so with the numbers in it."""


class HttpClient(AsyncTwilioHttpClient):  # type: ignore[misc]
    """Twilio's HTTP client, at an origin of our choosing and with a time-out that it keeps; made inside a running loop."""

    def __init__(self, origin: str) -> None:
        super().__init__(logger=_SILENT)
        self._origin = URL(origin)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        **more: Any,
    ) -> Any:
        """Send it to our origin; what aiohttp no longer likes as `auth` goes as the header that it is."""
        # A connection that is kept may turn out to be closed when it is written to again, and then nobody knows whether the
        # request was read (RFC 9112, section 9.3.1): a call that may ring costs more than a handshake.
        given = {**(headers or {}), "Connection": "close"}
        if auth is not None:
            given["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
        moved = str(self._origin.join(URL(url).relative()))
        async with asyncio.timeout(PATIENCE):
            return await super().request(method, moved, headers=given, **more)


class TwilioCalls:
    """The calls of one account.

    Args:
        client: Twilio's.
        public_url: the origin at which Twilio reaches us.
    """

    def __init__(self, client: Client, public_url: str) -> None:
        self._client = client
        self._public_url = public_url

    async def place(self, order: CallOrder) -> str:
        """Place a call; returns Twilio's id of it.

        Raises:
            CarrierSilent: it may have been placed, see `find`.
            CarrierRefused: it was not.
        """
        with _translated():
            call = await self._client.calls.create_async(**call_parameters(order, self._public_url))
        return str(call.sid)

    async def find(self, order: CallOrder, since: float) -> str | None:
        """Twilio's id of a call that `place` may have placed after `since` (seconds since 1970); None where there is none.

        Twilio's list does not tell for which order a call was placed, so this is right only while nobody else calls the same
        number from the same caller id.
        """
        after = datetime.fromtimestamp(since - SKEW, UTC)
        with _translated():
            found = await self._client.calls.list_async(to=order.to, limit=MOST_FOUND)
        ours = (
            str(call.sid)
            for call in found
            if call._from == order.caller_id and call.date_created and call.date_created >= after
        )
        return next(ours, None)

    async def unreached(self, call_id: str) -> str | None:
        """The `end_reason` of a call that is over and that nobody took; None where it goes on, or somebody did."""
        with _translated():
            call = await self._client.calls(call_id).fetch_async()
        return UNREACHED.get(str(call.status))

    async def redirect(self, call_id: str, twiml: str) -> bool:
        """Have a live call do something else; its media stream ends. False where it is over."""
        return await self._update(call_id, twiml=twiml)

    async def hang_up(self, call_id: str) -> bool:
        """End a call, also one that still rings. False where it is over already."""
        return await self._update(call_id, status="completed")

    async def _update(self, call_id: str, **changes: str) -> bool:
        try:
            with _translated():
                await self._client.calls(call_id).update_async(**changes)
        except _OverAlready:
            return False
        return True


@asynccontextmanager
async def calls(given: Credentials, public_url: str) -> AsyncIterator[TwilioCalls]:
    """The calls of an account, for as long as the block lasts."""
    async with HttpClient(given.origin) as http:
        client = Client(given.user, given.secret, given.account, http_client=http)
        yield TwilioCalls(client, public_url)


@contextmanager
def _translated() -> Iterator[None]:
    """Make our errors of what Twilio's client and aiohttp raise. Twilio's text quotes numbers, so only its code is told."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise CarrierRefused(
            f"Twilio cannot be reached ({type(error).__name__})",
            reason="carrier_unreachable",
            blame="moment",
        ) from None
    except TwilioException as error:  # some have a status and a code, some only a text
        status, code = getattr(error, "status", None), getattr(error, "code", None)
        raise _meaning(code, status if isinstance(status, int) else 500) from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise CarrierSilent(f"Twilio did not answer ({type(error).__name__})") from None


def _meaning(code: int | None, status: int) -> CarrierRefused:
    if code in OVER_ALREADY:
        return _OverAlready(f"the call is over ({code})")
    if status >= 500:
        return CarrierSilent(f"Twilio answered {status}")
    reason, blame = refusal(code, status)
    return CarrierRefused(f"Twilio refused ({status}, error {code})", reason=reason, blame=blame)


class _OverAlready(CarrierRefused):
    """The call has ended."""
