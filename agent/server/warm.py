"""Warm transfers: a person is called first, hears what it is about, and takes the caller by a key or a word, or does not.

    asked --picked up--> hears the summary --takes it--> waits in a room --the caller comes--> both talk
      |                        |                              +--nobody comes in time--> hung up
      +--busy, no answer-------+--declines, hangs up--> the caller stays where he is: with the agent

The caller talks to the agent meanwhile; only when somebody waits for him does he leave it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from agent.errors import CarrierRefused, ToolFailed
from agent.protocols.door import Ask, CallOrder, HangUpNow, Meet

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config.agent_file import AgentFile
    from agent.drive.tasks import Tasks
    from agent.protocols.door import Caller, Verdict
    from agent.tools.base import CallInfo

log = structlog.get_logger()

PREFIX = "warm-"
"""Orders of this kind: their webhooks are about a person and not about a call of an agent's."""

DECIDE_WITHIN = 45.0
"""Seconds beyond the ringing that the person may take to hear the summary and to decide."""

COME_WITHIN = 30.0
"""Seconds that a person who takes the call waits for the caller, who is hearing the agent's last words."""

PARTED_WITHIN = 2.0
"""Seconds in which a caller leaves the room after the person: who is still there then has never met them."""

MOST_ASKED = 5
"""Persons who are asked in one call; a model that asks for more is refused."""

SUMMARY = 500
"""Characters of the model's words that the person hears."""

LONGEST = 14_400
"""Seconds after which the carrier ends the person's call."""

WHY = {
    "busy": "The line is busy.",
    "no_answer": "Nobody answered.",
    "declined": "They did not take the call.",
    "failed": "They could not be called.",
}
OUTCOMES = {"caller_busy": "busy", "no_answer": "no_answer", "caller_hung_up": "declined"}
"""What the end of the person's call means, by the reason that a webhook tells."""


class Carrier(Protocol):
    """Who places calls; see `agent/telephony/twilio_rest.py`."""

    async def place(self, order: CallOrder) -> str: ...
    async def hang_up(self, call_id: str) -> bool: ...
    async def redirect(self, call_id: str, twiml: str) -> bool: ...


@dataclass
class Consultation:
    """One person who was asked.

    Attributes:
        order: ours, and the name of the room.
        call: our id of the caller's call.
        target: the person's name in the agent's file.
        text: what the person hears.
        language: of that.
        outcome: `connected` once the person takes the caller.
        call_id: the provider's id of the person's call, once it is known.
        came: whether the caller was sent to the room.
        gone: whether the person's call is over.
        watch: ends the waiting where nobody comes.
    """

    order: str
    call: str
    target: str
    text: str
    language: str
    outcome: asyncio.Future[str]
    call_id: str = ""
    came: bool = False
    gone: bool = False
    watch: asyncio.Task[None] | None = None


@dataclass
class WarmTransfers:
    """The persons whom this process has asked.

    Args:
        tasks: the server's.
        new_id: makes ids.
        caller_id: what a person's display shows where the agent's file does not say.

    Attributes:
        carrier: None where the settings name none; then nobody can be asked.
        fetch: takes a call back whose caller sits in a room alone: the provider's id of it and what he gets; None where he is not there.
        words: a verdict in the carrier's language.
    """

    tasks: Tasks
    new_id: Callable[[], str]
    caller_id: str | None = None
    carrier: Carrier | None = None
    fetch: Callable[[str], tuple[str, Verdict] | None] = lambda call: None
    words: Callable[[Verdict], str] = str
    _asked: dict[str, Consultation] = field(default_factory=dict)

    # ---- the agent's side

    async def ask(self, info: CallInfo, agent: AgentFile, target: str, summary: str) -> None:
        """Call the person, and wait until they take the caller.

        Raises:
            ToolFailed: they do not; the words are for the model.
        """
        mine = [each for each in self._asked.values() if each.call == info.id]
        if any(each.target == target and self._waits(each) for each in mine):
            return
        if len(mine) >= MOST_ASKED:
            raise ToolFailed("Too many people were called for this caller already.")
        shown = agent.outbound.caller_id or self.caller_id or next(iter(agent.numbers), None)
        carrier = self.carrier
        if carrier is None or shown is None:
            log.error("a warm transfer needs the carrier's credentials and a CALLER_ID")
            raise ToolFailed("Nobody can be called from here.")
        there = agent.transfer[target]
        text = f"{there.whisper or 'A caller wants to speak with you.'} {summary[:SUMMARY]}".strip()
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        one = Consultation(PREFIX + self.new_id(), info.id, target, text, agent.language, outcome)
        self._asked[one.order] = one
        order = CallOrder(one.order, there.address, shown, there.timeout, LONGEST, False)
        taken = False
        try:
            async with asyncio.timeout(there.timeout + DECIDE_WITHIN):
                one.call_id = await carrier.place(order)
                taken = await outcome == "connected"
        except CarrierRefused as error:
            log.warning("a person could not be called", why=str(error))
            raise ToolFailed(WHY["failed"]) from None
        except TimeoutError:
            raise ToolFailed(WHY["no_answer"]) from None
        finally:
            if not taken:
                self._let_go(one)
        if not taken:
            raise ToolFailed(WHY[outcome.result()] + " The caller is still with you.")
        one.watch = self.tasks.start(f"wait {one.order}", self._wait_for_caller(one))

    def room(self, call: str, target: str) -> str | None:
        """Where this call's caller is waited for; None where nobody waits any more."""
        for one in self._asked.values():
            if (one.call, one.target) == (call, target) and self._waits(one):
                one.came = True
                _stop(one)
                return one.order
        return None

    def call_ended(self, call: str, reason: str) -> None:
        """The caller's call with us is over; whoever still waits for him waits no longer."""
        for one in [each for each in self._asked.values() if each.call == call]:
            del self._asked[one.order]
            _stop(one)
            if not (one.came and reason == "transferred"):
                self._let_go(one)

    # ---- the person's side

    def concerns(self, caller: Caller) -> bool:
        """Whether a webhook is about a person who was asked."""
        return caller.order.startswith(PREFIX)

    def picked_up(self, caller: Caller) -> Verdict:
        """The person has picked up: they hear what it is about, and are asked."""
        one = self._asked.get(caller.order)
        if one is None or one.gone or one.outcome.done():
            return HangUpNow()
        one.call_id = caller.call_id
        return Ask(one.text, one.order, one.language)

    def decided(self, caller: Caller) -> Verdict:
        """The person has pressed a key, or said something."""
        one = self._asked.get(caller.order)
        if one is None or one.gone:
            return HangUpNow()
        if not one.outcome.done():
            one.outcome.set_result("connected" if caller.accepts else "declined")
        return Meet(one.order) if one.outcome.result() == "connected" else HangUpNow()

    def over(self, caller: Caller) -> None:
        """The person's call is over."""
        one = self._asked.get(caller.order)
        if one is None:
            return
        if one.came and not one.gone:
            self.tasks.start(f"alone {one.order}", self._fetch_if_alone(one))
        one.gone = True
        if not one.outcome.done():
            one.outcome.set_result(OUTCOMES.get(caller.over, "failed"))

    async def _fetch_if_alone(self, one: Consultation) -> None:
        """The person left while the caller was on his way to the room, where he would hear music for ever."""
        await asyncio.sleep(PARTED_WITHIN)
        found = self.fetch(one.call) if one.order in self._asked else None
        if found is None or self.carrier is None:
            return
        call_id, verdict = found
        try:
            await self.carrier.redirect(call_id, self.words(verdict))
        except CarrierRefused as error:
            log.error("a caller could not be taken back from an empty room", why=str(error))

    # ----

    def _waits(self, one: Consultation) -> bool:
        taken = one.outcome.done() and not one.outcome.cancelled()
        return taken and one.outcome.result() == "connected" and not one.gone

    async def _wait_for_caller(self, one: Consultation) -> None:
        await asyncio.sleep(COME_WITHIN)
        self._let_go(one)

    def _let_go(self, one: Consultation) -> None:
        """Nobody needs the person any more."""
        if not one.gone:
            one.gone = True
            self.tasks.start(f"let go {one.order}", self._hang_up(one.call_id))

    async def _hang_up(self, call_id: str) -> None:
        if self.carrier is None or not call_id:
            return
        try:
            await self.carrier.hang_up(call_id)
        except CarrierRefused as error:
            log.warning("a person's call could not be ended", why=str(error))


def _stop(one: Consultation) -> None:
    """The caller has come, or will not."""
    if one.watch is not None:
        one.watch.cancel()
