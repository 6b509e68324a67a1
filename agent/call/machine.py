"""A call as a state machine: events and time in, commands out.

    RINGING --line started--> TALKING --goodbye--> ENDING --heard out--> ENDED
                               |    ^                |
                       line broke  line started      +--caller back--> TALKING
                               v    |                +--put through--> AWAY --not taken--> PARKED
                              PARKED --gave up--> ENDED                 +--taken--> ENDED

The whole interface is `handle(event, now)`, `tick(now)` and `deadline()`. After each call of the first two, carry out the commands
in order and arm `deadline()`. Times are seconds, monotonic. The call begins while the phone still rings, so that the model is
ready and the first words are in hand when the caller hears us.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import msgspec

from agent import events as e
from agent.call.conduct import (
    answered,
    caller,
    hearing,
    hold,
    keys,
    life,
    line,
    model,
    remembering,
    silence,
    tools,
    transfer,
    voice,
)
from agent.call.keypad import MASK, masked
from agent.call.life import Phase
from agent.call.state import CallState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.life import Timer
    from agent.call.metrics import CallMetrics
    from agent.call.options import CallOptions, OwnLines
    from agent.call.state import Due, Handler
    from agent.call.turns import Turns


class CallMachine:
    """One call.

    Args:
        options: limits and habits.
        own: what the call can say without the model.
    """

    def __init__(self, options: CallOptions, own: OwnLines) -> None:
        self._call = CallState(options, own)

    def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
        """Take one event; `now` never goes back."""
        call = self._call
        if call.phase is not Phase.ENDED:
            kind = type(event)
            if kind not in e.SOUND:  # sound that changes more than what is sent next says so itself
                call.downlink.due_at = now
            if kind in FROM_MODEL:
                call.air.sign_of_life(now)
            if kind in hearing.UNDERSTOOD:
                call.local.word.forget()
            HANDLERS[kind](call, event, now)
        return self._flush(now)

    def tick(self, now: float) -> list[e.AnyCommand]:
        """Do what is due."""
        call = self._call
        for timer in [timer for timer, at in call.timers.items() if at <= now]:
            if call.timers.pop(timer, None) is not None:  # another one may have ended the call
                call.downlink.due_at = now
                TIMERS[timer](call, now)
        return self._flush(now)

    def deadline(self) -> float | None:
        """When to call `tick`, None where only an event can change anything."""
        call = self._call
        at = min(call.downlink.due_at, call.air.deadline(), *call.timers.values())
        its = call.uplink.deadline()
        if its is not None and its < at:
            at = its
        its = call.leg.deadline()
        if its is not None and its < at:
            at = its
        return None if at == math.inf else at

    # ---- what the record tells

    @property
    def phase(self) -> Phase:
        return self._call.phase

    @property
    def reason(self) -> str:
        """The record's `end_reason`, once it is decided."""
        return self._call.reason

    @property
    def turns(self) -> Turns:
        return self._call.turns

    @property
    def metrics(self) -> CallMetrics:
        return self._call.metrics

    @property
    def own(self) -> OwnLines:
        """What the call can say by itself; the flight record tells it, so that replay can build the same machine."""
        return self._call.own

    # ---- what no record tells

    def hides(self, event: e.AnyEvent | None) -> e.AnyEvent | None:
        """An event as a record has it; asked before it is handled."""
        if isinstance(event, e.LineDigit) and self._call.control.keypad.hides(event.digit):
            return e.LineDigit(MASK)
        return event

    def hidden(self, commands: list[e.AnyCommand]) -> list[e.AnyCommand]:
        """Commands as a record has them."""
        if not self._call.control.secretive:
            return commands
        return [
            msgspec.structs.replace(command, response=masked(command.response))
            if isinstance(command, e.SendToolResult) and command.secret
            else command
            for command in commands
        ]

    # ---- what is due

    def _flush(self, now: float) -> list[e.AnyCommand]:
        """The commands of this step, in the order in which they must be carried out."""
        call = self._call
        downlink = call.downlink
        if call.phase is not Phase.ENDED:
            model.look_after_model(call, now)
            if now >= downlink.due_at or now >= call.air.deadline():
                silence.break_silence(call, now)
            if call.truth.pending:
                model.tell_truth(call, now)
        if call.phase is not Phase.ENDED:
            if call.control.to_press:
                keys.press_what_is_due(call, now)
            speaks = now >= downlink.due_at or call.phase is Phase.ENDING
            if speaks or downlink.fed:
                call.out.extend(downlink.due(now))
            call.out.extend(call.uplink.due(now))
            call.turns.sent(now, speech=call.uplink.speech_sent, position=downlink.sent)
            if call.hops.following:
                model.follow_hop(call, now)
            if speaks:
                line.follow_the_ear(call, now)
            elif downlink.fed:
                downlink.look_again()
            downlink.fed = False
        out, call.out = call.out, []
        return out


FROM_MODEL = frozenset(get_args(e.ModelEvent))

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    **line.HANDLERS,
    **caller.HANDLERS,
    **voice.HANDLERS,
    **model.HANDLERS,
    **remembering.HANDLERS,
    **tools.HANDLERS,
    **hearing.HANDLERS,
    **life.HANDLERS,
    **keys.HANDLERS,
    **transfer.HANDLERS,
    **answered.HANDLERS,
    **hold.HANDLERS,
}
"""What a call does about each event; a test holds it equal to the vocabulary."""

TIMERS: Mapping[Timer, Due] = {
    **life.TIMERS,
    **model.TIMERS,
    **keys.TIMERS,
    **hold.TIMERS,
    **answered.TIMERS,
    **hearing.TIMERS,
}
"""What each deadline means; a test holds it equal to the deadlines that there are."""
