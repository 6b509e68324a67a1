"""Calls that we place by SIP: the carrier is this process itself, so that what it does not know of is over.

placed: rings --taken--> its agent speaks --last words--> hung up
          |---nobody takes it---> taken back (CANCEL), or refused by whoever is called
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import CarrierRefused
from agent.protocols.door import Caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.protocols.door import CallOrder
    from agent.server.arrivals import Arrivals
    from agent.telephony.sip_line import SipLine

PREFIX = "sip:"
"""What the ids of these calls begin with; the rest is the order's."""


class SipCalls:
    """The calls that this process places by SIP.

    Args:
        dial: places one at a URI and shows a number, as `SipStack.dial`.
        arrivals: brings whoever takes one to its agent.
        trunk: host that carries calls to numbers, with parameters where it has some; None: nobody does.
    """

    def __init__(
        self,
        dial: Callable[[str, str], Awaitable[SipLine]],
        arrivals: Arrivals,
        trunk: str | None,
    ) -> None:
        self._dial = dial
        self._arrivals = arrivals
        self._trunk = trunk
        self._lines: dict[str, SipLine] = {}

    async def place(self, order: CallOrder) -> str:
        """Place a call; returns its id.

        Raises:
            CarrierRefused: it does not ring.
        """
        if order.to.startswith("sip:"):
            uri = order.to
        elif self._trunk is None:
            raise CarrierRefused("nobody carries calls to numbers by SIP", reason="carrier_refused")
        else:
            uri = f"sip:{order.to}@{self._trunk}"
        shown = order.caller_id if order.caller_id.startswith("+") else ""
        line = await self._dial(uri, shown)
        call_id = f"{PREFIX}{order.id}"
        self._lines[call_id] = line
        line.ended.add_done_callback(lambda _: self._lines.pop(call_id, None))
        caller = Caller(
            provider="sip",
            call_id=call_id,
            account="",
            direction="outbound-api",
            from_number=order.caller_id,
            to_number=order.to,
            order=order.id,
        )
        line.sink = self._arrivals.place(caller, line, order.ring_seconds)
        return call_id

    async def find(self, order: CallOrder, since: float) -> str | None:
        """The id of a call that may have been placed: its process was about to, and nobody else can tell whether it rang."""
        return f"{PREFIX}{order.id}"

    async def unreached(self, call_id: str) -> str | None:
        """None: how a call ended that is not live here is known to nobody, nor whether somebody took it."""
        return None

    async def hang_up(self, call_id: str) -> bool:
        """End a call, also one that still rings; False where it is over already."""
        line = self._lines.get(call_id)
        if line is None:
            return False
        line.leave()
        return True
