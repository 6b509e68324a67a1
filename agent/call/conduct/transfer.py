"""What a call does about a transfer: off once the caller has heard it announced, back into the conversation where nobody takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import events as e
from agent.call.conduct import life, model
from agent.call.life import Phase, Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.call.state import CallState, Handler


WHY = {
    "busy": "the line is busy",
    "no_answer": "nobody answered",
    "declined": "nobody there took the call",
    "failed": "the call could not be connected",
}
"""Why a transfer failed, as the model is told."""


def put_through(call: CallState, event: e.TransferAfterGoodbye, now: float) -> None:
    """The tool's effect: the caller leaves once he has heard what the agent is saying."""
    if call.phase is Phase.TALKING and not call.control.machine:
        call.control.transfer = event
        life.go(call, Signal.GOODBYE, now)
        life.wait_for_words(call, now)


def transfer_ended(call: CallState, event: e.TransferEnded, now: float) -> None:
    """What the provider, or the person, made of it."""
    if call.phase is not Phase.AWAY:
        return  # told twice, or too late
    if event.outcome == "connected":
        life.go(call, Signal.GAVE_UP, now, "transferred")
        return
    call.control.transfer = None
    life.go(call, Signal.NOT_TAKEN, now)
    if call.control.unsaid is None:
        call.air.owe()
        model.prompt(call, call.options.transfer_failed.format(why=WHY[event.outcome]))


def say_what_was_unsaid(call: CallState, now: float) -> None:
    """The caller is back, and meanwhile something has happened that ends the call."""
    if call.control.unsaid is not None and call.phase is Phase.TALKING:
        line, reason = call.control.unsaid
        call.control.unsaid = None
        life.close_with(call, line, reason, now)


HANDLERS: Mapping[type[e.AnyEvent], Handler] = {e.TransferEnded: transfer_ended}
