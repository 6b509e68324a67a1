"""What becomes of a call of ours that reached nobody. Pure.

Only what certainly disturbed nobody, or what the agent's file names, is tried again; whoever was spoken to is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agent.server.outbound.calling_hours import CallingHours

OUTCOMES = {
    "caller_busy": "busy",
    "no_answer": "no_answer",
    "voicemail": "voicemail",
    "call_failed": "failed",
    "carrier_refused": "failed",
    "carrier_silent": "failed",
    "no_start": "failed",
}
"""An `end_reason` as a retry policy calls it."""

UNHEARD = frozenset({"model_lost", "internal_error", "server_stopped", "busy", "crash"})
"""Ends of ours: failures where the callee never heard us, else the conversation that there was is the last."""

REACHED = "reached"


def outcome(reason: str, *, answered: bool) -> str:
    """What a call's `end_reason` means for another try: busy, no_answer, voicemail, failed or reached.

    Args:
        reason: from the call's record.
        answered: whether the callee heard us at all.
    """
    if not answered and reason in UNHEARD:
        return "failed"
    return OUTCOMES.get(reason, REACHED)


class Retries(msgspec.Struct, frozen=True):
    """How often, how soon and after what a number is tried again.

    Attributes:
        tries: at most so many in all.
        wait: seconds until the next one.
        on: outcomes after which there is one.
    """

    tries: int = 3
    wait: float = 3600.0
    on: frozenset[str] = frozenset({"busy", "no_answer", "failed"})

    def next_at(
        self, outcome: str, n: int, wall: float, *, number: str, hours: CallingHours
    ) -> float | None:
        """When to try again after try `n`, inside the callee's hours; None: that was the last one."""
        if outcome not in self.on or n >= self.tries:
            return None
        return hours.next_permitted(number, wall + self.wait)
