"""The phone network of one customer: every call of theirs, who is at which number, and updates.

It knows inbound calls while they last (`carrying`), places outbound ones (`place`), and does to a
call what the REST API asks for (`update_call`). `rest` is its door.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.simulator import twiml
from agent.simulator.call_options import CallOptions
from agent.simulator.callee import Directory
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.cdr import HungUpBy
from agent.simulator.clock import now
from agent.simulator.conference import Conference
from agent.simulator.dialling import dial_people
from agent.simulator.outbound import Order, OutboundCall, Post
from agent.simulator.webhooks import origin, webhooks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from agent.simulator.cdr import CallRecord
    from agent.simulator.clock import Owner
    from agent.simulator.program import Call, Program
    from agent.simulator.report import AnyCallEvent, Notice
    from agent.simulator.ticker import Ticker

MOST_CALLS = 10_000
"""Of which the record is kept; the oldest go."""


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's account.

    Attributes:
        api_key, api_secret: accepted beside SID and token, where given.
        numbers: the customer's own, which alone may call; empty: any may.
        calls_per_second: outbound calls beyond are queued; None queues none (Twilio: 1).
        max_calls: orders beyond so many live calls are refused with 429; None refuses none.
        callbacks_twice: every status callback and verdict is posted twice, as a retry would.
        callbacks_swapped: each second status callback comes before the first.
        reach: public origin -> where to connect for it.
        start_delay_s, seed, decode_keys: as for `CallOptions`.
    """

    account_sid: str = "AC" + "0" * 32
    auth_token: str = ""
    api_key: str = ""
    api_secret: str = ""
    numbers: frozenset[str] = frozenset()
    calls_per_second: float | None = None
    max_calls: int | None = None
    callbacks_twice: bool = False
    callbacks_swapped: bool = False
    reach: dict[str, str] = {}
    start_delay_s: float | None = None
    seed: int | None = None
    decode_keys: bool = False

    def __repr__(self) -> str:
        """Without its secrets."""
        return f"NetworkOptions({self.account_sid})"


class Network:
    """All calls of one account.

    Attributes:
        directory: who is at which number; may be changed while the network runs.
        calls: by SID, in the order in which they were placed.
        conferences: by SID. notices: what went wrong with telling of them.
    """

    def __init__(
        self,
        options: NetworkOptions,
        ticker: Ticker,
        owner: Owner,
        directory: Directory | None = None,
        emit: Callable[[AnyCallEvent], None] | None = None,
    ) -> None:
        """Begin with no calls.

        Args:
            options: the account.
            ticker: drives the calls' frames.
            owner: of the calls' tasks.
            directory: None: the numbers themselves say who is there.
            emit: told what happens in outbound calls; must not block.
        """
        self.options = options
        self.directory = directory or Directory()
        self.calls: dict[str, Call] = {}
        self._ticker = ticker
        self._owner = owner
        self._emit = emit or _ignore
        self.conferences: dict[str, Conference] = {}
        self.notices: list[Notice] = []
        self._untold: deque[tuple[str, dict[str, str]]] = deque()  # some for each joining call
        self._next_slot = 0.0
        self._tasks: dict[str, asyncio.Task[object]] = {}

    @property
    def live(self) -> int:
        """How many calls are not over."""
        return sum(not call.record.over for call in self.calls.values())

    @contextmanager
    def carrying(self, call: Call) -> Iterator[None]:
        """Know a call as long as the context lasts, and its record from then on."""
        self._know(call)
        yield

    def _know(self, call: Call) -> None:
        self.calls[call.record.sid] = call
        while len(self.calls) > MOST_CALLS:
            del self.calls[next(iter(self.calls))]

    def place(self, order: Order, public_url: str = "") -> OutboundCall:
        """Place a call; it is queued where there are too many a second.

        Args:
            order: to whom, from whom, and what then.
            public_url: any URL of the customer's: its origin is what the requests are signed for.
        """
        options = self.options
        public = origin(public_url) if public_url else ""
        call = OutboundCall(
            order,
            self.directory.find(order.to),
            CallOptions(
                url=options.reach.get(public, public),
                public_url=public,
                auth_token=options.auth_token,
                account_sid=options.account_sid,
                from_number=order.from_,
                to_number=order.to,
                start_delay_s=options.start_delay_s,
                seed=options.seed,
                decode_keys=options.decode_keys,
            ),
            self._ticker,
            self._emit,
            self,
            Post(twice=options.callbacks_twice, swapped=options.callbacks_swapped),
        )
        at = now()
        if options.calls_per_second is not None and not order.parent_sid:
            at = max(at, self._next_slot)
            self._next_slot = at + 1 / options.calls_per_second
        call.record.queued_ms = max(0.0, at - now()) * 1000
        self._know(call)
        sid = call.record.sid
        self._tasks[sid] = task = self._owner.start(call.run(at), f"call-{sid}")
        task.add_done_callback(lambda _: self._tasks.pop(sid, None))
        return call

    def ring(self, options: CallerOptions) -> None:
        """Let somebody call the customer."""
        sid = options.call_sid
        work = run_caller(options, on_event=self._emit, ticker=self._ticker, network=self)
        self._tasks[sid] = task = self._owner.start(work, f"call-{sid}")
        task.add_done_callback(lambda _: self._tasks.pop(sid, None))

    async def settled(self, sid: str) -> CallRecord:
        """Wait until a call is over and everything was told; returns its record.

        Raises:
            KeyError: there is no such call.
        """
        if (task := self._tasks.get(sid)) is not None:
            await task
        return self.calls[sid].record

    def complete(self, call: Call) -> None:
        """Hang up, or ring no longer."""
        if call.program is not None and call.record.status == "in-progress":
            call.record.note(now(), "updated", "completed")
            call.program.end(HungUpBy.API)
        else:
            self.cancel(call)

    def cancel(self, call: Call) -> None:
        """Ring no longer; a call that was answered goes on."""
        if isinstance(call, OutboundCall) and call.program is None:
            call.record.note(now(), "updated", "canceled")
            call.cancel()

    def replace(self, call: Call, verbs: Sequence[twiml.Verb]) -> bool:
        """Give a live call other TwiML; False where it is not in progress."""
        if call.program is None or call.record.status != "in-progress":
            return False
        call.record.note(now(), "updated", "twiml")
        call.program.replace(verbs)
        return True

    async def dial(self, program: Program, verb: twiml.Dial) -> dict[str, str]:
        """Run <Dial> to its end; returns what its action is told.

        Raises:
            TwimlError: 13214 the caller id is not the customer's, 13000 the conference is full.
        """
        if verb.room is None:
            return await dial_people(self, program, verb)
        conference = self.conference(verb.room)
        if len(conference.participants) >= verb.room.most:
            raise twiml.TwimlError(13000, f"conference {verb.room.name!r} is full")
        await conference.hold_in(program, verb.room)
        return {"DialCallStatus": "answered", "DialBridged": "true"}

    def conference(self, room: twiml.Room) -> Conference:
        """The conference of a name that is not over; a new one where there is none."""
        for known in self.conferences.values():
            if known.name == room.name and known.status != "completed":
                return known
        made = Conference(room, self.options.account_sid, self._tell)
        self.conferences[made.sid] = made
        return made

    def _tell(self, url: str, form: dict[str, str]) -> None:
        """Post to a URL behind all that was told before."""
        self._untold.append((url, form))
        if len(self._untold) == 1:
            self._owner.start(self._tell_all(), "conference-callbacks")

    async def _tell_all(self) -> None:
        options = self.options
        while self._untold:
            url, form = self._untold[0]
            public = origin(url)
            reach = options.reach.get(public, public)
            async with webhooks(options.auth_token, reach, public) as hooks:
                if (notice := await hooks.tell(url, form)) is not None:
                    self.notices.append(notice)
            self._untold.popleft()


def _ignore(event: AnyCallEvent) -> None:
    """Nobody watches."""
