"""Two clocks over what a provider plays, and the marks that set them.

A provider plays what it is sent without a gap until it runs out; such a stretch is a run. Over a
run each clock is one straight line of position over time:

- the provider's: `Run.playing(now)` is where it will be when a message that we send now arrives
  there. It starts with the run's first send, whatever the way takes, because that way delays the
  audio and the message alike. It decides how much to send, and what a `clear` sent now leaves
  unheard.
- the ear's: `Run.heard(now)`, as we learn of it by marks: later than the provider's by the way
  there and back. The caller's words come the same way back, so this is the clock that puts both
  voices of a recording where the caller heard them.

An echoed mark (Twilio: Media Streams, WebSocket messages, `mark`: sent back when the audio before
it has been played) is late by that way and by every stall of ours, so the smallest delay of the
last five is the truth and the others are noise. How that smallest one changes over a run is the
drift of the provider's clock against ours, or a hole on its side that we did not see.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from agent.events import Mark

LATEST_MARKS = 5
"""How many delays are compared: a second's at the default spacing, longer than a stall."""
ROUNDING = 1e-3
"""Samples. A float of seconds after months of uptime is still exact to a tenth of this."""


def whole_samples(seconds: float, rate: int) -> int:
    """Samples that fit into a time, forgiving what a float of seconds cannot say."""
    return math.floor(seconds * rate + ROUNDING)


class Run:
    """A stretch that the provider plays without a gap.

    Args:
        start: when its first sample was sent (seconds, monotonic).
        position: that sample on the tape.
        delay: what the leg's marks said of its way so far; None where there were none.
        rate: of the line, Hz.

    Attributes:
        position: as above.
        delay: how far the ear is behind the provider's clock, seconds.
        cut: it was ended by us, not by running out of audio.
        recorded: when its first sample was heard, as the recording was told; that must not change
            afterwards.
    """

    def __init__(self, start: float, position: int, delay: float | None, rate: int) -> None:
        self._start = start
        self._rate = rate
        self._delays = deque([] if delay is None else [delay], maxlen=LATEST_MARKS)
        self._echoes = 0
        self._way = math.inf  # the smallest of the first delays: what of them is not drift
        self._drift = 0.0  # how far the provider fell behind since
        self.position = position
        self.delay = delay or 0.0
        self.cut = False
        self.recorded: float | None = None

    def echoed(self, position: int, now: float) -> None:
        """A mark at `position` came back."""
        delay = now - self._start - (position - self.position) / self._rate
        if delay < 0 and self._echoes < LATEST_MARKS:
            # A mark may be late, and is never early: the provider began before we thought, as one does that stops in the middle
            # of a packet at a `clear`. Unless that is set right, it adds up from one interruption to the next.
            self._start += delay
            self._way -= delay
            self._delays = deque((each - delay for each in self._delays), LATEST_MARKS)
            delay = 0.0
        self._delays.append(delay)
        self.delay = min(self._delays)
        self._echoes += 1
        if self._echoes <= LATEST_MARKS:
            self._way = min(self._way, delay)
        else:
            self._drift = self.delay - self._way

    def heard_at(self, position: int) -> float:
        """When the caller has heard all that is before `position`, by the ear's clock."""
        return self._start + self.delay + (position - self.position) / self._rate

    def played_at(self, position: int) -> float:
        """When all that is before `position` is played, by the provider's clock."""
        return self._start + self._drift + (position - self.position) / self._rate

    def heard(self, now: float) -> int:
        """The ear's position, as if audio had neither beginning nor end."""
        return self.position + whole_samples(now - self._start - self.delay, self._rate)

    def playing(self, now: float) -> int:
        """The provider's position, as if audio had neither beginning nor end."""
        return self.position + whole_samples(now - self._start - self._drift, self._rate)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A mark that did not come back yet.

    Attributes:
        sent: when it was sent (seconds, monotonic).
        final: it stands at an utterance's end.
        timed: its audio was still to be played when it was sent, so that its echo tells the time.
    """

    name: str
    position: int
    run: Run
    sent: float
    final: bool
    timed: bool


class Marks:
    """The marks of one call; their names never repeat, whatever the leg.

    Attributes:
        position: where the last one stands.
        delay: how far the ear was behind the provider's clock at the leg's last echo (seconds);
            None before any.
    """

    def __init__(self) -> None:
        self._pending: deque[_Pending] = deque()
        self._serial = 0
        self.position = 0
        self.delay: float | None = None

    def ask(self, position: int, run: Run, now: float, *, final: bool) -> Mark:
        """A mark to be sent now, after all audio before `position`."""
        self._serial += 1
        timed = run.playing(now) < position and not run.cut
        mark = _Pending(f"m{self._serial}", position, run, now, final, timed)
        self._pending.append(mark)
        self.position = position
        return Mark(mark.name)

    def returned(self, name: str, now: float) -> int | None:
        """A mark came back; answers its position, None for a name that is unknown or void."""
        mark = next((each for each in self._pending if each.name == name), None)
        if mark is None:
            return None
        while self._pending.popleft() is not mark:
            pass  # audio plays in order, so what the earlier ones stand for was played too
        if mark.timed:
            mark.run.echoed(mark.position, now)
            self.delay = mark.run.delay
        return mark.position

    def void(self, position: int) -> list[int]:
        """All that are out mean nothing any more: what is behind `position` will not be played.

        Twilio returns all pending marks on `clear`. Those of audio that was heard by then change
        nothing, as the clock has passed them; the others are no proof of anything. From here on
        they are names that we do not know.

        Returns:
            Where an utterance's end has lost its mark.
        """
        ends = [each.position for each in self._pending if each.final and each.position > position]
        self._pending.clear()
        self.position = min(self.position, position)
        return ends

    @property
    def oldest(self) -> int | None:
        """Where the one stands that is out the longest; None where none is out."""
        return self._pending[0].position if self._pending else None

    def expected(self) -> float | None:
        """When the oldest one should be back (seconds, monotonic); None where none is out."""
        if not self._pending:
            return None
        mark = self._pending[0]
        return max(mark.run.heard_at(mark.position), mark.sent + mark.run.delay)
