"""Call control: where the caller is put through to, who is on hold, what answered, which keys are pressed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agent.call.keypad import Keypad

if TYPE_CHECKING:
    from agent.call.options import OwnLine
    from agent.events import Effect, TransferAfterGoodbye


class Control:
    """What one call is in the middle of.

    Args:
        breaks: so often a stream may break within the time that `breaks_again` is told.

    Attributes:
        transfer: where the caller is put through to, from the tool's answer to the transfer's end.
        unsaid: a last line, and its `end_reason`, that a caller hears who comes back from a transfer.
        own_words: whether the last words are ours, and the model has no more to say.
        machine: whether an answering machine speaks, or records: nobody interrupts and nobody is waited for.
        listening: whether it still speaks, and so nothing is said to it.
        held: whether the call is on hold.
        held_for_caller: whether the caller asked for the hold, and ends it by speaking.
        line_held: whether the caller's side holds the call, so that he hears nothing.
        keypad: the caller's keys.
        to_press: keys that the agent presses next.
        sends_digits: whether the line presses keys by itself.
        deferred: effects of tools that finished while no line was there.
        secretive: whether anything in this call is kept out of its record.
        consent_ends: position after which the caller knows that the call is recorded; None where nobody waits for that.
    """

    def __init__(self, breaks: int) -> None:
        self.transfer: TransferAfterGoodbye | None = None
        self.unsaid: tuple[OwnLine, str] | None = None
        self.own_words = False
        self.machine = False
        self.listening = False
        self.held = False
        self.held_for_caller = False
        self.line_held = False
        self.keypad = Keypad()
        self.to_press = ""
        self.sends_digits = False
        self.deferred: list[Effect] = []
        self.secretive = False
        self.consent_ends: int | None = None
        self._broke_at: deque[float] = deque(maxlen=breaks + 1)

    def breaks_again(self, now: float, within: float) -> bool:
        """The stream broke; answers whether it has done so too often, the first of these times at most `within` seconds ago."""
        self._broke_at.append(now)
        return len(self._broke_at) == self._broke_at.maxlen and now - self._broke_at[0] <= within

    @property
    def deaf(self) -> bool:
        """Whether the model hears silence in place of the line."""
        return self.held or self.machine or self.line_held

    @property
    def nobody_waits(self) -> bool:
        """Whether silence means nothing just now."""
        return self.deaf or self.keypad.collects
