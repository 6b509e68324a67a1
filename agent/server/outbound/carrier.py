"""Who carries our calls: by which of them a call goes, and with which credentials it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import CarrierRefused, UserError
from agent.server.providers import CARRIER
from agent.telephony.twilio_rest import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config.settings import Settings
    from agent.protocols.door import CallOrder
    from agent.server.outbound.dialer import Carrier


class Carriers:
    """Several carriers as one: an order names whose it is, and the id of a call by SIP begins with `sip:`.

    Args:
        known: by name, as `CallOrder.by` has it.
    """

    def __init__(self, known: Mapping[str, Carrier]) -> None:
        self._known = known

    async def place(self, order: CallOrder) -> str:
        return await self._named(order.by).place(order)

    async def find(self, order: CallOrder, since: float) -> str | None:
        return await self._named(order.by).find(order, since)

    async def unreached(self, call_id: str) -> str | None:
        return await self._of(call_id).unreached(call_id)

    async def hang_up(self, call_id: str) -> bool:
        return await self._of(call_id).hang_up(call_id)

    def _of(self, call_id: str) -> Carrier:
        return self._named("sip" if call_id.startswith("sip:") else CARRIER)

    def _named(self, name: str) -> Carrier:
        if name not in self._known:
            raise CarrierRefused(f"{name} is not set up here", reason="carrier_unreachable")
        return self._known[name]


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
