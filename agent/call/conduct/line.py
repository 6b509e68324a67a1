"""What a call does about its line: streams that begin and end, marks, and what the caller has heard of us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import hold, life, model, tools, transfer
from agent.call.life import Phase, Signal, Timer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


def line_started(call: CallState, event: e.LineStarted, now: float) -> None:
    for waiting in (Timer.ANSWER, Timer.START, Timer.PARK):
        call.timers.pop(waiting, None)
    call.timers.setdefault(Timer.LIMIT, now + call.options.max_seconds)
    hold.line_over(call)
    tune(call, e.LINE_PCM[event.rate])
    call.downlink.playout.attach(now)
    call.air.line_started(now)
    call.control.sends_digits = event.sends_digits
    life.go(call, Signal.LINE_STARTED, now)
    transfer.say_what_was_unsaid(call, now)
    if not call.leg.ready and call.phase is Phase.TALKING:
        call.leg.awaited(now)
        model.excuse_soon(call, now)
    tools.line_is_there(call, now)


def tune(call: CallState, kind: type[e.LinePcm]) -> None:
    """Whatever counts in samples, or looks at them, does so at the line's rate."""
    stretched = call.downlink.line(kind)
    if stretched > 1:
        call.turns.stretch(stretched)
        if call.control.consent_ends is not None:
            call.control.consent_ends *= stretched
    call.uplink.line(kind)
    call.local.line(kind)


def line_ended(call: CallState, event: e.LineEnded, now: float) -> None:
    hold.line_over(call)
    call.downlink.playout.detach(now)
    if event.reason == "stopped":
        life.go(call, Signal.LINE_STOPPED, now, "caller_hung_up")
    elif call.phase is Phase.ENDING and call.control.transfer is not None:
        life.leave(call, now)  # the provider asks what now, and is told
    else:
        hopeless = call.control.breaks_again(now, call.options.breaks_within)
        life.go(call, Signal.GAVE_UP if hopeless else Signal.LINE_BROKE, now, "line_lost")


def line_mark(call: CallState, event: e.LineMark, now: float) -> None:
    call.downlink.playout.mark_played(event.name, now)


def follow_the_ear(call: CallState, now: float) -> None:
    """Keep what was heard; notice a line that is dead, and a goodbye that was heard to its end."""
    life.keep_heard(call, now)
    if call.downlink.playout.overdue(now):
        call.out.append(e.HangUp())
        line_ended(call, e.LineEnded("lost"), now)
    if call.phase is Phase.ENDING:
        life.heard_out(call, now)
    call.downlink.look_again()


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.LineStarted: line_started,
    e.LineMark: line_mark,
    e.LineEnded: line_ended,
}
