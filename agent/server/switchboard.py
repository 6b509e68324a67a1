"""Who is on which call: slots, tokens, legs, and what a caller is told who cannot be put through.

Provider-neutral: a webhook asks, the answer is a `Verdict`, and the provider's own room turns that into its own language.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import structlog

from agent.config.variables import fitting, with_variables
from agent.errors import UserError
from agent.protocols.door import HangUpNow, Join, Meet, Say, Transfer, Verdict
from agent.protocols.token import TokenClaims
from agent.server import transfers
from agent.server.admission import Breaker
from agent.server.caller_caps import CallerCaps
from agent.server.live_call import LiveCall
from agent.server.metrics import Metrics
from agent.server.spoken import OUR_TROUBLE, Amends, amends, closed, said
from agent.tools.base import CallInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from agent.call.ports import AttachedLine
    from agent.config.agent_file import AgentFile
    from agent.drive.tasks import Tasks
    from agent.events import LineEvent
    from agent.protocols.base import StreamStart
    from agent.protocols.door import AnsweredBy, Caller
    from agent.server.register import Register
    from agent.server.warm import WarmTransfers
    from agent.server.wiring import Wiring

log = structlog.get_logger()

REMEMBERED = 1000
"""Ended calls that are remembered for webhooks that come late; the oldest is forgotten, and the database answers for it."""

ANSWER_LIMIT = 10.0
"""Seconds after which a webhook is answered whatever happened: Twilio gives up at 15."""

BREAKER = {Breaker.CLOSED: 0.0, Breaker.HALF_OPEN: 0.5, Breaker.OPEN: 1.0}
"""As `/metrics` shows it."""


@dataclass
class Place:
    """A call on the switchboard.

    Attributes:
        caller: who calls; of a call of ours the provider's ids are not known before it was placed.
        call: the conversation.
        verdicts: the answers its webhooks got: a repeated webhook gets the same answer. By the leg that comes next, and by whether a
            transfer was tried before it.
        recorded: whether it has a record: a call of ours gets one when its callee answers, or at its end.
        created: set when its record is there, or cannot be.
        over: set when it has ended and left the switchboard.
    """

    caller: Caller
    call: LiveCall
    verdicts: dict[tuple[int, bool], asyncio.Task[Verdict]] = field(default_factory=dict)
    recorded: bool = False
    created: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


async def _nobody(caller: Caller) -> bool:
    return False


class Switchboard:
    """All live calls of this process.

    Args:
        wiring: what calls are made of.
        register: their records and tokens.
        tasks: owner of the calls.
        max_calls: slots.
        warm: the persons who were asked whether they take a caller.

    Attributes:
        adopt: asked to open a call of ours that another process placed, when its webhook comes here.
        over_elsewhere: told of the end of a call of ours that another process has, when its webhook comes here.
    """

    def __init__(
        self,
        wiring: Wiring,
        register: Register,
        tasks: Tasks,
        max_calls: int,
        warm: WarmTransfers,
    ) -> None:
        self.draining = False
        self._warm = warm
        warm.fetch = self._fetch
        self.metrics = Metrics(lambda: self.active)
        self._wiring = wiring
        self._register = register
        self._tasks = tasks
        self._max_calls = max_calls
        self.adopt: Callable[[Caller], Awaitable[bool]] = _nobody
        self.over_elsewhere: Callable[[Caller], None] = lambda caller: None
        self._caps = CallerCaps(wiring.settings.caller_calls_per_hour)
        self._places: dict[str, Place] = {}
        self._orders: dict[str, Place] = {}  # calls of ours whose provider's id is not known yet
        self._ended: dict[str, tuple[str, Amends]] = {}
        self.metrics.breaker.set_function(lambda: BREAKER[self._breaker()])

    @property
    def active(self) -> int:
        """Calls that are live or hold a slot."""
        return len(self._places) + len(self._orders)

    @property
    def full(self) -> bool:
        return self.active >= self._max_calls

    def drain(self) -> None:
        """Take no new calls; those that hold a slot go on."""
        self.draining = True
        log.info("draining", calls=self.active)

    async def close(self) -> None:
        """End every call now."""
        for place in [*self._places.values(), *self._orders.values()]:
            place.call.abandon("server_stopped")
        await self._tasks.close(grace=5.0)

    # ---- webhooks

    async def ring(self, caller: Caller) -> Verdict:
        """A caller rings: hold until the agent can speak, or say why it cannot."""
        if self._warm.concerns(caller):
            return self._warm.picked_up(caller)
        place = self._known(caller)
        if place is None:
            if (ended := self._ended.get(caller.call_id)) is not None:
                return HangUpNow() if caller.order else _after(*ended)
            if caller.order:
                return await self._picked_up(caller)
            taken = self._taken(caller)
            if not isinstance(taken, Place):
                return taken
            place = taken
        return await self._verdict(place, 1, self._first)

    async def arrive(self, caller: Caller) -> LiveCall | Verdict:
        """A line brings a call by itself, or whoever took one of ours: hold it until the agent can speak, or say why it cannot.

        Nothing follows by a webhook: whoever brings the call attaches its line at once, and hangs up when the call has ended.
        """
        if caller.order:
            place = self._known(caller)
            return (await self._unready(place) or place.call) if place else HangUpNow()
        if caller.call_id in self._places:
            log.warning("a call came in twice", provider=caller.provider)
            self.metrics.refused.labels("twice").inc()
            return HangUpNow()
        taken = self._taken(caller, own_line=True)
        if not isinstance(taken, Place):
            return taken
        return await self._unready(taken) or taken.call

    def answered(self, call: LiveCall) -> None:
        """The caller hears us: it is noted in the call's record."""
        self._tasks.start(f"answered {call.id}", self._register.answered(call.id))

    def _taken(self, caller: Caller, *, own_line: bool = False) -> Place | Verdict:
        """A slot for somebody who calls, or what they get instead."""
        try:
            agent = self._wiring.agent_for(caller.to_number)
        except UserError as error:
            log.error("no agent to answer with", why=str(error))
            self.metrics.refused.labels("no_agent").inc()
            return said("trouble")
        return self._refusal(caller, agent) or self._take(caller, agent, own_line)

    def _refusal(self, caller: Caller, agent: AgentFile) -> Verdict | None:
        """What a caller gets whom this agent cannot talk to now."""
        if (
            caller.direction == "inbound"
            and (verdict := closed(agent, self._wiring.wall())) is not None
        ):
            self.metrics.refused.labels("closed").inc()
            return verdict
        if caller.direction == "inbound" and not self._caps.admit(
            caller.from_number, self._wiring.wakeups.now()
        ):
            self.metrics.refused.labels("caller").inc()
            return said("busy", agent)
        return said("busy", agent) if self._no_room() else None

    async def _picked_up(self, caller: Caller) -> Verdict:
        """Somebody picked up a call of ours that is not live here: it goes on here if it can."""
        place = self._known(caller) if await self.adopt(caller) else None
        if place is None:
            log.warning("a call of ours was answered that nobody here knows")
            return HangUpNow()
        return await self._verdict(place, 1, self._first)

    async def after(self, caller: Caller) -> Verdict:
        """The stream ended, for whatever reason: what now?"""
        place = self._places.get(caller.call_id)
        if place is None:
            ended = self._ended.get(caller.call_id)
            reason, owed = ended or (await self._register.end_reason(caller.call_id), Amends())
            return _after(_untaken(reason, caller), owed)
        call, leg = place.call, caller.leg or place.call.leg
        if leg == 0 or leg > call.leg:
            call.abandon("no_start")  # it never came: another one would not either
            return _after("no_start", amends(call.agent))
        if leg == call.leg:  # else this is told twice, and a later stream is on
            if caller.dialled:
                _transfer_ended(call, caller)
            else:
                call.line_ended()
        return await self._verdict(place, leg + 1, self._again, dialled=bool(caller.dialled))

    async def whisper(self, caller: Caller) -> Verdict:
        """Somebody has picked up a transfer: what do they hear first?"""
        place = self._places.get(caller.parent)
        if place is None or place.call.away is None or caller.leg != place.call.leg:
            return HangUpNow()  # the caller is there no more
        return transfers.whisper(place.call.agent, place.call.away)

    async def decided(self, caller: Caller) -> Verdict:
        """A person who was asked has taken the caller, or has not."""
        return self._warm.decided(caller)

    def over(self, caller: Caller) -> None:
        """The provider says that the call itself has ended."""
        if self._warm.concerns(caller):
            self._warm.over(caller)
            return
        place = self._known(caller)
        if place is not None:
            place.call.abandon(caller.over)
        elif caller.order and caller.call_id not in self._ended:
            self.over_elsewhere(caller)

    def _fetch(self, call: str) -> tuple[str, Verdict] | None:
        """A caller is alone where he was put through to: he comes back. None where he is there no more."""
        for call_id, place in self._places.items():
            if place.call.id == call and place.call.away is not None and not place.call.reason:
                place.call.transfer_ended("declined")
                return call_id, self._join(place, place.call.leg + 1)
        return None

    def answered_by(self, caller: Caller, who: AnsweredBy) -> None:
        """The provider says who, or what, picked up a call of ours."""
        place = self._known(caller)
        if place is not None:
            place.call.answered_by(who)

    # ---- calls of ours

    def dial(
        self,
        caller: Caller,
        agent: AgentFile,
        variables: dict[str, str],
        *,
        own_line: bool = False,
    ) -> Place | str:
        """A call of ours is about to be placed: its agent gets ready as if it rang.

        Args:
            caller: who calls whom; `caller.order` is what the call's webhooks will say.
            agent: who speaks.
            variables: what it was told for this call.
            own_line: as in `CallInfo`.

        Returns:
            The call, or why there is no room for it.
        """
        if why := self._no_room():
            return why
        new_id = self._wiring.new_id()
        info = CallInfo(
            new_id, agent.name, caller.to_number, "outbound", variables, own_line=own_line
        )
        place = Place(caller, LiveCall(info, agent, self._wiring))
        self._orders[caller.order] = place
        self._begin(place)
        return place

    def placed(self, order: str, call_id: str) -> None:
        """The provider took an order, and calls the call so; its webhook may have told us already."""
        place = self._orders.pop(order, None)
        if place is not None:
            place.caller = place.caller._replace(call_id=call_id)
            self._places[call_id] = place

    def call_id_of(self, order: str) -> str | None:
        """The provider's id of a call of ours that is live here and was placed."""
        placed = (place.caller for place in self._places.values())
        return next((caller.call_id for caller in placed if caller.order == order), None)

    def take_back(self, attempt: str) -> bool:
        """Nobody wants a call of ours any more that rings; False where it does not ring here.

        Args:
            attempt: whose call it is; the orders of its tries begin so.
        """
        for place in self._places.values():
            if place.caller.order.rpartition("-")[0] == attempt and place.call.leg == 0:
                place.call.abandon("cancelled")
                return True
        return False

    async def record(self, place: Place, reason: str) -> None:
        """A call of ours has ended so that nobody answered: it has a record all the same."""
        call = place.call
        place.recorded = True
        await self._register.create(call.id, call.agent.name, place.caller)
        await self._register.finish(call.id, reason, call.leg, call.figures())

    def _known(self, caller: Caller) -> Place | None:
        """The call that a webhook is about; the first one of a call of ours brings the provider's ids."""
        if caller.call_id not in self._places and caller.order in self._orders:
            self.placed(caller.order, caller.call_id)
        place = self._places.get(caller.call_id)
        if place is not None and not place.caller.account:
            place.caller = place.caller._replace(account=caller.account)
        return place

    def _no_room(self) -> str:
        """Why no call can be taken now, which is counted; empty where one is taken."""
        if self.draining or self.full:
            why = "draining" if self.draining else "busy"
        elif self._wiring.ledger.over(self._wiring.wall()):
            why = "budget"
        else:
            why = self._wiring.admission.admit(self._wiring.wakeups.now())
        if why:
            self.metrics.refused.labels(why).inc()
        return why

    async def _verdict(
        self,
        place: Place,
        leg: int,
        decide: Callable[[Place, int], Coroutine[Any, Any, Verdict]],
        *,
        dialled: bool = False,
    ) -> Verdict:
        task = place.verdicts.get((leg, dialled))
        if task is None:
            name = f"verdict {place.call.id} {leg}"
            task = self._tasks.start_read(name, decide(place, leg))
            place.verdicts[leg, dialled] = task
        return await asyncio.shield(task)

    async def _first(self, place: Place, leg: int) -> Verdict:
        return await self._unready(place) or self._join(place, leg)

    async def _unready(self, place: Place) -> Verdict | None:
        """Make the call's record and wait for its first words; what its caller gets where none will come."""
        call = place.call
        place.recorded = True
        try:
            await self._register.create(call.id, call.agent.name, place.caller)
        finally:
            place.created.set()
        await asyncio.wait([call.answered], timeout=ANSWER_LIMIT)
        if call.reason or place.caller.call_id not in self._places:
            if place.caller.order:
                return HangUpNow()  # who is called by us has nothing to be sorry to hear
            verdict = _after(call.reason, amends(call.agent), spoken=False)
            out_of_room = call.reason == "model_lost" and self._breaker() is not Breaker.CLOSED
            return said("busy", call.agent) if out_of_room and isinstance(verdict, Say) else verdict
        return None

    async def _again(self, place: Place, leg: int) -> Verdict:
        await asyncio.sleep(0)  # let the machine hear that its line is gone
        if place.call.reason or place.caller.call_id not in self._places:
            return _after(place.call.reason, amends(place.call.agent))
        call = place.call
        if call.away is not None:
            if call.agent.transfer[call.away].mode == "cold":
                return transfers.put_through(call.agent, call.away, place.caller.call_id, leg - 1)
            if (there := self._warm.room(call.id, call.away)) is not None:
                return Meet(there, leg - 1)
            call.transfer_ended("failed")  # whoever waited for the caller does no more
        return self._join(place, leg)

    def _join(self, place: Place, leg: int) -> Join:
        return Join(self._register.issue(place.caller.call_id, leg), leg)

    def _breaker(self) -> Breaker:
        return self._wiring.admission.breaker(self._wiring.wakeups.now())

    # ---- streams

    async def admit(
        self, start: StreamStart, line: AttachedLine
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
            self.answered(call)
        return lambda event: call.hear(line, event)

    def _refused(self, why: str) -> None:
        log.warning("stream refused", why=str(why))
        self.metrics.refused.labels("token").inc()

    # ---- calls

    def _take(self, caller: Caller, agent: AgentFile, own_line: bool) -> Place:
        brought = fitting(agent, caller.brought)
        agent = with_variables(agent, brought, must=False)
        info = CallInfo(
            self._wiring.new_id(),
            agent.name,
            caller.from_number,
            _direction(caller),
            brought,
            own_line,
        )
        call = LiveCall(info, agent, self._wiring)
        place = Place(caller, call, recorded=True)
        self._places[caller.call_id] = place
        self._begin(place)
        return place

    def _begin(self, place: Place) -> None:
        self._tasks.start(f"call {place.call.id}", self._live(place))

    async def _live(self, place: Place) -> None:
        call = place.call
        self.metrics.started.inc()
        try:
            await call.run()
        finally:
            self._forget(place)
            self._warm.call_ended(call.id, call.reason)
            log.info("call ended", call=call.id, reason=call.reason)
            self.metrics.add(call.reason, call.counted, call.turns)
            figures = call.figures()
            if figures.get("left_out"):
                self.metrics.reduced.inc()
            if place.recorded:
                await place.created.wait()  # an ending without a record to put it in would be lost
                await self._register.finish(call.id, call.reason, call.leg, figures)
            place.over.set()

    def _forget(self, place: Place) -> None:
        """It is live no more; late webhooks are told how it ended."""
        if self._orders.get(place.caller.order) is place:
            del self._orders[place.caller.order]
            return
        del self._places[place.caller.call_id]
        self._ended[place.caller.call_id] = (place.call.reason, amends(place.call.agent))
        while len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _direction(caller: Caller) -> Literal["inbound", "outbound"]:
    return "inbound" if caller.direction == "inbound" else "outbound"


def _transfer_ended(call: LiveCall, caller: Caller) -> None:
    """A transfer is over, and with it the call where the caller has hung up meanwhile."""
    if caller.dialled == "" or call.away is None:
        return  # told twice
    if caller.over and caller.dialled != "connected":
        call.abandon(caller.over)
    else:
        call.transfer_ended(caller.dialled)


def _untaken(reason: str, caller: Caller) -> str:
    """A transfer that we took for successful too early left a caller with nobody."""
    failed = reason == "transferred" and caller.dialled not in {"", "connected"}
    return "no_start" if failed and not caller.over else reason


def _after(reason: str, owed: Amends, *, spoken: bool = True) -> Verdict:
    """What a caller gets whose conversation has ended for `reason`; `spoken`: whether it heard us say so."""
    if reason in OUR_TROUBLE and owed.fallback:
        return Transfer(owed.fallback)
    if reason in OUR_TROUBLE and not (spoken and reason == "model_lost"):
        return owed.words
    return HangUpNow()
