"""Everything that calls of ours need, put together: rules, orders, dialer, carrier and API."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from agent.errors import UserError
from agent.server.outbound.api import CallsApi
from agent.server.outbound.carrier import Carriers, credentials
from agent.server.outbound.destinations import Destinations
from agent.server.outbound.dialer import Dialer, Post
from agent.server.outbound.orders import Orders, Ways
from agent.server.outbound.promises import Promises
from agent.server.providers import CARRIER
from agent.storage.attempts import Caps
from agent.storage.records import Records
from agent.telephony.twilio_rest import calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import BaseRoute

    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.server.outbound.dialer import Carrier
    from agent.server.stores import Stores
    from agent.server.switchboard import Switchboard
    from agent.server.warm import WarmTransfers
    from agent.server.wiring import Wiring

log = structlog.get_logger()


class Outbound:
    """The calls that this process places.

    Args:
        wiring: what calls are made of.
        board: lives them.
        stores: keep what was ordered.
        instance: this process.
        public_url: the origin at which the carrier reaches us.
        warm: asks persons by the same carrier.

    Attributes:
        by_sip: places calls by SIP; None: nobody does.
    """

    def __init__(
        self,
        wiring: Wiring,
        board: Switchboard,
        stores: Stores,
        instance: str,
        public_url: str,
        warm: WarmTransfers,
    ) -> None:
        settings = wiring.settings
        self._wiring = wiring
        self._board = board
        self._instance = instance
        self._public_url = public_url
        self._warm = warm
        self._stores = stores
        self._stack = AsyncExitStack()
        self._dialer: Dialer | None = None
        self.by_sip: Carrier | None = None
        self.orders = Orders(
            attempts=stores.attempts,
            agents=wiring.agents,
            destinations=lambda: destinations(settings, wiring.agents),
            caller_id=settings.caller_id,
            caps=caps(settings),
            ways=ways(settings),
        )

    async def open(self) -> list[BaseRoute]:
        """Begin to dial where a carrier is set up; the routes of the API where it has a token."""
        settings = self._wiring.settings
        try:
            given = credentials(settings)
        except UserError:
            given = None
        known: dict[str, Carrier] = {} if self.by_sip is None else {"sip": self.by_sip}
        if given is not None:
            carrier = await self._stack.enter_async_context(calls(given, self._public_url))
            self._warm.carrier = known[CARRIER] = carrier
        if known and (settings.call_countries or (self.by_sip and settings.call_sip_hosts)):
            self._dial(Carriers(known))
        if settings.api_token is None:
            return []
        api = CallsApi(
            self.orders,
            settings.api_token.get_secret_value(),
            stir=self._dialer.stir if self._dialer else None,
            take_back=self._board.take_back,
            new_id=self._wiring.new_id,
            wall=self._wiring.wall,
        )
        return api.routes()

    def _dial(self, carrier: Carrier) -> None:
        """Dial from now on what is ordered, and order what was promised."""
        wiring, stores = self._wiring, self._stores
        dialer = Dialer(self.orders, stores.campaigns, self._board, carrier, self._post())
        dialer.begin()
        self._dialer = dialer
        promises = Promises(
            self.orders,
            stores,
            Records(stores.database),
            stir=dialer.stir,
            new_id=wiring.new_id,
            wall=wiring.wall,
        )
        wiring.tasks.start("promised calls", promises.keep())

    async def close(self) -> None:
        """The calls have ended."""
        if self._dialer is not None:
            await self._dialer.close()
        self._warm.carrier = None
        await self._stack.aclose()

    def _post(self) -> Post:
        settings = self._wiring.settings
        return Post(
            instance=self._instance,
            provider=CARRIER,
            wall=self._wiring.wall,
            per_second=settings.calls_per_second,
            max_seconds=settings.max_call_seconds,
        )


def destinations(settings: Settings, agents: AgentFiles) -> Destinations:
    """Where this deployment may call."""
    countries = frozenset(filter(None, settings.call_countries.split(",")))
    hosts = frozenset(filter(None, settings.call_sip_hosts.split(",")))
    return Destinations(countries, frozenset(_own(settings, agents)), hosts)


def trunk(settings: Settings) -> str | None:
    """Who carries calls to numbers by SIP."""
    return settings.sip_trunk or settings.sip_registrar


def ways(settings: Settings) -> Ways:
    """Who may carry calls: where only SIP is set up, numbers go by it too."""
    listen, there = settings.sip_listen, trunk(settings)
    own = None if listen is None else f"sip:{settings.sip_user}@{settings.sip_registrar or listen}"
    usual = "sip" if own and there and settings.twilio_account_sid is None else CARRIER
    return Ways(usual, own, there is not None)


def caps(settings: Settings) -> Caps:
    """How many calls it may place."""
    return Caps(
        number_per_day=settings.calls_per_number,
        per_hour=settings.calls_per_hour,
        per_day=settings.calls_per_day,
    )


def _own(settings: Settings, agents: AgentFiles) -> Iterator[str]:
    """Numbers that ring here."""
    if settings.caller_id is not None:
        yield settings.caller_id
    if settings.sip_listen is not None:
        yield settings.sip_listen
    for name in agents.names():
        try:
            agent = agents.get(name)
        except UserError:
            continue  # told where the agent is asked for
        yield from agent.numbers
        if agent.outbound.caller_id is not None:
            yield agent.outbound.caller_id
