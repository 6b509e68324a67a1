"""Watches one call for what is not the model's to decide: what it may cost, and that who does not want calls gets none.

It hears what the call hears, keeps nothing from it, and acts by events of its own: a model that obeys an attacker cannot spend
more than the limit, and one that argues with a callee who refuses is hung up on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from agent.errors import StorageError
from agent.events import (
    SOUND,
    CallAbandoned,
    CallerSaid,
    CallerTyped,
    EndPolitely,
    LineDigit,
    LineStarted,
    ModelUsage,
    ToolCalled,
)
from agent.server.outbound.refusing import Refusing

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.drive.tasks import Tasks
    from agent.events import AnyEvent
    from agent.server.budget import Ledger, Prices
    from agent.tools.base import CallInfo
    from agent.tools.opt_out import OptOuts

log = structlog.get_logger()

LOOK_EVERY = 1.0
"""Seconds between looks at what the line has cost."""

GOODBYE_WITHIN = 4.0
"""Seconds that an agent has for its goodbye to somebody who does not want to be called: after five the line must be free."""

WRITE_AGAIN = 1.0
"""Seconds until an opt-out is written again that the database did not take."""


class Limits(NamedTuple):
    """What one call may do.

    Attributes:
        cost: US dollars; None: as much as it likes.
        opt_out_key: pressed by a callee who wants no more calls; None: no key is.
    """

    cost: float | None
    opt_out_key: str | None


@dataclass(frozen=True)
class Beat:
    """What all guards of a process share.

    Attributes:
        prices: what things cost.
        ledger: what the day has cost.
        opt_outs: the do-not-call list.
        tasks: the server's: an opt-out is written also where its call has ended meanwhile.
        now: seconds, monotonic.
        wall: seconds since 1970-01-01 UTC.
    """

    prices: Prices
    ledger: Ledger
    opt_outs: OptOuts
    tasks: Tasks
    now: Callable[[], float]
    wall: Callable[[], float]


class Guard:
    """Watches one call.

    Args:
        info: the call.
        limits: what it may do.
        beat: shared with the other guards.
        act: takes what is to be done, as an event of the call.
    """

    def __init__(
        self, info: CallInfo, limits: Limits, beat: Beat, act: Callable[[AnyEvent], None]
    ) -> None:
        self._info = info
        self._limits = limits
        self._beat = beat
        self._act = act
        self._tokens = 0.0
        self._since: float | None = None  # when the line was answered
        self._look_at = 0.0
        self._refusing = Refusing() if info.direction == "outbound" else None
        self._ending = False
        self._leaving = False

    def saw(self, event: AnyEvent) -> None:
        """Something happened in the call."""
        if type(event) not in SOUND:
            self._weigh(event)
        if self._beat.now() >= self._look_at:
            self._look()

    def _weigh(self, event: AnyEvent) -> None:
        match event:
            case ModelUsage():
                self._tokens += self._beat.prices.tokens(event)
                self._look_at = 0.0
            case LineStarted():
                self._since = self._beat.now() if self._since is None else self._since
            case CallerSaid(text=text) | CallerTyped(text=text):
                if self._refusing is not None and self._refusing.hears(text):
                    self._refused("said_so", GOODBYE_WITHIN)
            case LineDigit(digit=digit):
                if self._refusing is not None and digit == self._limits.opt_out_key:
                    self._refused("key", 0.0)
            case ToolCalled(name="opt_out"):
                self._refused("said_so", GOODBYE_WITHIN)
            case _:
                pass

    def cost(self) -> float:
        """US dollars, so far."""
        seconds = 0.0 if self._since is None else self._beat.now() - self._since
        return self._tokens + self._beat.prices.line(seconds)

    def left(self) -> None:
        """The call has ended."""
        self._ending = True
        self._beat.ledger.ended(self._info.id, self.cost(), self._beat.wall())

    def _refused(self, why: str, goodbye: float) -> None:
        """Whoever is on the line wants no more calls: it is written, and the line is free within 5 s."""
        self._refusing = None
        if not self._leaving:
            self._leaving = True
            self._beat.tasks.start(f"opt-out {self._info.id}", self._write(why))
            self._beat.tasks.start(f"goodbye {self._info.id}", self._hang_up(goodbye))

    def _look(self) -> None:
        """End what has cost enough, in words."""
        self._look_at = self._beat.now() + LOOK_EVERY
        if self._ending:
            return
        cost, limit = self.cost(), self._limits.cost
        self._beat.ledger.runs(self._info.id, cost)
        over = limit is not None and cost >= limit
        if over or self._beat.ledger.over(self._beat.wall()):
            self._ending = True
            log.warning("a call has cost enough", usd=round(cost, 4), of="call" if over else "day")
            self._act(EndPolitely("budget"))

    async def _write(self, why: str) -> None:
        while True:
            try:
                if not await self._beat.opt_outs.opt_out(self._info, why):
                    log.warning("somebody wants no more calls whose number is not known")
                return
            except StorageError as error:
                log.error("an opt-out is not written yet", why=str(error))
            await asyncio.sleep(WRITE_AGAIN)

    async def _hang_up(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._act(CallAbandoned("opted_out"))
