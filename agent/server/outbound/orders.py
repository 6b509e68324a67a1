"""Calls that somebody wants: checked by rules that no model and no client can talk round, and reserved once per key.

What is checked here is checked again when the call is dialled, which may be hours later; the do-not-call list and the caps are
the database's, in the transactions that reserve and that dial (`agent/storage/attempts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.config.variables import with_variables
from agent.errors import PickupError, UserError
from agent.server.outbound.habits import habits_of
from agent.server.providers import CARRIER
from agent.storage.attempts import Caps, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.server.outbound.destinations import Destinations
    from agent.server.outbound.habits import Habits
    from agent.storage.attempts import Attempt, Attempts

IN_WORDS = {
    "do_not_call": "whoever has this number does not want to be called",
    "number_per_day": "this number was called as often as CALLS_PER_NUMBER allows in 24 hours",
    "per_hour": "as many calls were placed as CALLS_PER_HOUR allows",
    "per_day": "as many calls were placed as CALLS_PER_DAY allows in 24 hours",
}
"""What the database refuses, as a person reads it."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that somebody wants.

    Attributes:
        to: who is called: a number (E.164) or a `sip:` address.
        agent: name of the agent's file.
        variables: what the agent is told, by the names in its file.
        wait: outside the callee's hours, call when they begin instead of refusing.
    """

    to: str
    agent: str
    variables: dict[str, str] = {}
    wait: bool = False


class OrderRefused(PickupError):
    """A call that will not be placed; the text says why, without the number.

    Attributes:
        why: a word for programs: `number`, `carrier`, `agent`, `variables`, `caller_id`, `destination`, `hours`, `key`, or what the
            database said.
        not_before: where waiting helps: until when, seconds since 1970-01-01 UTC.
    """

    label = "order_refused"
    spoken = None

    def __init__(self, why: str, message: str, not_before: float | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.not_before = not_before


class Ready(NamedTuple):
    """An order that may be dialled, as far as rules without a database can tell.

    Attributes:
        agent: with the order's variables in its words.
        habits: how that agent calls people.
    """

    agent: AgentFile
    habits: Habits


class Ways(NamedTuple):
    """Who may carry calls of ours here.

    Attributes:
        usual: who carries a call to a number where the agent's file says nothing.
        sip_from: our own SIP address; None: no call is placed by SIP.
        trunk: whether there is somebody who carries calls to numbers by SIP.
    """

    usual: str = CARRIER
    sip_from: str | None = None
    trunk: bool = False

    def way(self, to: str, wanted: str | None) -> str:
        """Who carries a call to `to` of an agent that wants `wanted`.

        Raises:
            OrderRefused: nobody here can.
        """
        address = to.startswith("sip:")
        by = "sip" if address else wanted or self.usual
        if by == "sip" and self.sip_from is None:
            raise OrderRefused("carrier", "no call is placed by SIP here: SIP_LISTEN is not set")
        if by == "sip" and not (address or self.trunk):
            raise OrderRefused(
                "carrier", "nobody carries calls to numbers by SIP: SIP_TRUNK is not set"
            )
        return by


@dataclass(frozen=True)
class Orders:
    """Takes orders.

    Attributes:
        attempts: where they are kept.
        agents: who calls.
        destinations: where to, told anew for each order since agents' files change.
        caller_id: what agents call from whose files name nothing.
        caps: how many calls there may be.
        ways: who may carry them.
    """

    attempts: Attempts
    agents: AgentFiles
    destinations: Callable[[], Destinations]
    caller_id: str | None
    caps: Caps
    ways: Ways = Ways()

    async def want(self, order: Order, key: str, new_id: str, wall: float) -> Attempt:
        """Reserve a call; the same key again gets the same call.

        Raises:
            OrderRefused: it breaks a rule, or the key belongs to another call.
            StorageError: the database did not answer; nobody will be called.
        """
        if (known := await self.attempts.by_key(key)) is not None:
            return _same(known, order)
        ready = self.check(order.to, order.agent, order.variables)
        not_before = ready.habits.hours.next_permitted(order.to, wall)
        if not_before is None or (not_before > wall and not order.wait):
            raise OrderRefused("hours", _outside(not_before), not_before)
        wanted = Wanted(
            id=new_id,
            idempotency_key=key,
            number=order.to,
            agent=order.agent,
            variables=order.variables,
            not_before=not_before,
        )
        reserved = await self.attempts.reserve(wanted, wall, self.caps)
        if reserved.attempt is None:
            why = reserved.refused or "refused"
            raise OrderRefused(why, IN_WORDS.get(why, why))
        return reserved.attempt if reserved.fresh else _same(reserved.attempt, order)

    def check(self, to: str, agent_name: str, variables: dict[str, str]) -> Ready:
        """Everything that needs neither clock nor database.

        Raises:
            OrderRefused: it breaks a rule.
        """
        if why := self.destinations().refusal(to):
            kind = "number" if "E.164" in why else "destination"
            raise OrderRefused(kind, f"{_what(to)} cannot be called: {why}")
        try:
            file = self.agents.get(agent_name)
        except UserError as error:
            raise OrderRefused("agent", str(error)) from None
        try:
            agent = with_variables(file, variables)
        except UserError as error:
            raise OrderRefused("variables", str(error)) from None
        by = self.ways.way(to, agent.outbound.by)
        habits = habits_of(
            agent, by, self.caller_id or (self.ways.sip_from if by == "sip" else None)
        )
        if habits is None:
            raise OrderRefused(
                "caller_id",
                f"{agent.name} has no number to call from: `outbound: caller_id` in its file, or CALLER_ID",
            )
        return Ready(agent, habits)


def _what(to: str) -> str:
    return "this address" if to.startswith("sip:") else "this number"


def _same(known: Attempt, order: Order) -> Attempt:
    if (known.number, known.agent, known.variables) != (order.to, order.agent, order.variables):
        raise OrderRefused("key", "this idempotency key belongs to another call")
    return known


def _outside(not_before: float | None) -> str:
    if not_before is None:
        return "nobody knows what time it is there, so it is never called"
    at = datetime.fromtimestamp(not_before).astimezone().isoformat(timespec="minutes")
    return f"it is outside the hours in which people may be called there; they begin at {at}"
