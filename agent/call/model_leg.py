"""The call's leg to the model: which session there is, and what is done when it goes.

    IDLE --open--> OPENING --ready--> READY --hop--> OPENING
                      |  ^              |
                     lost open         lost
                      v  |              v
                     WAITING <----------+          any --give up--> GONE

A hop and a loss differ in who begins; both end in a session that goes on from the last snapshot (`sessionResumptionUpdate`), or in a
fresh one that is told what was said. The old socket is closed first: the service refuses a second one (1011). What each loss
permits is one table, by its fate; all attempts share one budget of time, so that a caller never waits for the sum of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from agent.call.memory import Memory
from agent.errors import Fate


class Leg(StrEnum):
    """What there is of a session."""

    IDLE = "idle"
    OPENING = "opening"
    READY = "ready"
    WAITING = "waiting"  # lost; the next attempt has a time
    GONE = "gone"


class Move(StrEnum):
    """What moves the leg."""

    OPEN = "open"
    READY = "ready"
    HOP = "hop"
    LOST = "lost"
    GIVE_UP = "give_up"


STATES: dict[tuple[Leg, Move], Leg] = {
    (Leg.IDLE, Move.OPEN): Leg.OPENING,
    (Leg.IDLE, Move.GIVE_UP): Leg.GONE,
    (Leg.OPENING, Move.READY): Leg.READY,
    (Leg.OPENING, Move.LOST): Leg.WAITING,
    (Leg.OPENING, Move.GIVE_UP): Leg.GONE,
    (Leg.READY, Move.HOP): Leg.OPENING,
    (Leg.READY, Move.LOST): Leg.WAITING,
    (Leg.READY, Move.GIVE_UP): Leg.GONE,
    (Leg.WAITING, Move.OPEN): Leg.OPENING,
    (Leg.WAITING, Move.GIVE_UP): Leg.GONE,
    (Leg.GONE, Move.GIVE_UP): Leg.GONE,
}
"""What is not in here cannot happen: readiness cannot outlive the session."""


class LegOptions(msgspec.Struct, frozen=True):
    """How hard the leg tries; all in seconds.

    Attributes:
        budget: from a loss until the call is given up.
        backoff: before the second attempt; doubled for each further one.
        longest_backoff: at most that.
        setups: setups that are tried where one is refused.
        steady: a session that lives shorter than this belongs to the loss before it: the budget and the back-off go on.
        twice_within: two losses that need a fresh session so close together end the call.
        connection: known life of a connection (Live API: about ten minutes); a hop comes before it.
        hop_early: how long before a connection's end a silent moment is looked for.
        hop_late: how long before its end the hop is made in any case.
        quiet: how long both sides have to be silent for a moment to count as silent.
    """

    budget: float = 10.0
    backoff: float = 0.5
    longest_backoff: float = 4.0
    setups: int = 3
    steady: float = 2.0
    twice_within: float = 30.0
    connection: float = 570.0
    hop_early: float = 60.0
    hop_late: float = 2.0
    quiet: float = 0.3


class Plan(NamedTuple):
    """How the next session is opened.

    Attributes:
        resume: with the last handle; otherwise fresh, told what was said.
        smaller: with a smaller setup, because the last one was refused.
        keep_audio: whether sound that the last session did not answer may be sent again.
    """

    resume: bool
    smaller: bool = False
    keep_audio: bool = True


PLANS: dict[Fate, Plan | None] = {
    Fate.FATAL: None,
    Fate.STEP_DOWN: Plan(resume=True, smaller=True),
    Fate.RESUME: Plan(resume=True),
    Fate.FRESH: Plan(resume=False, keep_audio=False),
}
"""What a loss permits. After FRESH no handle and no queued sound is used again: replaying what closed a session closes the next."""


class ModelLeg:
    """Follows the session and decides what comes after it. Times are the machine's.

    Attributes:
        state: see the table.
        handle: of the last snapshot, empty where there is none.
        hops: how often the session moved to a new connection by our own decision.
        losses: how often it was lost.
        excused: whether the caller was told, in this loss, that it takes a moment.
        memory: whether the session remembers the call.
    """

    def __init__(self, options: LegOptions) -> None:
        self.state = Leg.IDLE
        self.handle = ""
        self.hops = 0
        self.losses = 0
        self.excused = False
        self.memory = Memory()
        self._options = options
        self._plan = Plan(resume=False)
        self._resumable = False
        self._attempts = 0  # since the session was last ready
        self._setups = 0
        self._lost_at: float | None = None  # when the caller was last left without a session
        self._ready_at: float | None = None  # when there was last one
        self._flaps = 0  # sessions in this loss that were ready and did not live long
        self._open_at: float | None = None
        self._fresh_at: float | None = None
        self._owed = False  # whether the caller waited for an answer when the session went
        self._ends_at: float | None = None  # when this connection will be closed by the service

    # ---- what the call asks

    @property
    def ready(self) -> bool:
        return self.state is Leg.READY

    @property
    def gone(self) -> bool:
        return self.state is Leg.GONE

    @property
    def plan(self) -> Plan:
        """How the session that is opening, or is next, is opened."""
        return self._plan

    def without_session_since(self) -> float | None:
        """When the session was lost that has no successor yet."""
        return None if self.ready else self._lost_at

    def deadline(self) -> float | None:
        """When `due` has to be asked next."""
        if self.state is Leg.READY:
            return None if self._ends_at is None else self._ends_at - self._options.hop_late
        if self.state is Leg.WAITING:
            return self._open_at
        if self.state is Leg.OPENING and self._lost_at is not None:
            return self._lost_at + self._options.budget
        return None

    # ---- what happens

    def open(self, now: float) -> Plan:
        """A session is being opened."""
        self._move(Move.OPEN)
        self._attempts += 1
        self._setups += 1
        self._open_at = None
        return self._plan

    def awaited(self, now: float) -> None:
        """A caller hears us, and there is no session: from now on the first one has no more time than another."""
        if self._lost_at is None:
            self._lost_at = now

    def opened(self, now: float) -> bool:
        """It is ready; says whether the caller still waits for an answer that the last one owed."""
        self._move(Move.READY)
        self._attempts = self._setups = 0
        self._ready_at = now
        self.memory.opened(resumed=self._plan.resume)
        self._ends_at = now + self._options.connection
        owed, self._owed = self._owed, False
        return owed

    def snapshot(self, handle: str, resumable: bool) -> bool:
        """The service has (or has no) snapshot of this moment; says whether there is a new one."""
        self._resumable = resumable and bool(handle)
        if self._resumable:
            self.handle = handle
        return self._resumable

    def going_away(self, seconds: float, now: float) -> None:
        """The service closes this connection in so many seconds; it may fall silent before."""
        ends_at = now + seconds
        self._ends_at = ends_at if self._ends_at is None else min(self._ends_at, ends_at)

    def ends_soon(self, now: float) -> bool:
        """Whether this connection is near enough to its end to look for a silent moment."""
        ends_at = self._ends_at
        return ends_at is not None and now >= ends_at - self._options.hop_early

    def hop_due(self, now: float, quiet_since: float | None) -> bool:
        """Whether to move to a new connection now.

        Args:
            now: the machine's time.
            quiet_since: since when both sides are silent and no tool runs; None where they are not.
        """
        if self.state is not Leg.READY or self._ends_at is None:
            return False
        if now >= self._ends_at - self._options.hop_late:
            return True
        silent = quiet_since is not None and now - quiet_since >= self._options.quiet
        return silent and self._resumable and now >= self._ends_at - self._options.hop_early

    def hop(self, now: float, *, owed: bool) -> Plan:
        """Leave this connection for a new one; `owed`: the caller waits for an answer."""
        self._move(Move.HOP)
        self._owed = owed
        self.hops += 1
        self._plan = Plan(resume=bool(self.handle))
        self._attempts = self._setups = 1
        self._left(now)
        self._ends_at = None
        return self._plan

    def forgot(self) -> None:
        """The session has forgotten the call: no snapshot of it is worth anything."""
        self.handle = ""

    def lost(self, fate: Fate, now: float, *, owed: bool) -> bool:
        """The session is gone; says whether another one will be tried (see `deadline`)."""
        refused = self.state is Leg.OPENING
        self._move(Move.LOST)
        self._owed = self._owed or owed
        self.losses += 1
        self._ends_at = None
        self._resumable = False
        if not refused:
            self._attempts = self._left(now)
        lost_at = self._lost_at = now if self._lost_at is None else self._lost_at
        plan = self._next_plan(fate, now, refused=refused)
        stale = (
            fate is Fate.FRESH and refused and self._plan.resume
        )  # what is new then is the handle's absence
        wait = 0.0 if stale else self._backoff(plan)
        if plan is None or now + wait > lost_at + self._options.budget:
            self.give_up()
            return False
        self._plan = plan
        self._open_at = now + wait
        return True

    def settled(self, now: float) -> bool:
        """Whether there is a session, and its end is far: there is nothing to do about it."""
        return self.state is Leg.READY and not self.ends_soon(now)

    def due(self, now: float) -> bool:
        """Whether it is time to open the next session."""
        return self.state is Leg.WAITING and self._open_at is not None and now >= self._open_at

    def out_of_time(self, now: float) -> bool:
        """Whether the caller has waited too long for a session that still is not there."""
        lost_at = self._lost_at
        waits = self.state in {Leg.OPENING, Leg.WAITING} and lost_at is not None
        return waits and lost_at is not None and now >= lost_at + self._options.budget

    def give_up(self) -> None:
        """No session any more."""
        self._move(Move.GIVE_UP)

    def _next_plan(self, fate: Fate, now: float, *, refused: bool) -> Plan | None:
        """`refused`: the session never was ready, so no sound of ours can be to blame."""
        plan = PLANS[fate]
        if plan is None or (plan.smaller and self._setups >= self._options.setups):
            return None
        if (
            fate is Fate.FRESH and refused
        ):  # a stale handle (1008): what was kept is heard by the fresh session
            self.handle = ""
            return Plan(resume=False)
        if fate is Fate.FRESH:
            again = self._fresh_at is not None and now - self._fresh_at < self._options.twice_within
            self._fresh_at = now
            self.handle = ""
            return None if again else plan
        if plan.smaller and self._plan.resume:  # what is new in a resume is its handle
            self.handle = ""
            return Plan(resume=False)
        resume = plan.resume and bool(self.handle)
        return Plan(resume=resume, smaller=plan.smaller, keep_audio=plan.keep_audio)

    def _left(self, now: float) -> int:
        """A session that was ready is gone; returns how many of its like were in vain before.

        One that dies as soon as it is ready is no recovery: without this it would be opened for ever, and nobody be heard.
        """
        ready_at = self._ready_at
        recovered = ready_at is None or now - ready_at >= self._options.steady
        if self._lost_at is None or recovered:
            self._lost_at, self._flaps, self.excused = now, 0, False
        else:
            self._flaps += 1
        return max(0, self._flaps - 1)

    def _backoff(self, plan: Plan | None) -> float:
        """The first attempt after a loss comes at once, and so does a smaller setup."""
        if self._attempts == 0 or (plan is not None and plan.smaller):
            return 0.0
        wait = self._options.backoff * 2.0 ** (self._attempts - 1)
        return min(wait, self._options.longest_backoff)

    def _move(self, move: Move) -> None:
        self.state = STATES[self.state, move]
