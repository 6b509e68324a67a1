"""Dead air: neither side is heard although somebody ought to speak; what is done about it, step by step.

| cause | silence after | steps |
|---|---|---|
| `model_silent` | the caller's words | nudge, resend, hop, `repeat`, trouble and goodbye |
| `empty_turn` | a turn of the model's without a sound | the same, the first step at once |
| `no_sign` | the caller's words, of which the model has given no sign at all | `moment`, hop, then as above |
| `stall` | a part of a reply | `moment`, hop, then as above |
| `tool` | a tool's start | `moment`, once per tool |
| `no_session` | the session's loss | none here: the model's leg opens another one |
| `caller_silent` | the agent's words | `still_there` twice, `unheard` and goodbye |

Each step waits its time in silence; a step that makes a sound starts the silence anew, and so does the caller. Steps go on where they
stopped until the model is heard. A model that hears tells so (what was said, or at least that it was) well before it answers: where
it tells nothing, the session may be one that is only half there, and to ask it is no use. Digital silence is no sound. Seconds are counted by cause where it is the agent's turn, and only a silence that has become
longer than a usual answer takes, that one from its beginning.

The caller waits for the agent if there was a voice on the line while nothing of ours was being heard (what lies over our own speech
may be its echo, or a "yes" on the side), or if the caller stopped the agent.
"""

from __future__ import annotations

import math
from enum import IntEnum, StrEnum
from typing import NamedTuple

import msgspec

from agent.call.turns import Agent


class Cause(StrEnum):
    """Why nobody is heard."""

    MODEL_SILENT = "model_silent"
    EMPTY_TURN = "empty_turn"
    NO_SIGN = "no_sign"
    STALL = "stall"
    TOOL = "tool"
    NO_SESSION = "no_session"
    CALLER_SILENT = "caller_silent"


COUNTED = tuple(cause for cause in Cause if cause is not Cause.CALLER_SILENT)
"""Causes in which it is the agent's turn."""


class Step(IntEnum):
    """What is done, in the order in which it is: none comes before one that was done."""

    NOTHING = 0
    MOMENT = 1  # say that it takes a moment
    NUDGE = 2  # ask the model to answer
    RESEND = 3  # let it hear the caller's last words again
    HOP = 4  # leave this session for another one
    REPEAT = 5  # ask the caller to say it again
    GIVE_UP = 6  # say that there is trouble, and end the call
    STILL_THERE = 7  # ask whether the caller is there
    UNHEARD = 8  # take leave of a caller who is not


_UNANSWERED = (Step.NUDGE, Step.RESEND, Step.HOP, Step.REPEAT, Step.GIVE_UP)
_BROKEN = (Step.MOMENT, Step.HOP, Step.REPEAT, Step.GIVE_UP)
LADDERS: dict[Cause, tuple[Step, ...]] = {
    Cause.MODEL_SILENT: _UNANSWERED,
    Cause.EMPTY_TURN: _UNANSWERED,
    Cause.NO_SIGN: _BROKEN,
    Cause.STALL: _BROKEN,
    Cause.TOOL: (Step.MOMENT,),
    Cause.NO_SESSION: (),
}
"""The steps of each cause; those of `caller_silent` are counted, since one of them comes twice."""


REST = 0.02
"""Seconds of our sound that may be left over while a reply stalls: less than a frame cannot be sent."""


class DeadAirOptions(msgspec.Struct, frozen=True):
    """How long each silence may be; all in seconds but the words.

    Gemini answers within one to three seconds of the caller's last word, so that is no dead air.

    Attributes:
        nudge: after the caller's last words, until the model is asked to answer.
        resend: after that, until it hears them again.
        hop: after that, until the session is left for another one.
        repeat: after our `moment`, until the caller is asked to say it again.
        give_up: after that, or after what the caller said then, until the call ends.
        empty_turn: after a turn without a sound, until the next step.
        broke_off: after what is left of a reply that the model broke off for nothing, until the next step.
        no_sign: after the caller's words where the model gives no sign of them, until we say that it takes a moment.
        unsigned_hop: after that, until the session is left.
        unsigned: of the caller's words; of shorter ones a model that hears well may give no sign either.
        stall: inside a reply, until we say that it takes a moment.
        stalled_hop: after that, until the session is left.
        tool: while a tool runs, until we say that it takes a moment.
        caller: after the agent's last words, until the caller is asked whether he is there.
        caller_again: after that, until he is asked again, and then until the call ends.
        held: while the agent holds the call, until we say that it takes a moment, each time again; not where the caller asked for the hold.
        usual: a silence up to this is not counted as dead air.
        least: of voice; less than that is a click, a cough or a breath.
        echo: after our last sound, how long a voice on the line may be its echo.
        words: the nudge.
    """

    nudge: float = 4.0
    resend: float = 2.0
    hop: float = 3.0
    repeat: float = 4.0
    give_up: float = 8.0
    empty_turn: float = 0.5
    broke_off: float = 1.5
    no_sign: float = 2.5
    unsigned_hop: float = 1.5
    unsigned: float = 1.0
    stall: float = 2.5
    stalled_hop: float = 4.5
    tool: float = 3.0
    caller: float = 15.0
    caller_again: float = 10.0
    held: float = 20.0
    usual: float = 2.0
    least: float = 0.15
    echo: float = 0.2
    words: str = (
        "The caller is waiting. Answer what was said last, or go on where you stopped; "
        "if you did not understand it, ask the caller to say it again."
    )

    def wait(self, cause: Cause, step: Step) -> float:
        """Seconds of silence before a step."""
        match step:
            case Step.MOMENT:
                moments = {Cause.TOOL: self.tool, Cause.NO_SIGN: self.no_sign}
                return moments.get(cause, self.stall)
            case Step.NUDGE:
                return self.nudge
            case Step.RESEND:
                return self.resend
            case Step.HOP:
                hops = {Cause.STALL: self.stalled_hop, Cause.NO_SIGN: self.unsigned_hop}
                return hops.get(cause, self.hop)
            case Step.REPEAT:
                return self.repeat
            case _:
                return self.give_up


class Air(NamedTuple):
    """What a call is like at this moment.

    Attributes:
        unplayed: seconds of our sound that the caller has yet to hear.
        agent: what the model is doing.
        tool: whether a tool runs.
        session: whether there is one that hears us.
    """

    unplayed: float
    agent: Agent
    tool: bool
    session: bool


class DeadAir:
    """Watches one conversation for silence. Times are the machine's.

    Attributes:
        seconds: of dead air so far, by cause.
    """

    def __init__(self, options: DeadAirOptions) -> None:
        self.seconds: dict[str, float] = {str(cause): 0.0 for cause in COUNTED}
        self._options = options
        self._due = False  # the caller waits for the agent
        self._asked_from: float | None = None  # since when he has been saying what he waits for
        self._signed_at = -math.inf  # when the model last gave a sign of life
        self._mute: bool | None = (
            None  # whether nothing can be heard of what it says; None: it says nothing
        )
        self._empty = False  # and got a turn without a sound
        self._patience = math.inf  # how long the next step may wait at most
        self._closing = False  # a turn is still to be completed that was interrupted, or asked for a tool: that is no empty one
        self._since = 0.0  # what last started a wait without a sound: a step, a session, a tool
        self._agent_until = -math.inf  # when our sound ended, or will
        self._caller_until = -math.inf  # when the caller's did
        self._reached = Step.NOTHING
        self._asked = 0  # how often the caller was asked whether he is there
        self._cause: Cause | None = None  # of the silence that there is, if it is one that counts
        self._counted = -math.inf
        self._next = math.inf

    def deadline(self) -> float:
        """When to `look` next, unless something happens before."""
        return self._next

    def calm_for(self, now: float) -> float:
        """Seconds in which nobody was heard, and nobody waited for the agent."""
        return 0.0 if self._due else now - max(self._agent_until, self._caller_until, self._since)

    # ---- what happens

    def line_started(self, now: float) -> None:
        """The caller hears us, and did not before."""
        self._since = self._caller_until = now

    def session_ready(self, now: float, *, asked: bool) -> None:
        """Another session has begun; `asked`: it was asked to speak."""
        if asked and not self._due:
            self._caller_until = max(self._caller_until, now)
        self._due = self._due or asked
        self._since, self._mute = now, None

    def sign_of_life(self, now: float) -> None:
        """The model has told something, whatever it is."""
        self._signed_at = now

    def voice(self, began: float | None, now: float) -> None:
        """There is a voice on the line, and it has been since `began`."""
        self._count(now)
        self._caller_until = now
        clear_from = self._agent_until + self._options.echo
        if began is not None and now - max(began, clear_from) >= self._options.least:
            if not self._due:
                self._next = now
                self._asked_from = max(began, clear_from)
            self.caller_spoke()
        if self._cause is Cause.MODEL_SILENT and self._unsigned():
            self._next = now  # it is another silence than was thought

    def caller_typed(self, now: float) -> None:
        """The caller has written something."""
        self._count(now)
        self._caller_until = now
        self.caller_spoke()

    def caller_spoke(self) -> None:
        """The caller has said something to the agent."""
        self._due = True
        self._asked = 0

    def owe(self) -> None:
        """The caller waits for the agent, who was about to speak and does not."""
        self._due = True

    def agent_spoke(self, *, audible: bool = True) -> None:
        """The model is heard: what was waited for has come. Or it says nothing that anybody could hear."""
        if audible:
            self._mute = False
            self._due = self._empty = self._closing = False
            self._patience = math.inf
            self._reached, self._asked_from = Step.NOTHING, None
        elif self._mute is None:
            self._mute = True

    def interrupted(self) -> None:
        """The model has ended its turn in the middle; it completes it yet."""
        self._closing = True

    def heard_again(self, now: float) -> None:
        """The model was given the caller's words once more."""
        self._count(now)
        self._since = now

    def turn_complete(self, *, sound: bool, now: float) -> None:
        """The model's turn is over; without a sound, where there was none in it and none was taken from it."""
        if self._due and (self._mute or not sound) and not self._closing:
            self._empty, self._patience = True, self._options.empty_turn
            self._since = now
        self._closing, self._mute = False, None

    def phantom(self) -> None:
        """The model broke off in the middle for an interruption that nobody made."""
        self._due, self._patience = True, self._options.broke_off

    def tool(self, now: float, *, called: bool) -> None:
        """A tool has been called, or has an answer."""
        self._count(now)
        self._since = now
        self._closing = self._closing or called
        if self._reached is Step.MOMENT:
            self._reached = Step.NOTHING

    # ---- what is done

    def look(self, air: Air | None, now: float) -> Step:
        """Count the silence and say what is to be done about it; None: there is no conversation just now."""
        self._count(now)
        self._next, self._cause = math.inf, None
        if air is None:
            return Step.NOTHING
        heard_out = air.unplayed <= REST
        self._agent_until = min(now, self._agent_until) if heard_out else now + air.unplayed
        cause = self._why(air)
        if self._due or cause in {Cause.TOOL, Cause.STALL}:
            self._cause = cause
        step, wait = self._step(cause)
        if step is Step.NOTHING:
            return step
        at = max(self._agent_until, self._caller_until, self._since) + wait
        if now < at:
            self._next = at
            return Step.NOTHING
        self._take(cause, step, now)
        return step

    def _why(self, air: Air) -> Cause:
        if not air.session:
            return Cause.NO_SESSION
        if air.tool:
            return Cause.TOOL
        if air.agent is Agent.SPEAKING:
            return Cause.STALL
        if self._due:
            if self._empty:
                return Cause.EMPTY_TURN
            return Cause.NO_SIGN if self._unsigned() else Cause.MODEL_SILENT
        return Cause.CALLER_SILENT

    def _unsigned(self) -> bool:
        """Whether the model has given no sign since the caller began to say what he waits for."""
        since = self._asked_from
        return (
            since is not None
            and self._signed_at < since
            and self._caller_until - since >= self._options.unsigned
        )

    def _count(self, now: float) -> None:
        """Count the silence that has been up to now; called before anything ends it."""
        if self._cause is None:
            return
        begin = max(self._agent_until, self._caller_until)
        if self._cause is Cause.TOOL and not self._due:
            begin = max(begin, self._since)  # nobody was waited for until it started
        if now - begin >= self._options.usual:
            more = now - max(begin, self._counted)
            self.seconds[self._cause] = round(self.seconds[self._cause] + more, 6)
            self._counted = now

    def _step(self, cause: Cause) -> tuple[Step, float]:
        """The next step and the silence before it."""
        if cause is Cause.CALLER_SILENT:
            asked = self._asked
            wait = self._options.caller_again if asked else self._options.caller
            return (Step.STILL_THERE if asked < 2 else Step.UNHEARD), wait
        step = next((step for step in LADDERS[cause] if step > self._reached), Step.NOTHING)
        wait = self._options.wait(cause, step)
        return step, min(wait, self._patience)

    def _take(self, cause: Cause, step: Step, now: float) -> None:
        self._since = now
        self._patience = math.inf
        if cause is Cause.CALLER_SILENT:
            self._asked += 1
        else:
            self._reached = step
            self._due = True  # also where a reply stalled: the next session owes the rest
