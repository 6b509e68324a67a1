"""A line without a telephone: who is on it writes, or plays sound, and what it hears takes as long as on a real one.

It has the shape of the call's `Line` port. Like Twilio's media streams it plays what it is sent without a gap, returns each mark
when the sound before it was played, and all of them at a `clear`; and it is never silent: every 20 ms the call hears a frame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from agent.events import (
    CallerTyped,
    Clear,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.drive.wakeups import Wakeups
    from agent.events import LineCommand, LineEvent, LinePcm, LineRate

FRAME = 0.02
FRAME_BYTES = 320
SILENCE = Pcm8k(bytes(FRAME_BYTES))
EARLY = 0.0005
"""Seconds by which a frame may be early: a wake-up's time and a sum of frames are never quite the same."""

LATE = 0.2
"""Seconds that a stalled loop is behind, above which frames are left out: a telephone sends them in time or not at all."""


class TextLine:
    """One leg of a call that is held in writing.

    Args:
        sink: takes what the line tells; `LineStarted` is the call's own to say.
        wakeups: the process's schedule and clock.

    Attributes:
        ended: set when either side has hung up.
        sound_at: when the first sound of the agent's that is no silence was played, since `listen_anew`; None: there was none.
    """

    sends_digits = False
    rate: LineRate = 8000

    def __init__(self, sink: Callable[[LineEvent], None], wakeups: Wakeups) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sound_at: float | None = None
        self._sink = sink
        self._now = wakeups.now
        self._wakeup = wakeups.register(self._tick)
        self._played_at = self._frame_at = wakeups.now()
        self._marks: deque[tuple[float, str]] = deque()  # as many as the call sends
        self._speech = bytearray()  # what the caller still says; as much as whoever speaks puts in
        self._wakeup.at(self._frame_at)

    def send(self, command: LineCommand) -> None:
        """Carry out a command; never waits, and does nothing once the line has ended."""
        if self.ended.done():
            return
        match command:
            case Play(pcm=pcm):
                self._play(pcm)
            case Mark(name=name):
                self._marks.append((self._played_at, name))
            case Clear():
                self._played_at = self._now()
                self._marks = deque((self._played_at, name) for _, name in self._marks)
            case HangUp():
                self._end(LineEnded("closed"))
            case _:
                pass  # `Digits` goes only to a line that says it sends them

    # ---- whoever is on it

    def type(self, text: str) -> None:
        """Write something to the agent."""
        self._tell(CallerTyped(text))

    def press(self, digit: str) -> None:
        """Press one key: 0-9 * # A-D."""
        self._tell(LineDigit(digit))

    def speak(self, pcm: Pcm8k) -> None:
        """Say this, after what is being said."""
        self._speech += pcm

    def hang_up(self) -> None:
        """The caller ends the call."""
        self._end(LineEnded("stopped"))

    @property
    def quiet(self) -> bool:
        """Whether both sides are: all that was sent has been played, and all that was to be said is said."""
        played = self._played_at <= self._now() + EARLY
        return played and not self._marks and not self._speech

    def listen_anew(self) -> None:
        """Wait for the agent's next sound."""
        self.sound_at = None

    # ---- its time

    def _play(self, pcm: LinePcm) -> None:
        begins = max(self._played_at, self._now())
        if self.sound_at is None and any(pcm):
            self.sound_at = begins
        self._played_at = begins + pcm.seconds

    def _tick(self, now: float) -> None:
        due = now + EARLY
        while self._marks and self._marks[0][0] <= due:
            self._tell(LineMark(self._marks.popleft()[1]))
        if now - self._frame_at > LATE:
            self._frame_at = now
        while self._frame_at <= due and not self.ended.done():
            self._tell(LineAudio(self._frame()))
            self._frame_at += FRAME
        if not self.ended.done():
            self._wakeup.at(self._frame_at)

    def _frame(self) -> Pcm8k:
        if not self._speech:
            return SILENCE
        frame = Pcm8k(bytes(self._speech[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\0"))
        del self._speech[:FRAME_BYTES]
        return frame

    def _tell(self, event: LineEvent) -> None:
        if not self.ended.done():
            self._sink(event)

    def _end(self, how: LineEnded) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
            self._wakeup.at(None)
            self._sink(how)
