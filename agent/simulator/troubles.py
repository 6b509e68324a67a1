"""What is going wrong, or is about to, with the talk of one session."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.simulator.faults import Fault

NEXT = frozenset({"deaf", "silent-reply", "unheard", "no-reply", "forgets"})
"""Faults that come once each time they are armed: with the next message, reply or utterance."""
LASTING = frozenset(
    {"late-audio", "duplicate-tool-call", "late-transcription", "short-words-unheard"}
)
"""Faults that go on from when they are armed."""
EMPTY = frozenset({"empty-turn", "rejected"})
"""Faults that put an empty turn in place of the next reply."""


class Troubles:
    """Armed faults of a talk.

    Attributes:
        empty_turns: Why each of the next replies is a `turnComplete` and no more: a
            `turnCompleteReason`, or an empty string for none.
        stall_seconds: A pause that waits for the next reply.
    """

    def __init__(self) -> None:
        self._next: Counter[str] = Counter()
        self._lasting: dict[str, str] = {}
        self.empty_turns: list[str] = []
        self.stall_seconds = 0.0

    def arm(self, fault: Fault) -> None:
        """Take a fault of the talk that needs nothing done now.

        Raises:
            ValueError: it is none of them.
        """
        if fault.name in NEXT:
            self._next[fault.name] += 1
        elif fault.name in LASTING:
            self._lasting[fault.name] = fault.value
        elif fault.name in EMPTY:
            self.empty_turns.append(fault.value)
        else:
            raise ValueError(fault.name)

    def comes(self, name: str) -> bool:
        """Whether one of `NEXT` comes now; then it is over."""
        if not self._next[name]:
            return False
        self._next[name] -= 1
        return True

    def lasts(self, name: str) -> bool:
        """Whether one of `LASTING` goes on."""
        return name in self._lasting

    def seconds(self, name: str) -> float:
        """The value of one of `LASTING`; 0 where it does not go on."""
        return float(self._lasting.get(name, "0"))
