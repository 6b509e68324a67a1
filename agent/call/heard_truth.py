"""Tells the model what the caller heard of a reply that was cut off: it believes that all of it was.

A note is an unfinished turn of `clientContent`, and that interrupts a generation that runs (Live API reference), also one that the
caller does not hear yet. So a note is sent only while no generation can run: in the middle of the words that stopped the agent,
which nobody answers before their end, or in the next idle moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.call.turns import Turn

BREATH = 0.06
"""Seconds since the last voiced frame in which the caller is in the middle of a word; no voice detection ends speech so fast."""

IDLE = 5.0
"""Seconds of silence on both sides that are an idle moment: longer than a model takes to begin."""


class HeardTruth:
    """Keeps what the model has yet to be told. Where its row allows no notes, that is nothing."""

    def __init__(self, *, tells: bool) -> None:
        self._tells = tells
        self._turn: Turn | None = None

    @property
    def pending(self) -> bool:
        """Whether there is something to tell."""
        return self._turn is not None

    def cut(self, turn: Turn | None) -> None:
        """This reply was cut off."""
        if self._tells and turn is not None and turn.cut:
            self._turn = turn

    def forget(self) -> None:
        """A fresh session is told what was heard anyway."""
        self._turn = None

    def note(self, *, in_word: bool, idle: bool) -> str:
        """What to tell the model now, empty where it is not the time; the model must be neither generating nor waiting for a tool.

        Args:
            in_word: the caller is in the middle of a word.
            idle: nobody speaks, and nobody waits for anything.
        """
        turn = self._turn
        if turn is None or not (in_word or idle):
            return ""
        self._turn = None
        if heard := turn.heard():
            return f'(You were interrupted. Of that answer the caller heard only: "{heard}")'
        how_much = "only the beginning" if turn.cut_at > turn.start else "nothing"
        return f"(You were interrupted. Of that answer the caller heard {how_much}.)"
