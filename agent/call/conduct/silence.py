"""What a call does about silence, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.call.conduct import life, model
from agent.call.dead_air import Air, Step
from agent.call.life import Phase, Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.state import CallState


def break_silence(call: CallState, now: float) -> None:
    """Do what is due about a silence, and find out when the next step is."""
    while (step := call.air.look(weather(call, now), now)) is not Step.NOTHING:
        call.downlink.due_at = now
        drop_silence(call, now)
        STEPS[step](call, now)


def drop_silence(call: CallState, now: float) -> None:
    """A reply may be nothing but silence: what is said next need not wait for its end."""
    if call.downlink.unheard(now):
        call.out.extend(call.downlink.cut(now))
        call.turns.cut(call.downlink.sound_until)


def weather(call: CallState, now: float) -> Air | None:
    """What silence is judged by; None where nobody is expected to speak, or another timer watches for it."""
    stopped = call.local.stop is not None
    watched = Timer.SPEAK in call.timers or call.control.nobody_waits or stopped
    if call.phase is not Phase.TALKING or watched:
        return None
    left = call.downlink.sound_left(now)
    return Air(left, call.turns.state, len(call.tools) > 0, call.leg.ready)


def say_moment(call: CallState, now: float) -> None:
    filler = call.own.filler if len(call.tools) > 0 else None
    call.say(filler or call.own.moment)


def nudge(call: CallState, now: float) -> None:
    model.ask(call, call.turns.typed or call.options.dead_air.words)


def resend(call: CallState, now: float) -> None:
    if not call.uplink.again():
        nudge(call, now)


def leave_silent_session(call: CallState, now: float) -> None:
    model.hop(call, now, owed=True)
    turn = call.turns.current
    said = turn is not None and turn.own  # not twice in a row
    since = turn.last_heard if turn is not None else None
    if not said or (since is not None and call.turns.caller_last_heard() > since):
        call.say(call.own.moment)


def give_up(call: CallState, now: float) -> None:
    life.close_with(call, call.own.trouble, "model_lost", now)


def leave_unheard(call: CallState, now: float) -> None:
    life.close_with(call, call.own.unheard, "caller_silent", now)


STEPS: dict[Step, Callable[[CallState, float], None]] = {
    Step.MOMENT: say_moment,
    Step.NUDGE: nudge,
    Step.RESEND: resend,
    Step.HOP: leave_silent_session,
    Step.REPEAT: lambda call, now: call.say(call.own.repeat),
    Step.GIVE_UP: give_up,
    Step.STILL_THERE: lambda call, now: call.say(call.own.still_there),
    Step.UNHEARD: leave_unheard,
}
"""What a call does about silence; a test holds it equal to the steps that there are."""
