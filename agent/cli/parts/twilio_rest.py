"""What the command asks of Twilio's REST API: whether the account is good, and a number's webhooks.

Source: "Twilio: REST API" (https://www.twilio.com/docs/usage/api). Twilio's own client speaks it; its errors leave here as one
clear line.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client
from yarl import URL

from agent.errors import UserError
from agent.protocols.twilio.number import Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from agent.config.settings import Settings

PATIENCE = 10.0
"""Seconds for one request."""

MOST_NUMBERS = 200
"""Numbers of an account that are looked at."""


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


class Number(NamedTuple):
    """A number of the account.

    Attributes:
        sid: Twilio's id of it.
        number: in E.164; for comparing and never for a log.
        trunk: the SIP trunk that takes its calls past every webhook, or empty.
        webhooks: where Twilio turns when it is called.
    """

    sid: str
    number: str
    trunk: str
    webhooks: Webhooks


def credentials(settings: Settings, *, by_token: bool = False) -> Credentials:
    """The credentials that the settings hold: the API key where there is one.

    Args:
        settings: the deployment's.
        by_token: the account's own token even so.

    Raises:
        UserError: one is missing.
    """
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    key, secret = settings.twilio_api_key, settings.twilio_api_secret
    if account is None:
        raise UserError(
            "TWILIO_ACCOUNT_SID is not set: it is on the first page of Twilio's console"
        )
    if key is not None and secret is not None and not by_token:
        return Credentials(settings.twilio_api_url, account, key, secret.get_secret_value())
    if token is None:
        raise UserError("TWILIO_AUTH_TOKEN is not set: it is on the first page of Twilio's console")
    return Credentials(settings.twilio_api_url, account, account, token.get_secret_value())


class TwilioRest:
    """The requests that we make. Every method raises UserError where Twilio refuses or cannot be reached."""

    def __init__(self, client: Client, origin: str) -> None:
        self._client = client
        self._origin = origin

    async def account_status(self) -> str:
        """`active`, `suspended` or `closed`."""
        with self._translated():
            account = await self._client.api.accounts(self._client.account_sid).fetch_async()
        return str(account.status)

    async def numbers(self) -> list[Number]:
        """The account's numbers, at most 200."""
        with self._translated():
            found = await self._client.incoming_phone_numbers.list_async(limit=MOST_NUMBERS)
        return [_number(each) for each in found]

    async def find(self, number: str) -> Number | None:
        """The number if the account has it. `number` is in E.164."""
        with self._translated():
            found = await self._client.incoming_phone_numbers.list_async(
                phone_number=number, limit=MOST_NUMBERS
            )
        # Twilio takes the number for a pattern and also answers with longer ones.
        return next((_number(each) for each in found if each.phone_number == number), None)

    async def webhooks(self, sid: str) -> Webhooks | None:
        """A number's webhooks; None if the account no longer has it."""
        try:
            with self._translated():
                return _number(
                    await self._client.incoming_phone_numbers(sid).fetch_async()
                ).webhooks
        except _NotFound:
            return None

    async def change(self, sid: str, changes: Mapping[str, str]) -> None:
        """Set some of a number's webhooks."""
        with self._translated():
            await self._client.incoming_phone_numbers(sid).update_async(**changes)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TwilioException as error:
            raise _refused(error, self._origin) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UserError(f"{self._origin} cannot be asked: {_reason(error)}") from None


def _refused(error: TwilioException, origin: str) -> UserError:
    """What to tell about an answer that is not what was asked for."""
    status, reason = None, _reason(error)
    if isinstance(error, TwilioRestException):
        status, reason = error.status, error.msg
    elif len(error.args) > 1:  # of a list: a text and the whole response
        status = getattr(error.args[1], "status_code", None)
    if status == 404:
        return _NotFound("Twilio knows no such thing (404)")
    if status in (401, 403):
        return UserError(
            f"Twilio refuses these credentials ({status}): compare TWILIO_ACCOUNT_SID and "
            "TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and its secret) with the console"
        )
    return UserError(f"{origin} answered {status or 'what Twilio would not'}: {reason}"[:300])


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class _NotFound(UserError):
    """404."""


@asynccontextmanager
async def connected(given: Credentials) -> AsyncIterator[TwilioRest]:
    """Twilio's REST API, for as long as the block lasts."""
    async with _HttpClient(given.origin) as http:
        client = Client(given.user, given.secret, given.account, http_client=http)
        yield TwilioRest(client, given.origin)


class _HttpClient(AsyncTwilioHttpClient):  # type: ignore[misc]
    """Twilio's HTTP client, at an origin of our choosing and with a time-out that it keeps."""

    def __init__(self, origin: str) -> None:
        super().__init__()
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
        given = dict(headers or {})
        if auth is not None:
            given["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
        moved = str(self._origin.join(URL(url).relative()))
        async with asyncio.timeout(PATIENCE):
            return await super().request(method, moved, headers=given, **more)


def _number(found: Any) -> Number:
    fields = {name: getattr(found, name) or "" for name in Webhooks.__struct_fields__}
    return Number(found.sid, found.phone_number, found.trunk_sid or "", Webhooks(**fields))
