"""What the command asks of Twilio's REST API: whether the account is good, and a number's webhooks.

Source: "Twilio: REST API" (https://www.twilio.com/docs/usage/api). Twilio's own client speaks it; its errors leave here as one
clear line.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

from agent.errors import UserError
from agent.protocols.twilio.number import Webhooks
from agent.telephony.twilio_rest import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from agent.telephony.twilio_rest import Credentials

MOST_NUMBERS = 200
"""Numbers of an account that are looked at."""


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
    async with HttpClient(given.origin) as http:
        client = Client(given.user, given.secret, given.account, http_client=http)
        yield TwilioRest(client, given.origin)


def _number(found: Any) -> Number:
    fields = {name: getattr(found, name) or "" for name in Webhooks.__struct_fields__}
    return Number(found.sid, found.phone_number, found.trunk_sid or "", Webhooks(**fields))
