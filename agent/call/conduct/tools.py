"""What a call does about its tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import hold, keys, life, transfer
from agent.call.life import Phase, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from agent.call.state import CallState, Handler


MOST_DEFERRED = 8
"""Effects that wait for a line; more are dropped, newest first: a model that asks for so many is out of its mind."""


def tool_called(call: CallState, event: e.ToolCalled, now: float) -> None:
    call.air.tool(now, called=True)
    carry(call, call.tools.called(event))


def tools_cancelled(call: CallState, event: e.ToolsCancelled, now: float) -> None:
    call.uplink.unsay(event.ids)
    stopped = call.tools.cancelled(event.ids)
    call.control.keypad.stop([each.id for each in stopped if isinstance(each, e.CancelTool)])
    carry(call, stopped)


def tool_finished(call: CallState, event: e.ToolFinished, now: float) -> None:
    call.air.tool(now, called=False)
    if isinstance(event.effect, e.CollectKeys) and keys.collect(call, event, event.effect, now):
        return
    counts, commands = call.tools.finished(event)
    carry(call, commands)
    call.metrics.tools = call.tools.answered
    if not counts or event.effect is None:
        return
    if call.phase in {Phase.TALKING, Phase.ENDING}:
        EFFECTS[type(event.effect)](call, event.effect, now)
    elif len(call.control.deferred) < MOST_DEFERRED:  # no caller is there yet, or again
        call.control.deferred.append(event.effect)


def line_is_there(call: CallState, now: float) -> None:
    """What tools wanted while no line was there is done now, in order."""
    deferred, call.control.deferred = call.control.deferred, []
    for effect in deferred:
        EFFECTS[type(effect)](call, effect, now)


def end_after_goodbye(call: CallState, effect: e.EndAfterGoodbye, now: float) -> None:
    if call.phase is Phase.TALKING:
        call.control.transfer = None
    if call.control.transfer is None:
        life.go(call, Signal.GOODBYE, now, "agent_hung_up")
        life.wait_for_words(call, now)


def collects_already(call: CallState, effect: e.CollectKeys, now: float) -> None:
    """Somebody else has the keypad, and this tool was answered that it has not."""


def carry(call: CallState, commands: list[e.AnyCommand]) -> None:
    """Commands for tools go at once, answers for the model in their turn."""
    for command in commands:
        if isinstance(command, e.SendToolResult):
            call.uplink.say(command)
        else:
            call.out.append(command)


EFFECTS: Mapping[type[e.Effect], Callable[[CallState, Any, float], None]] = {
    e.EndAfterGoodbye: end_after_goodbye,
    e.TransferAfterGoodbye: transfer.put_through,
    e.PressKeys: keys.press,
    e.CollectKeys: collects_already,
    e.HoldCall: hold.hold,
    e.ResumeCall: hold.resume,
}
"""What tools do to their call; a test holds it equal to the effects that there are."""

HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.ToolCalled: tool_called,
    e.ToolsCancelled: tools_cancelled,
    e.ToolFinished: tool_finished,
}
