"""What a call does about who picked up: a person, an answering machine, a fax.

The agent talks at once, and nobody waits for the verdict. A machine that still speaks is said nothing; once it records, the model
leaves the agent's message, which is heard to its end. `machine_start` alone never hangs up, since people are taken for machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life, model, voice
from agent.call.life import Phase, Signal, Timer
from agent.call.turns import Agent, Sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Due, Handler


ANSWERED = {Phase.TALKING, Phase.PARKED}
"""Where a verdict still changes anything."""


def answered_by(call: CallState, event: e.AnsweredBy, now: float) -> None:
    if call.phase in ANSWERED:
        VERDICTS[event.who](call, now)


def nothing(call: CallState, now: float) -> None:
    """Somebody is there, or nobody knows: the conversation goes on."""


def machine_speaks(call: CallState, now: float) -> None:
    """Stop talking to it; it hears nothing of us until it records."""
    if not call.control.machine:
        call.control.machine = call.control.listening = True
        voice.silence(call, now)
        call.timers[Timer.MACHINE] = now + call.options.machine_within


def machine_records(call: CallState, now: float) -> None:
    """Leave the message: the last words of this call, unless others are being said already."""
    if call.phase not in ANSWERED:
        return
    call.control.machine, call.control.listening = True, False
    call.timers.pop(Timer.MACHINE, None)
    voice.silence(call, now)
    voice.stop_generation(call, now)  # what more comes of that is not the message
    if call.turns.state is Agent.SPOKEN:
        call.turns.move(Sign.GONE)
    if call.phase is Phase.PARKED or not call.options.voicemail:
        life.go(call, Signal.GAVE_UP, now, "voicemail")
        return
    model.prompt(call, call.options.voicemail)
    life.go(call, Signal.GOODBYE, now, "voicemail")
    call.timers[Timer.SPEAK] = now + call.options.message_within


def fax(call: CallState, now: float) -> None:
    life.go(call, Signal.GAVE_UP, now, "fax")


VERDICTS: Mapping[str, Due] = {
    "human": nothing,
    "unknown": nothing,
    "machine_start": machine_speaks,
    "machine_end": machine_records,
    "fax": fax,
}
"""What each verdict means."""

TIMERS: Mapping[Timer, Due] = {Timer.MACHINE: machine_records}

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {e.AnsweredBy: answered_by}
