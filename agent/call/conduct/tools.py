"""What a call does about its tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life
from agent.call.life import Phase, Signal, Timer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


def tool_called(call: CallState, event: e.ToolCalled, now: float) -> None:
    call.air.tool(now, called=True)
    carry(call, call.tools.called(event))


def tools_cancelled(call: CallState, event: e.ToolsCancelled, now: float) -> None:
    call.uplink.unsay(event.ids)
    carry(call, call.tools.cancelled(event.ids))


def tool_finished(call: CallState, event: e.ToolFinished, now: float) -> None:
    call.air.tool(now, called=False)
    counts, commands = call.tools.finished(event)
    carry(call, commands)
    call.metrics.tools = call.tools.answered
    if counts and event.effect is not None and call.phase in {Phase.TALKING, Phase.ENDING}:
        life.go(call, Signal.GOODBYE, now, "agent_hung_up")
        if call.turns.caller_spoke_since_reply():
            call.timers[Timer.SPEAK] = now + call.options.speak_within


def carry(call: CallState, commands: list[e.AnyCommand]) -> None:
    """Commands for tools go at once, answers for the model in their turn."""
    for command in commands:
        if isinstance(command, e.SendToolResult):
            call.uplink.say(command)
        else:
            call.out.append(command)


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.ToolCalled: tool_called,
    e.ToolsCancelled: tools_cancelled,
    e.ToolFinished: tool_finished,
}
