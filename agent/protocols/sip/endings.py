"""How SIP calls and transfers end, in the call's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agent.events import TransferOutcome

LOST = ("rtp stream error", "timed out", "protocol error", "no route", "unreachable")
"""What the library says, in part, of a call that broke rather than being ended by its peer (errors of its own and of the system)."""

OUTCOMES: dict[int, TransferOutcome] = {
    486: "busy",
    600: "busy",
    408: "no_answer",
    480: "no_answer",
    487: "no_answer",
    603: "declined",
}
"""What the target of a transfer answered (RFC 3261, section 21), as the NOTIFY told (RFC 3515, section 2.4.5)."""


UNTAKEN = {
    "busy": "caller_busy",
    "no_answer": "no_answer",
    "declined": "declined",
}
"""An outcome as the `end_reason` of a call of ours that nobody took."""

UNKNOWN = frozenset({404, 410, 416, 484, 485, 604})
"""Nobody has this address (RFC 3261, section 21)."""

NOT_US = frozenset({401, 402, 403, 407})
"""Whoever carries the call does not let us place it."""


def status_of(text: str) -> int | None:
    """The status in what the library says of a call's end, such as `486 Busy Here`; None where no answer ended it."""
    head = text.split(" ", 1)[0]
    return int(head) if re.fullmatch("[1-6][0-9]{2}", head) else None


def untaken(text: str) -> str:
    """The `end_reason` of a call of ours that ended before anybody took it; `text` as in `ended`."""
    status = status_of(text)
    if status in UNKNOWN:
        return "invalid_number"
    if status in NOT_US:
        return "carrier_refused"
    return UNTAKEN.get(transfer_outcome(status), "call_failed")


def ended(text: str, *, established: bool) -> Literal["stopped", "lost"]:
    """What a call's end means to the conversation.

    Args:
        text: the library's reason.
        established: whether it had been answered; a call that was not is ended by its caller, whatever else is said of it.
    """
    lost = established and any(sign in text.lower() for sign in LOST)
    return "lost" if lost else "stopped"


def transfer_outcome(status: int | None) -> TransferOutcome:
    """What became of a transfer that failed; `status` is None where the peer told none."""
    return "failed" if status is None else OUTCOMES.get(status, "failed")
