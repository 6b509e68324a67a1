"""What a call does about hold: the model hears silence, nobody is waited for, and it ends.

A caller whom the agent holds is told now and then that it takes a moment; one who asked for it is left in peace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.call.conduct import model
from agent.call.life import Phase, Timer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent import events as e
    from agent.call.state import CallState, Due

BACK = 0.7
"""Seconds of voice in a row with which a caller who asked for the hold ends it; a cough is shorter."""


def hold(call: CallState, event: e.HoldCall, now: float) -> None:
    """The agent holds the call."""
    if call.phase is Phase.TALKING:
        call.control.held = True
        call.control.held_for_caller = event.for_caller
        call.timers[Timer.HOLD] = now + event.within
        call.timers.pop(Timer.HELD, None)
        if not event.for_caller:
            call.timers[Timer.HELD] = now + call.options.dead_air.held


def resume(call: CallState, event: e.ResumeCall, now: float) -> None:
    """The agent takes the call up again."""
    over(call)
    call.air.line_started(now)


def over(call: CallState) -> None:
    """The model hears the line again."""
    call.control.held = False
    call.timers.pop(Timer.HOLD, None)
    call.timers.pop(Timer.HELD, None)


def still_held(call: CallState, now: float) -> None:
    """Silence for as long as this sounds like a line that is dead."""
    call.say(call.own.moment)
    call.timers[Timer.HELD] = now + call.options.dead_air.held


def hold_lasted(call: CallState, now: float) -> None:
    """It has been long enough, or the caller is back: the agent goes on."""
    over(call)
    call.air.owe()
    call.air.line_started(now)
    model.prompt(call, call.options.hold_over)


def caller_speaks(call: CallState, now: float) -> None:
    """There is a voice on the line during a hold."""
    began = call.uplink.meter.started
    if call.control.held_for_caller and began is not None and now - began >= BACK:
        hold_lasted(call, now)


TIMERS: Mapping[Timer, Due] = {Timer.HOLD: hold_lasted, Timer.HELD: still_held}
