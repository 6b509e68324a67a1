"""What a call does about its session with the model: opening, hopping, losing and replacing it, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life, voice
from agent.call.heard_truth import BREATH, IDLE
from agent.call.hops import Moment
from agent.call.life import Phase, Timer
from agent.call.local_voice import LocalVoice
from agent.call.model_leg import Leg
from agent.call.turns import Agent, Sign
from agent.call.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Due, Handler


def call_started(call: CallState, event: e.CallStarted, now: float) -> None:
    call.uplink = Uplink(call.options.uplink, now)
    call.local = LocalVoice(call.options.local_voice, now)
    open_model(call, now)
    call.timers[Timer.ANSWER] = now + call.options.answer_within
    if call.own.disclosure is not None:
        call.say(call.own.disclosure)
    if call.own.consent is not None:
        call.say(call.own.consent)
        call.control.consent_ends = call.downlink.position


def open_model(call: CallState, now: float) -> None:
    call.leg.open(now)
    order_model(call)


def order_model(call: CallState) -> None:
    plan = call.leg.plan
    if not plan.resume:
        call.truth.forget()
    memory = call.turns.memory(everything=not plan.resume)
    handle = call.leg.handle if plan.resume else ""
    call.out.append(e.OpenModel(handle=handle, memory=memory, smaller=plan.smaller))


def model_ready(call: CallState, event: e.ModelReady, now: float) -> None:
    owed = call.leg.opened(now)
    call.timers.pop(Timer.MOMENT, None)
    repeated = call.leg.plan.keep_audio and call.uplink.again()
    if repeated:
        call.turns.said_again()
    asked = not call.turns.answered or (owed and not repeated)
    asked = (asked or bool(call.turns.typed)) and call.phase is not Phase.AWAY
    if asked:
        ask(call, call.turns.typed or call.options.go_on)
    call.hops.ready(now, asked=asked)
    call.uplink.open()
    call.air.session_ready(now, asked=asked)


def ask(call: CallState, words: str) -> None:
    """Have the model speak; who has not greeted yet is asked for that."""
    text = words if call.turns.answered else call.options.greeting
    call.uplink.say(e.SendText(text))


def prompt(call: CallState, words: str) -> None:
    """Tell the model what has happened, so that it says something about it."""
    call.turns.prompted(words)
    call.uplink.say(e.SendText(words))


def model_handle(call: CallState, event: e.ModelHandle, now: float) -> None:
    if call.leg.snapshot(event.handle, event.resumable):
        call.turns.saved()
        call.tools.snapshot()
        voice.safe(call, now)


def model_going_away(call: CallState, event: e.ModelGoingAway, now: float) -> None:
    call.leg.going_away(event.seconds, now)


def model_ended(call: CallState, event: e.ModelEnded, now: float) -> None:
    call.metrics.session_lost(event.fate)
    leaving = call.control.transfer is not None  # then the session is for a caller who comes back
    owed = call.turns.owes_answer() and not leaving
    if call.phase is Phase.ENDING and not leaving:
        life.model_gone(call)
    elif call.leg.lost(event.fate, now, owed=owed):
        session_gone(call, now)
        if not call.leg.plan.keep_audio:
            call.uplink.close()
        excuse_soon(call, now)
    else:
        life.close_with(call, call.own.trouble, "model_lost", now)


def excuse_soon(call: CallState, now: float) -> None:
    """A caller who waits for a session is told so, once, unless it comes soon."""
    since = call.leg.without_session_since()
    if call.phase is Phase.TALKING and since is not None and not call.leg.excused:
        call.timers.setdefault(Timer.MOMENT, max(now, since + call.options.moment_after))


def excuse(call: CallState, now: float) -> None:
    """There is no session yet, and the caller hears nothing, or will as soon as he has heard what there is."""
    if left := call.downlink.playout.unplayed(now):
        call.timers[Timer.MOMENT] = now + left + call.options.moment_after
    else:
        call.leg.excused = True
        call.say(call.own.moment)


def look_after_model(call: CallState, now: float) -> None:
    """Open the next session when its time has come, hop in a silent moment, give up when it takes too long."""
    if call.leg.settled(now):
        return
    if call.leg.due(now):
        open_model(call, now)
    elif call.leg.out_of_time(now):
        call.downlink.due_at = now
        life.close_with(call, call.own.trouble, "model_lost", now)
    elif call.leg.ends_soon(now) and call.leg.hop_due(now, call.quiet_since(now)):
        call.downlink.due_at = now
        owed = call.turns.owes_answer()
        hop(call, now, owed=owed)
        if owed:
            excuse_soon(call, now)


def hop(call: CallState, now: float, *, owed: bool) -> None:
    call.leg.hop(now, owed=owed)
    session_gone(call, now)
    order_model(call)


def session_gone(call: CallState, now: float) -> None:
    """What there was of a session is over; what it said and what was said to it stays."""
    broke_off = call.turns.state is Agent.SPEAKING
    dropped = call.uplink.toll.dropped
    if not call.leg.plan.keep_audio:
        dropped -= call.uplink.unanswered
    planned = call.leg.state is Leg.OPENING
    life.told(call, call.hops.gone(now, planned=planned, broke_off=broke_off, dropped=dropped))
    call.timers.pop(Timer.REFUSE, None)
    call.uplink.pause()
    if call.turns.prompt:
        call.uplink.say(e.SendText(call.turns.prompt))  # the next session does not know of it
    call.tools.session_gone()
    if call.turns.move(Sign.GONE) is Agent.SPEAKING:
        call.downlink.end_utterance()
        call.air.owe()


def follow_hop(call: CallState, now: float) -> None:
    moment = Moment(
        due=call.turns.owes_answer(),
        playing=call.phase is Phase.RINGING or call.downlink.playout.unplayed(now) > 0,
        voice_at=call.turns.caller_last_heard(),
        speaks=call.turns.state is not Agent.QUIET,
        caught_up=call.uplink.speech_sent,
        dropped=call.uplink.toll.dropped,
    )
    life.told(call, call.hops.follow(now, moment))


def tell_truth(call: CallState, now: float) -> None:
    """Tell the model what was heard of its reply, where no generation can run that the note would end."""
    busy = call.turns.state is not Agent.QUIET or len(call.tools) > 0
    if busy or not call.leg.ready or call.uplink.waiting > BREATH:
        return
    in_word = now - call.turns.caller_last_heard() <= BREATH
    idle = call.quiet_since(now) is not None and call.air.calm_for(now) >= IDLE
    if note := call.truth.note(in_word=in_word, idle=idle):
        call.uplink.say(e.SendNote(note))


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.CallStarted: call_started,
    e.ModelReady: model_ready,
    e.ModelHandle: model_handle,
    e.ModelGoingAway: model_going_away,
    e.ModelEnded: model_ended,
}

TIMERS: Mapping[Timer, Due] = {Timer.MOMENT: excuse}
