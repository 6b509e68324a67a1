"""What a call does about the agent's voice: what is spoken, what is refused, and barge-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life
from agent.call.life import Phase, Signal, Timer
from agent.call.turns import Agent, Sign
from agent.call.uplink import LEAD_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


def model_audio(call: CallState, event: e.ModelAudio, now: float) -> None:
    if more_of_a_reply(call, event):
        call.air.agent_spoke()
        call.downlink.feed(event.pcm)
        call.turns.all[-1].end = call.downlink.position
        call.downlink.fed = True
        return
    call.downlink.due_at = now
    unwanted = call.control.listening or call.phase is Phase.AWAY
    if call.turns.state is Agent.REFUSING or unwanted:
        call.metrics.refused_ms += event.pcm.seconds * 1000
        return
    if call.phase is Phase.ENDING and call.control.own_words:
        return  # our own last line is the last
    if call.timers.pop(Timer.SPEAK, None) is not None and call.phase is Phase.TALKING:
        call.control.transfer = None  # the caller had more to say, and is answered
    if call.local.stop is not None and call.turns.answers_caller():
        cut(call, now)  # the model heard him too, or it would not answer
    call.air.agent_spoke(audible=event.audible)
    turn = call.turns.reply_audio(now, call.downlink.position)
    if turn.first_byte == now and (since := call.uplink.answering()) is not None:
        call.turns.answers_only_before(since)
    call.downlink.feed(event.pcm, audible=event.audible)
    turn.end = call.downlink.position
    life.answer(call, now)


def more_of_a_reply(call: CallState, event: e.ModelAudio) -> bool:
    """Whether this is one more piece of what the agent is saying, so that nothing is new but it; nearly all pieces are."""
    turn = call.turns.current
    return (
        call.turns.state is Agent.SPEAKING
        and call.phase is Phase.TALKING
        and event.audible
        and turn is not None
        and not turn.own
        and call.local.stop is None
        and not call.control.listening
        and Timer.SPEAK not in call.timers
        and Timer.ANSWER not in call.timers
    )


def generation_complete(call: CallState, event: e.GenerationComplete, now: float) -> None:
    if call.turns.move(Sign.GENERATED) is Agent.SPEAKING:
        call.downlink.end_utterance()
        safe(call, now)


def turn_complete(call: CallState, event: e.TurnComplete, now: float) -> None:
    call.timers.pop(Timer.REFUSE, None)
    before = call.turns.move(Sign.COMPLETE)
    if before is Agent.SPEAKING:
        call.downlink.end_utterance()
    call.air.turn_complete(sound=before is not Agent.QUIET, now=now)
    safe(call, now)


def interrupted(call: CallState, event: e.Interrupted, now: float) -> None:
    before = call.turns.move(Sign.INTERRUPTED)
    call.air.interrupted()
    if before in {Agent.SPEAKING, Agent.SPOKEN}:
        call.timers[Timer.REFUSE] = now + call.options.refuse_late
    if not call.barge_in.phantom(call.uplink.meter, now) and not shielded(call, now):
        cut(call, now)
    elif before is Agent.SPEAKING:
        call.downlink.end_utterance()
        call.air.phantom()


def cut(call: CallState, now: float) -> None:
    """Barge-in: stop the voice at once and remember what was heard of it."""
    if not call.downlink.unheard(now) or call.control.machine:
        return
    call.local.confirmed()
    silence(call, now)
    call.air.caller_spoke()
    call.metrics.barge_ins += 1
    if call.phase is Phase.ENDING and not call.control.own_words:
        # The caller has more to say: the call goes on if the model answers, and ends if it is silent.
        life.go(call, Signal.CALLER_BACK, now)
        call.timers[Timer.SPEAK] = now + call.options.speak_within


def stop_generation(call: CallState, now: float) -> None:
    """What the model is about to say is not wanted any more: what still comes of it is refused."""
    if call.turns.state is Agent.SPEAKING:
        call.turns.move(Sign.INTERRUPTED)
        call.timers[Timer.REFUSE] = now + call.options.refuse_late


def silence(call: CallState, now: float) -> None:
    """Take back what the agent has said and nobody has heard yet."""
    if call.downlink.unheard(now):
        life.keep_heard(call, now, everything=True)
        call.out.extend(call.downlink.cut(now))
        call.local.stop = None
        call.timers.pop(Timer.CONFIRM, None)
        call.turns.cut(call.downlink.position)
        call.truth.cut(call.turns.current)


def shielded(call: CallState, now: float) -> bool:
    greeting = call.turns.greeting_began(call.downlink.playout.heard(now), now)
    return call.barge_in.shielded(call.uplink.meter, greeting)


def safe(call: CallState, now: float) -> None:
    """What the caller said is answered, or in a snapshot: only what is not yet has to be kept."""
    since = call.turns.speech_since()
    call.uplink.forget((now if since is None else since) - LEAD_IN)  # he may begin this very moment


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.ModelAudio: model_audio,
    e.GenerationComplete: generation_complete,
    e.TurnComplete: turn_complete,
    e.Interrupted: interrupted,
}
