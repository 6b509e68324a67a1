"""What a call does about hold: the model hears silence, nobody is waited for, and it ends.

A caller whom the agent holds is told now and then that it takes a moment; one who asked for it is left in peace.
The agent may hold the call, and so may the caller's side: that one hears nothing of us until it is back, so nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life, model
from agent.call.life import Phase, Signal, Timer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Due, Handler

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
    if not call.control.line_held:  # then he hears nothing
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


def line_held(call: CallState, event: e.LineHeld, now: float) -> None:
    """The caller's side holds the call, or is back."""
    if event.on == call.control.line_held or call.phase not in {Phase.TALKING, Phase.ENDING}:
        return
    call.control.line_held = event.on
    if event.on:
        call.timers[Timer.LINE_HELD] = now + call.options.held_within
        if call.local.stop is not None:
            call.local.stop = None
            call.timers.pop(Timer.CONFIRM, None)
            call.downlink.release()
        call.downlink.playout.detach(now)
        call.out.append(e.Clear())
    else:
        line_over(call)
        call.downlink.playout.attach(now)
        call.air.line_started(now)


def line_over(call: CallState) -> None:
    """The line is not held any more, or is none any more."""
    call.control.line_held = False
    call.timers.pop(Timer.LINE_HELD, None)


TIMERS: Mapping[Timer, Due] = {
    Timer.HOLD: hold_lasted,
    Timer.HELD: still_held,
    Timer.LINE_HELD: lambda call, now: life.go(call, Signal.GAVE_UP, now, "held_too_long"),
}

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {e.LineHeld: line_held}
