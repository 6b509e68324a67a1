"""How a call lives and ends: from one phase to the next, its deadlines, its last words and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.life import LIFE, Phase, Signal, Timer
from agent.call.turns import Agent, Sign
from agent.errors import OwnFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.hops import Hop
    from agent.call.options import OwnLine
    from agent.call.state import CallState, Due, Handler


def go(call: CallState, signal: Signal, now: float, reason: str = "") -> None:
    try:
        call.phase = LIFE[call.phase, signal]
    except KeyError:
        raise OwnFault(f"a call that is {call.phase} was told {signal}") from None
    if signal in {Signal.CALLER_BACK, Signal.PUT_THROUGH}:
        call.reason = ""
        for timer in (Timer.GOODBYE, Timer.SPEAK, Timer.LINGER):
            call.timers.pop(timer, None)
    if reason and not call.reason:
        call.reason = reason if call.phase in {Phase.ENDING, Phase.ENDED} else ""
    if call.phase is not Phase.TALKING:
        call.air.look(None, now)
        call.control.held = False
        call.timers.pop(Timer.HOLD, None)
        call.timers.pop(Timer.HELD, None)
    if call.phase is not Phase.AWAY:
        call.timers.pop(Timer.AWAY, None)
    if call.phase is Phase.PARKED:
        park(call, now)
    elif call.phase is Phase.ENDING:
        call.timers[Timer.GOODBYE] = now + call.options.goodbye_within
    elif call.phase is Phase.ENDED:
        end(call, now)


def park(call: CallState, now: float) -> None:
    call.timers[Timer.PARK] = now + call.options.park_within
    if call.timers.pop(Timer.SPEAK, None) is not None:
        call.control.transfer = None  # he had more to say: a goodbye that he cut short is none


def end(call: CallState, now: float) -> None:
    call.timers.clear()
    told(call, call.hops.end(call.uplink.toll.dropped))
    model_gone(call)
    keep_heard(call, now, everything=True)
    call.downlink.playout.detach(now)
    call.out.extend(call.tools.stop())
    call.out.extend((e.HangUp(), e.Finish(call.reason or "internal_error")))


def answer(call: CallState, now: float) -> None:
    """The agent can be heard: stop ringing, if it rings."""
    if call.timers.pop(Timer.ANSWER, None) is not None:
        stop_ringing(call, now)


def stop_ringing(call: CallState, now: float) -> None:
    call.out.append(e.Answer())
    call.timers[Timer.START] = now + call.options.start_within


def close_with(call: CallState, line: OwnLine, reason: str, now: float) -> None:
    """Say one honest sentence of our own after what is queued, then hang up."""
    leaving = call.control.transfer is not None and call.phase in {Phase.ENDING, Phase.AWAY}
    if call.phase is Phase.ENDING and not leaving:
        return
    model_gone(call)
    if leaving:  # whoever takes the caller takes no notice of our troubles
        call.control.unsaid = (line, reason)
        return
    if call.phase is Phase.RINGING and Timer.ANSWER in call.timers:
        go(call, Signal.GAVE_UP, now, reason)  # not answered: the webhook speaks for us
        return
    call.say(line)
    call.control.own_words = True
    go(call, Signal.GOODBYE, now, reason)


def leave(call: CallState, now: float) -> None:
    """The last words were heard: hang up, or put the caller through."""
    transfer = call.control.transfer
    if transfer is None:
        go(call, Signal.HEARD_OUT, now)
        return
    go(call, Signal.PUT_THROUGH, now)
    call.timers[Timer.AWAY] = now + transfer.within
    call.out.extend((e.PutThrough(transfer.target), e.HangUp()))


def wait_for_words(call: CallState, now: float) -> None:
    """The model ends the conversation: where it has not said anything yet, it may."""
    if call.turns.caller_spoke_since_reply():
        call.timers[Timer.SPEAK] = now + call.options.speak_within


def model_gone(call: CallState) -> None:
    """Nobody listens and nobody speaks any more; what was said and queued is still heard."""
    if not call.leg.gone:
        call.leg.give_up()
        call.out.append(e.CloseModel())
    call.uplink.close()
    for timer in (Timer.MOMENT, Timer.SPEAK):  # nobody has more to say
        call.timers.pop(timer, None)
    if call.turns.move(Sign.GONE) is Agent.SPEAKING:
        call.downlink.end_utterance()


def told(call: CallState, hop: Hop | None) -> None:
    if hop is not None:
        call.metrics.hops = call.hops.made
        call.out.append(e.Tell(str(hop)))


def keep_heard(call: CallState, now: float, *, everything: bool = False) -> None:
    for heard in call.downlink.take_heard(now, everything=everything):
        call.turns.heard(heard.at, heard.position, heard.pcm.samples, heard.pcm.rate)
        call.out.append(e.KeepHeard(heard.at, heard.pcm))
    if (
        call.control.consent_ends is not None
        and call.downlink.playout.heard(now) >= call.control.consent_ends
    ):
        call.control.consent_ends = None
        call.out.append(e.KeepSound())
    toll = call.uplink.toll
    call.metrics.merged_up_ms, call.metrics.delayed_up_ms = toll.merged * 1000, toll.delayed * 1000
    call.metrics.dropped_up_ms, call.metrics.unsaid = toll.dropped * 1000, toll.unsaid
    call.metrics.dropped_down_ms = call.downlink.dropped * 1000
    call.metrics.underruns = call.downlink.playout.underruns


def call_abandoned(call: CallState, event: e.CallAbandoned, now: float) -> None:
    go(call, Signal.GAVE_UP, now, event.reason)


def end_politely(call: CallState, event: e.EndPolitely, now: float) -> None:
    close_with(call, call.own.budget, event.reason, now)


def last_words_late(call: CallState, now: float) -> None:
    """The watchdog of the last words: it waits for what is still playing, and for nothing else."""
    left = call.downlink.playout.unplayed(now)
    if left > 0:
        call.timers[Timer.GOODBYE] = now + left + call.options.playout.patience
    else:
        leave(call, now)


def model_silent(call: CallState, now: float) -> None:
    """The model ended the call and has no more to say; whoever is still speaking is heard first."""
    quiet_at = call.turns.caller_last_heard() + call.options.speak_within
    if quiet_at > now:
        call.timers[Timer.SPEAK] = quiet_at
    elif call.phase is Phase.TALKING:
        go(call, Signal.GOODBYE, now, "" if call.control.transfer else "agent_hung_up")
    else:
        leave(call, now)


def heard_out(call: CallState, now: float) -> None:
    """Hang up when the last words were heard to their mark and the model has no more."""
    if Timer.START in call.timers or Timer.SPEAK in call.timers:
        return
    if not call.downlink.playout.settled(now) or call.turns.state is Agent.SPEAKING:
        call.timers.pop(Timer.LINGER, None)
    elif call.turns.state is Agent.QUIET:
        leave(call, now)
    else:
        call.timers.setdefault(Timer.LINGER, now + call.options.linger)


def refused_to_its_end(call: CallState, now: float) -> None:
    """An interrupted generation never completed; it is over all the same."""
    call.turns.move(Sign.GONE)


TIMERS: Mapping[Timer, Due] = {
    Timer.ANSWER: stop_ringing,
    Timer.START: lambda call, now: go(call, Signal.GAVE_UP, now, "no_start"),
    Timer.PARK: lambda call, now: go(call, Signal.GAVE_UP, now, "line_lost"),
    Timer.LIMIT: lambda call, now: close_with(call, call.own.time_limit, "time_limit", now),
    Timer.GOODBYE: last_words_late,
    Timer.SPEAK: model_silent,
    Timer.LINGER: leave,
    Timer.AWAY: lambda call, now: go(call, Signal.GAVE_UP, now, "transferred"),
    Timer.REFUSE: refused_to_its_end,
}
"""What each deadline of a call's life means."""

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.CallAbandoned: call_abandoned,
    e.EndPolitely: end_politely,
}
