"""Calls that a line brings by itself: no webhook asks for them, and none asks what follows when the conversation is over.

    rings --the agent can speak--> answered: talks --last words--> hung up
      |                               ^  |
      |                               |  +--transfer--> away --taken--> hung up
      +--no room--> told why, or not +---nobody takes it--+

What a provider's `/after` decides for other calls is decided here: who is put through, and who is hung up.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import structlog

from agent.events import HangUp, LineEnded
from agent.protocols.door import Say, Transfer
from agent.server.live_call import LiveCall
from agent.server.spoken import OUR_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.ports import ArrivingLine, PlacedLine
    from agent.drive.tasks import Tasks
    from agent.events import LineCommand, LineEvent, LineRate, TransferOutcome
    from agent.protocols.door import Caller
    from agent.server.refusals import Refusals, Telling
    from agent.server.switchboard import Switchboard

log = structlog.get_logger()

LONGEST_ID = 128
"""Characters of a call's id that are kept: what a record has room for."""

BEYOND_RINGING = 10.0
"""Seconds beyond the ringing of a transfer's target in which its line tells what came of it."""

FALLBACK_RINGS = 20
"""Seconds that the fallback number may ring."""


class Arrivals:
    """Where lines bring their calls.

    Args:
        board: who is on which call.
        refusals: what those hear whom nobody can talk to.
        tasks: owner of what is done for each; it outlives the calls.
    """

    def __init__(self, board: Switchboard, refusals: Refusals, tasks: Tasks) -> None:
        self._board = board
        self._refusals = refusals
        self._tasks = tasks

    @property
    def refusing(self) -> int:
        """Callers who are being told that nobody can talk to them; they hold no slot."""
        return self._refusals.speaking

    async def close(self) -> None:
        """The calls have ended."""
        await self._tasks.close()

    def arrive(self, caller: Caller, line: ArrivingLine) -> Callable[[LineEvent], None]:
        """A call has come in on `line`, which rings. It is answered when its agent can speak, or refused, and hung up at its end.

        Args:
            caller: who calls whom; `call_id` is the line's own id of it.
            line: nobody else's.

        Returns:
            Where the line tells what happens on it, from now on and in order; `LineEnded` once, and last.
        """
        call_id = f"{caller.provider}:{caller.call_id}"[:LONGEST_ID]
        caller = caller._replace(call_id=call_id)
        arrival = Arrival(caller, line, self._board, self._refusals, self._tasks)
        self._tasks.start(f"arrival {id(arrival)}", arrival.ring())
        return arrival.hear

    def place(
        self, caller: Caller, line: PlacedLine, ring_seconds: float
    ) -> Callable[[LineEvent], None]:
        """A call of ours rings on `line`: who takes it gets its agent, and what becomes of it is told to the switchboard.

        Args:
            caller: who calls whom; `call_id` is what the switchboard is told that it is, and `order` whose call it is.
            line: nobody else's.
            ring_seconds: how long it may ring.

        Returns:
            As `arrive`.
        """
        arrival = Arrival(caller, line, self._board, self._refusals, self._tasks)
        self._tasks.start(f"dialled {caller.order}", arrival.dial(line, ring_seconds))
        return arrival.hear


class Where(StrEnum):
    """Where the caller of an arrival is."""

    NOWHERE = "nowhere"  # not asked yet whether there is room, or refused
    REFUSED = "refused"  # hears why
    RINGING = "ringing"
    WITH_AGENT = "with_agent"
    AWAY = "away"  # being put through; he comes back where nobody takes him
    LEAVING = "leaving"  # the conversation is over, and what follows has been decided


class Arrival:
    """One such call. To the line it is the sink; to the call it is the line (`agent.call.ports.AttachedLine`).

    Args:
        caller: who calls.
        line: brings it.
        board: who is on which call.
        refusals: what he hears where nobody can talk to him.
        tasks: owns what takes time.
    """

    def __init__(
        self,
        caller: Caller,
        line: ArrivingLine,
        board: Switchboard,
        refusals: Refusals,
        tasks: Tasks,
    ) -> None:
        self._caller = caller
        self._line = line
        self._board = board
        self._refusals = refusals
        self._tasks = tasks
        self._telling: Telling | None = None  # while he hears why
        self._call: LiveCall | None = None  # once the caller hears it
        self._where = Where.NOWHERE
        self._gone = False  # the line has told of its end

    @property
    def sends_digits(self) -> bool:
        return self._line.sends_digits

    @property
    def rate(self) -> LineRate:
        return self._line.rate

    @property
    def ended(self) -> asyncio.Future[Any]:
        return self._line.ended

    # ---- the line's side

    async def ring(self) -> None:
        """Hold the call until its agent can speak, then answer it; or refuse it."""
        try:
            if self._gone:
                return
            self._where = Where.RINGING
            found = await self._board.arrive(self._caller)
            self._where = Where.NOWHERE
            if isinstance(found, LiveCall):
                await self._answer(found)
            elif isinstance(found, Transfer):
                await self._send_on(found)
            elif isinstance(found, Say):
                await self._refuse(found)
        finally:
            if self._call is None:
                self._line.send(HangUp())

    async def dial(self, line: PlacedLine, ring_seconds: float) -> None:
        """Let a call of ours ring; who takes it gets its agent."""
        try:
            if why := await line.picked_up(ring_seconds):
                self._board.over(self._caller._replace(over=why))
                return
            self._where = Where.RINGING  # to the caller: the agent may not be able to speak yet
            found = await self._board.arrive(self._caller)
            self._where = Where.NOWHERE
            if isinstance(found, LiveCall):
                self._take(found)
        finally:
            if self._call is None:
                self._line.send(HangUp())

    async def _send_on(self, there: Transfer) -> None:
        """Somebody else takes this caller, whom no agent has talked to."""
        if self._line.transfers and not self._gone and await self._line.answer():
            await self._line.transfer(there.address, there.timeout + BEYOND_RINGING)

    async def _refuse(self, words: Say) -> None:
        """Nobody can talk to this caller, who is told so where that can be said."""
        sentence = self._refusals.sentence(self._caller, words)
        if sentence is None or self._gone:
            return
        with self._refusals.telling(self._line, sentence) as self._telling:
            if await self._line.answer():
                self._where = Where.REFUSED
                await self._telling.say()

    async def _answer(self, call: LiveCall) -> None:
        if self._gone or not await self._line.answer():
            call.abandon("caller_hung_up")
        else:
            self._take(call)

    def _take(self, call: LiveCall) -> None:
        """Whoever is on the line hears the agent from now on."""
        if not call.reason and not self._gone:
            self._call = call
            self._attach(call)
            self._board.answered(call)

    def _attach(self, call: LiveCall) -> None:
        self._where = Where.WITH_AGENT
        call.attach(self, call.leg + 1)

    def hear(self, event: LineEvent) -> None:
        """The line tells what happened."""
        if isinstance(event, LineEnded):
            self._over(event)
        elif self._call is not None and self._where is Where.WITH_AGENT:
            self._call.hear(self, event)
        elif self._telling is not None:
            self._telling.hear(event)

    def _over(self, event: LineEnded) -> None:
        """The line is over, and nobody will bring this caller back."""
        self._gone = True
        if self._where is Where.RINGING:
            self._board.over(self._caller._replace(over="caller_hung_up"))
        elif self._telling is not None:
            self._telling.hear(event)
        elif self._call is not None and self._where is Where.WITH_AGENT:
            self._where = Where.LEAVING
            lost = event.reason == "lost"
            self._call.hear(self, event if lost else LineEnded("stopped"))
            if lost:
                self._call.abandon("line_lost")

    # ---- the call's side

    def send(self, command: LineCommand) -> None:
        """Carry out a command; a `HangUp` is looked at first: the call may mean that somebody else takes the caller."""
        if not isinstance(command, HangUp):
            if self._where is Where.WITH_AGENT:
                self._line.send(command)
        elif self._call is not None and self._where is Where.WITH_AGENT:
            self._what_now(self._call)
        elif self._where is Where.AWAY:  # nobody waits any longer to hear what came of it
            self._where = Where.LEAVING
            self._line.send(command)

    def _what_now(self, call: LiveCall) -> None:
        if call.away is not None:
            self._where = Where.AWAY
            moving = self._put_through(call, call.away)
            self._tasks.start(f"transfer {call.id} {call.leg}", moving)
        else:
            self._where = Where.LEAVING
            # Whether the call is over, and why, is known when all that it now decides has been carried out.
            asyncio.get_running_loop().call_soon(self._dismiss, call)

    async def _put_through(self, call: LiveCall, target: str) -> None:
        """The caller goes to a target of the agent's file, and comes back where nobody takes him."""
        call.hear(
            self, LineEnded("closed")
        )  # it plays nothing more: what is not heard is said later
        outcome: TransferOutcome = "failed"
        if self._line.transfers:
            there = call.agent.transfer[target]
            outcome = await self._line.transfer(there.address, there.timeout + BEYOND_RINGING)
        else:
            log.warning("this line cannot transfer: the caller stays with the agent", call=call.id)
        if self._gone and outcome != "connected":
            call.abandon("caller_hung_up")
            return
        call.transfer_ended(outcome)
        if outcome == "connected":
            self._where = Where.LEAVING
            self._line.send(HangUp())
        elif not call.reason:
            self._attach(call)

    def _dismiss(self, call: LiveCall) -> None:
        """The conversation is over, or the line does not play what it is sent."""
        fallback = call.agent.fallback_number
        if call.reason in OUR_TROUBLE and fallback and self._line.transfers and not self._gone:
            self._tasks.start(f"fallback {call.id}", self._fall_back(fallback))
            return
        if not call.reason:
            call.abandon("line_lost")
        self._line.send(HangUp())

    async def _fall_back(self, address: str) -> None:
        """Our trouble is not the caller's: a person takes him."""
        try:
            await self._line.transfer(address, FALLBACK_RINGS + BEYOND_RINGING)
        finally:
            self._line.send(HangUp())
