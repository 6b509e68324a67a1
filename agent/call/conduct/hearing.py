"""What a call does with what its own voice detector hears (`local_voice.py` says when it listens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import voice
from agent.call.life import Phase, Timer
from agent.call.local_voice import Stop
from agent.call.turns import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.call.state import CallState, Handler
    from agent.events import LinePcm

UNDERSTOOD = frozenset(
    (e.CallerSaid, e.AgentSaid, e.ModelAudio, e.ToolCalled, e.ModelReady, e.Interrupted)
)
"""After one of these a short word is understood, or about to be, or lost with its session."""

ECHO = 0.2
"""Seconds after our last sound in which a voice on the line may be its echo."""


def listen(call: CallState, pcm: LinePcm, now: float) -> None:
    """Take the line's next frame, which the meter has heard."""
    local, meter = call.local, call.uplink.meter
    if local.overheard.open:
        local.overheard.hear(pcm, call.downlink.playout.heard(now), call.downlink.lately)
    audible = meter.speaking and call.downlink.playout.unplayed(now) > 0
    if local.options.rescue:
        local.word.hear(pcm, now, meter, audible=audible)
    if audible and may_stop(call, now) and local.budget.allows(now):
        ask(call, local.overheard.ask())
    else:
        local.overheard.rest()
        if local.options.rescue and model_idle(call) and local.budget.allows(now):
            ask(call, local.word.ask(now))
    if local.options.end_after > 0:
        tell_end(call, now)


def ask(call: CallState, command: e.Detect | None) -> None:
    if command is not None:
        call.out.append(command)


def may_stop(call: CallState, now: float) -> bool:
    """Whether a voice would stop the agent's words."""
    local = call.local
    goodbye = call.phase is Phase.ENDING and not call.control.own_words
    talking = (call.phase is Phase.TALKING or goodbye) and not call.control.machine
    return (
        local.overheard.open and local.stop is None and talking and not call.downlink.own_words(now)
    )


def model_idle(call: CallState) -> bool:
    """Whether the model has nothing to do but to listen."""
    idle = call.turns.state is Agent.QUIET and len(call.tools) == 0 and not call.control.deaf
    return idle and call.phase is Phase.TALKING and call.leg.ready


def voice_detected(call: CallState, event: e.VoiceDetected, now: float) -> None:
    local = call.local
    local.budget.spend(len(event.voice))
    call.metrics.listened = round(local.budget.spent, 3)
    if event.n == local.word.asked:
        answer = local.word.answered(event)
        if isinstance(answer, e.Detect):
            ask(call, answer)
        elif answer and model_idle(call):
            rescue(call, now)
    elif local.overheard.answered(event) and may_stop(call, now) and not voice.shielded(call, now):
        stop(call, event.gap, now)


def rescue(call: CallState, now: float) -> None:
    """Let the model hear a short word again, and that it has ended."""
    call.metrics.rescued += call.uplink.again_and_end(call.local.word.began)
    call.air.heard_again(now)


def stop(call: CallState, gap: float, now: float) -> None:
    """Stop the agent at once, until the service confirms that somebody speaks."""
    local = call.local
    local.stop = Stop(now, local.overheard.word_began(gap))
    local.overheard.rest()
    call.out.extend(call.downlink.pause(now))
    call.timers[Timer.CONFIRM] = now + local.options.confirm
    call.metrics.stopped += 1


def nobody_confirmed(call: CallState, now: float) -> None:
    """Go on with the interrupted word, unless somebody still speaks, or has just ended."""
    local, last = call.local, call.uplink.meter.last_voiced
    assert local.stop is not None  # as long as its deadline is set
    longest = local.stop.since + local.options.longest
    until = now if last is None else min(last + local.patience(last), longest)
    if until > now:
        call.timers[Timer.CONFIRM] = until
        return
    turn = call.turns.current
    earliest = call.downlink.sent - round(local.options.back * call.downlink.kind.rate)
    word = max(local.stop.word, earliest, 0 if turn is None else turn.start)
    call.turns.again(*call.downlink.speak_on(word))
    local.stop = None
    local.overheard.unconfirmed += 1
    call.metrics.spoken_on += 1


def tell_end(call: CallState, now: float) -> None:
    """Tell the model that the caller's words have ended, where that is known here before it is known there."""
    local, began, last = call.local, call.uplink.meter.started, call.uplink.meter.last_voiced
    if began is None or last is None or last <= local.ended_at:
        return
    alone = began > call.turns.agent_last_heard() + ECHO and not call.downlink.unheard(now)
    long = last - began >= local.options.shortest and now - last >= local.options.end_after
    if alone and long and model_idle(call):
        local.ended_at = last
        call.uplink.end()


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {e.VoiceDetected: voice_detected}

TIMERS: Mapping[Timer, Callable[[CallState, float], None]] = {Timer.CONFIRM: nobody_confirmed}
