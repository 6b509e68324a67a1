"""What a call does about its caller: sound, words, and the wish to be heard instead of the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import hearing, hold, voice
from agent.call.life import Phase, Timer
from agent.call.turns import Agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


def line_audio(call: CallState, event: e.LineAudio, now: float) -> None:
    deaf = call.control.deaf
    # Who holds the call may play music: nobody speaks.
    pcm = type(event.pcm)(len(event.pcm)) if call.control.line_held else event.pcm
    voiced = call.uplink.feed(pcm, now, deaf=deaf)
    hearing.listen(call, pcm, now)
    if voiced and deaf:
        hold.caller_speaks(call, now)
    elif voiced:
        call.turns.caller_voiced(now)
        call.air.voice(call.uplink.meter.started, now)
        if call.barge_in.outgrown(call.uplink.meter):
            call.downlink.due_at = now
            voice.cut(call, now)


def caller_said(call: CallState, event: e.CallerSaid, now: float) -> None:
    call.turns.caller_said(event.text)
    # A late transcription of what is being answered is no interruption: there must be a voice on the line.
    if call.turns.caller_spoke_since_reply():
        if not call.downlink.unheard(now):
            call.air.caller_spoke()
        caller_interrupts(call, now)


def caller_activity(call: CallState, event: e.CallerActivity, now: float) -> None:
    if event.active:
        caller_interrupts(call, now)


def caller_interrupts(call: CallState, now: float) -> None:
    """Stop a reply that is generated but not yet heard; while it is generated, the model says `interrupted`."""
    if call.turns.state is Agent.SPEAKING:
        if call.local.stop is not None:
            call.timers[Timer.CONFIRM] = call.local.confirm_until(now)
    elif not voice.shielded(call, now):
        voice.cut(call, now)


def caller_typed(call: CallState, event: e.CallerTyped, now: float) -> None:
    """Written words reach the model at once, and stop the agent as spoken ones do."""
    if call.phase in {Phase.TALKING, Phase.ENDING}:
        voice.stop_generation(call, now)
        voice.cut(call, now)  # a goodbye that is cut is none: the call goes on
    if call.phase is not Phase.TALKING:
        return
    call.air.caller_typed(now)
    call.turns.caller_typed(event.text, now)
    if call.leg.ready:  # a session that is still to come is told when it has
        call.uplink.say(e.SendText(event.text))


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.LineAudio: line_audio,
    e.CallerSaid: caller_said,
    e.CallerTyped: caller_typed,
    e.CallerActivity: caller_activity,
}
