"""What a call does about a resumed session that has forgotten it (`memory.py` says how that shows)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import model, voice
from agent.call.life import Phase
from agent.call.turns import Agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


def model_usage(call: CallState, event: e.ModelUsage, now: float) -> None:
    call.metrics.bill(event)
    if call.leg.memory.billed(event):
        tell_again(call, now)


def agent_said(call: CallState, event: e.AgentSaid, now: float) -> None:
    call.turns.agent_said(event.text)
    if call.leg.memory.said(event.text, call.turns.greeting):
        tell_again(call, now)


def tell_again(call: CallState, now: float) -> None:
    """Leave the session for one that is told the call in words; what this one is saying answers nobody."""
    if call.phase is not Phase.TALKING or not call.leg.ready:
        return
    call.metrics.forgotten += 1
    call.out.append(e.Tell("the resumed session had forgotten the call: it is told again"))
    owed = call.turns.owes_answer()
    if call.turns.state in {Agent.SPEAKING, Agent.SPOKEN}:
        voice.silence(call, now)
        owed = True
    call.leg.forgot()
    model.hop(call, now, owed=owed)
    if owed:
        model.excuse_soon(call, now)


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {
    e.ModelUsage: model_usage,
    e.AgentSaid: agent_said,
}
