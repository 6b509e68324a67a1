"""Who is on which call: slots, tokens, legs, and what a caller is told who cannot be put through.

Provider-neutral: a webhook asks, the answer is a `Verdict`, and the provider's own room turns that into its own language.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import structlog

from agent.config.variables import with_variables
from agent.errors import UserError
from agent.protocols.door import HangUpNow, Join, Say, Transfer, Verdict
from agent.protocols.token import TokenClaims
from agent.server.admission import Breaker
from agent.server.live_call import LiveCall
from agent.server.metrics import Metrics
from agent.server.spoken import closed, said
from agent.tools.base import CallInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.config.agent_file import AgentFile
    from agent.drive.tasks import Tasks
    from agent.events import LineEvent
    from agent.protocols.base import StreamStart
    from agent.protocols.door import Caller
    from agent.server.register import Register
    from agent.server.wiring import Wiring
    from agent.telephony.media_stream import MediaStreamLine

log = structlog.get_logger()

REMEMBERED = 1000
"""Ended calls that are remembered for webhooks that come late; the oldest is forgotten, and the database answers for it."""

ANSWER_LIMIT = 10.0
"""Seconds after which a webhook is answered whatever happened: Twilio gives up at 15."""

OUR_TROUBLE = frozenset({"model_lost", "internal_error", "crash", "no_start", "line_lost"})
"""Ends after which a caller who is still there hears a sentence, or is put through to a person where the agent's file names one."""


BREAKER = {Breaker.CLOSED: 0.0, Breaker.HALF_OPEN: 0.5, Breaker.OPEN: 1.0}
"""As `/metrics` shows it."""


class Place(NamedTuple):
    """A call on the switchboard and the answers its webhooks got, by leg: a repeated webhook gets the same answer."""

    caller: Caller
    call: LiveCall
    verdicts: dict[int, asyncio.Task[Verdict]]


class Switchboard:
    """All live calls of this process.

    Args:
        wiring: what calls are made of.
        register: their records and tokens.
        tasks: owner of the calls.
        max_calls: slots.
    """

    def __init__(self, wiring: Wiring, register: Register, tasks: Tasks, max_calls: int) -> None:
        self.draining = False
        self.metrics = Metrics(lambda: self.active)
        self._wiring = wiring
        self._register = register
        self._tasks = tasks
        self._max_calls = max_calls
        self._places: dict[str, Place] = {}
        self._ended: dict[str, tuple[str, str | None]] = {}
        self.metrics.breaker.set_function(lambda: BREAKER[self._breaker()])

    @property
    def active(self) -> int:
        """Calls that are live or hold a slot."""
        return len(self._places)

    @property
    def full(self) -> bool:
        return self.active >= self._max_calls

    def drain(self) -> None:
        """Take no new calls; those that hold a slot go on."""
        self.draining = True
        log.info("draining", calls=self.active)

    async def close(self) -> None:
        """End every call now."""
        for place in list(self._places.values()):
            place.call.abandon("server_stopped")
        await self._tasks.close(grace=5.0)

    # ---- webhooks

    async def ring(self, caller: Caller) -> Verdict:
        """A caller rings: hold until the agent can speak, or say why it cannot."""
        place = self._places.get(caller.call_id)
        if place is None:
            if (ended := self._ended.get(caller.call_id)) is not None:
                return _after(*ended)
            try:
                agent = self._wiring.agent_for(caller.to_number)
            except UserError as error:
                log.error("no agent to answer with", why=str(error))
                self.metrics.refused.labels("no_agent").inc()
                return said("trouble")
            if (refusal := self._refusal(caller, agent)) is not None:
                return refusal
            place = self._take(caller, agent)
        return await self._verdict(place, 1, self._first)

    def _refusal(self, caller: Caller, agent: AgentFile) -> Verdict | None:
        """What a caller gets whom this agent cannot talk to now."""
        wiring = self._wiring
        if caller.direction == "inbound" and (verdict := closed(agent, wiring.wall())) is not None:
            self.metrics.refused.labels("closed").inc()
            return verdict
        why = "draining" if self.draining else "busy" if self.full else ""
        if why := why or wiring.admission.admit(wiring.wakeups.now()):
            self.metrics.refused.labels(why).inc()
            return said("busy", agent)
        return None

    async def after(self, caller: Caller) -> Verdict:
        """The stream ended, for whatever reason: what now?"""
        place = self._places.get(caller.call_id)
        if place is None:
            ended = self._ended.get(caller.call_id)
            return _after(*(ended or (await self._register.end_reason(caller.call_id), None)))
        call, leg = place.call, caller.leg or place.call.leg
        if leg == 0 or leg > call.leg:
            call.abandon("no_start")  # it never came: another one would not either
            return _after("no_start", call.agent.fallback_number)
        if leg == call.leg:  # else this is told twice, and a later stream is on
            call.line_ended()
        return await self._verdict(place, leg + 1, self._again)

    def over(self, call_id: str, reason: str) -> None:
        """The provider says that the call itself has ended."""
        place = self._places.get(call_id)
        if place is not None:
            place.call.abandon(reason)

    async def _verdict(
        self, place: Place, leg: int, decide: Callable[[Place, int], Coroutine[Any, Any, Verdict]]
    ) -> Verdict:
        task = place.verdicts.get(leg)
        if task is None:
            name = f"verdict {place.call.id} {leg}"
            task = place.verdicts[leg] = self._tasks.start_read(name, decide(place, leg))
        return await asyncio.shield(task)

    async def _first(self, place: Place, leg: int) -> Verdict:
        call = place.call
        await self._register.create(call.id, call.agent.name, place.caller)
        await asyncio.wait([call.answered], timeout=ANSWER_LIMIT)
        if call.reason or place.caller.call_id not in self._places:
            verdict = _after(call.reason, call.agent.fallback_number, spoken=False)
            out_of_room = call.reason == "model_lost" and self._breaker() is not Breaker.CLOSED
            return said("busy", call.agent) if out_of_room and isinstance(verdict, Say) else verdict
        return self._join(place, leg)

    async def _again(self, place: Place, leg: int) -> Verdict:
        await asyncio.sleep(0)  # let the machine hear that its line is gone
        if place.call.reason or place.caller.call_id not in self._places:
            return _after(place.call.reason, place.call.agent.fallback_number)
        return self._join(place, leg)

    def _join(self, place: Place, leg: int) -> Join:
        return Join(self._register.issue(place.caller.call_id, leg), leg)

    def _breaker(self) -> Breaker:
        return self._wiring.admission.breaker(self._wiring.wakeups.now())

    # ---- streams

    async def admit(
        self, start: StreamStart, line: MediaStreamLine
    ) -> Callable[[LineEvent], None] | None:
        """Find the call that a stream belongs to, and spend its token; None refuses."""
        place = self._places.get(start.call_id)
        claims = self._register.check(start.call_id, start.parameters.get("token"))
        if not isinstance(claims, TokenClaims):
            self._refused(claims)
            return None
        if place is None or place.caller.account != start.account:
            self._refused("no such call")
            return None
        call = place.call
        if claims.leg != call.leg + 1:
            self._refused("not the next leg")
            return None
        if not await self._register.spend(claims, call.id):
            self._refused("spent")
            return None
        if call.reason or claims.leg != call.leg + 1:
            self._refused("too late")
            return None
        call.attach(line, claims.leg)
        if claims.leg == 1:
            self._tasks.start(f"answered {call.id}", self._register.answered(call.id))
        return lambda event: call.hear(line, event)

    def _refused(self, why: str) -> None:
        log.warning("stream refused", why=str(why))
        self.metrics.refused.labels("token").inc()

    # ---- calls

    def _take(self, caller: Caller, agent: AgentFile) -> Place:
        agent = with_variables(agent, {}, must=False)
        info = CallInfo(self._wiring.new_id(), agent.name, caller.from_number, _direction(caller))
        call = LiveCall(info, agent, self._wiring)
        place = Place(caller, call, {})
        self._places[caller.call_id] = place
        self._tasks.start(f"call {call.id}", self._live(place))
        return place

    async def _live(self, place: Place) -> None:
        call = place.call
        self.metrics.started.inc()
        try:
            await call.run()
        finally:
            self._ended[place.caller.call_id] = (call.reason, call.agent.fallback_number)
            while len(self._ended) > REMEMBERED:
                del self._ended[next(iter(self._ended))]
            del self._places[place.caller.call_id]
            log.info("call ended", call=call.id, reason=call.reason)
            self.metrics.add(call.reason, call.counted, call.turns)
            figures = call.figures()
            if figures.get("left_out"):
                self.metrics.reduced.inc()
            await self._register.finish(call.id, call.reason, call.leg, figures)


def _direction(caller: Caller) -> Literal["inbound", "outbound"]:
    return "inbound" if caller.direction == "inbound" else "outbound"


def _after(reason: str, fallback: str | None, *, spoken: bool = True) -> Verdict:
    """What a caller gets whose conversation has ended for `reason`; `spoken`: whether it heard us say so."""
    if reason in OUR_TROUBLE and fallback:
        return Transfer(fallback)
    if reason in OUR_TROUBLE and not (spoken and reason == "model_lost"):
        return said("trouble")
    return HangUpNow()
