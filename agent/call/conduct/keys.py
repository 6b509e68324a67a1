"""What a call does about keys: those of its caller, and those that the agent presses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.audio.dtmf import dial
from agent.call.conduct import caller, hold, model
from agent.call.life import Phase, Timer
from agent.call.turns import Agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Due, Handler


def line_digit(call: CallState, event: e.LineDigit, now: float) -> None:
    """The caller pressed a key; it stops the agent as a word does."""
    keypad = call.control.keypad
    keypad.press(event.digit)
    if not keypad.collects:
        call.turns.caller_pressed(event.digit)
        caller.caller_interrupts(call, now)
    if keypad.complete():
        keys_are_in(call, now)
    else:
        call.timers[Timer.KEYS] = now + keypad.wait(call.options.keys_within)


def keys_are_in(call: CallState, now: float) -> None:
    """No more keys come for now: the tool that asked is answered, or the model is told."""
    call.timers.pop(Timer.KEYS, None)
    keypad = call.control.keypad
    if (typed := keypad.typed()) is not None:
        call.air.tool(now, called=False)
        answer = e.ToolFinished(typed.id, typed.name, typed.response)
        _, commands = call.tools.finished(answer, secret=typed.secret)
        for command in commands:
            call.uplink.say(command)  # type: ignore[arg-type]
        call.metrics.tools = call.tools.answered
    elif keys := keypad.told():
        call.air.caller_spoke()
        hold.over(call)
        model.prompt(call, call.options.keys_pressed.format(keys=" ".join(keys)))


def collect(call: CallState, event: e.ToolFinished, wanted: e.CollectKeys, now: float) -> bool:
    """A tool asks for keys; says whether it has to wait for them (one at a time)."""
    keypad = call.control.keypad
    if keypad.collects or not call.tools.runs(event.id):
        return False
    call.control.secretive |= wanted.secret
    keypad.collect(event.id, event.name, wanted)
    call.timers[Timer.KEYS] = now + wanted.within
    if keypad.complete():
        keys_are_in(call, now)
    return True


def press(call: CallState, event: e.PressKeys, now: float) -> None:
    """The agent wants keys pressed; they follow what it is saying."""
    call.control.to_press += event.keys


def press_what_is_due(call: CallState, now: float) -> None:
    """Press keys between two replies: as tones that nothing cuts, or by the line's own means once all is heard."""
    control = call.control
    if call.phase not in {Phase.TALKING, Phase.ENDING} or call.turns.state is Agent.SPEAKING:
        return
    if not control.sends_digits:
        start = call.downlink.position
        call.downlink.press(dial(control.to_press, call.downlink.kind))
        call.turns.own_line("(keys)", start, call.downlink.position)
        call.downlink.due_at = now
    elif call.downlink.playout.unplayed(now) == 0:
        call.out.append(e.Digits(control.to_press))
    else:
        return
    control.to_press = ""


TIMERS: Mapping[Timer, Due] = {Timer.KEYS: keys_are_in}

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {e.LineDigit: line_digit}
