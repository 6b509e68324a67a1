"""What the agent says, when it is sent, and what of it the caller has heard by now.

One tape holds the agent's audio from the oldest sample that was not yet taken for the recording to
the newest one queued. Positions on it are samples at the line's rate since the call's first, and
three cursors move along it:

    taken <= heard <= sent <= queued
      |        |        |        +-- `feed` appends here, `drop` cuts here
      |        |        +-- `due` sends whole frames, `rewind` goes back to what will be heard
      |        +-- the caller's ear: a clock, corrected by the provider's marks
      +-- `take_heard` hands audio to the recording and frees it

The lead is what the provider holds for us: enough that a stall of our event loop is not heard,
while `clear` empties it at once, so that it costs an interruption nothing. Its clock and the ear's
are in `runs.py`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import msgspec

from agent.audio.runs import Marks, Run, whole_samples
from agent.errors import OwnFault
from agent.events import LinePcm, Mark, Pcm8k, Play

SAMPLE_BYTES = 2


class PlayoutOptions(msgspec.Struct, frozen=True):
    """How far ahead of the ear a line is kept. All in seconds.

    Attributes:
        lead: most audio that is sent and not yet heard.
        top_up: nothing is sent while more than this is unheard; the distance to `lead` is the
            usual message.
        mark_every: audio between two marks.
        frame: the line's frame; only whole ones are sent.
        limit: most audio that may wait in the queue; newer audio is dropped.
        patience: how long after `lead` a mark may stay out before the line counts as lost.
    """

    lead: float = 0.4
    top_up: float = 0.36
    mark_every: float = 0.2
    frame: float = 0.02
    limit: float = 120.0
    patience: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.frame <= min(self.lead, self.mark_every):
            raise ValueError("a frame must be longer than nothing and fit into lead and mark_every")


class Heard(msgspec.Struct, frozen=True):
    """A stretch that reached the caller's ear.

    Attributes:
        at: when its first sample was heard (seconds, monotonic).
        position: its first sample on the tape.
        pcm: the samples.
    """

    at: float
    position: int
    pcm: LinePcm


@dataclass(frozen=True, slots=True)
class _Limits:
    """The options in samples."""

    frame: int
    lead: int
    low: int
    mark_every: int
    queue: int

    @classmethod
    def of(cls, options: PlayoutOptions, rate: int) -> _Limits:
        frame = round(options.frame * rate)
        lead = whole_samples(options.lead, rate) // frame * frame
        # Where nothing could be sent at the low mark, its deadline would come again and again.
        low = min(whole_samples(options.top_up, rate), lead - frame)
        mark_every = whole_samples(options.mark_every, rate) // frame * frame
        return cls(frame, lead, low, mark_every, whole_samples(options.limit, rate))


@dataclass(slots=True)
class _Tape:
    """Samples from position `start` on; bytearray deletes at its front without moving the rest."""

    kind: type[LinePcm]
    start: int = 0
    samples: bytearray = field(default_factory=bytearray)

    @property
    def end(self) -> int:
        return self.start + len(self.samples) // SAMPLE_BYTES

    def between(self, first: int, last: int) -> LinePcm:
        begin = (first - self.start) * SAMPLE_BYTES
        return self.kind(self.samples[begin : begin + (last - first) * SAMPLE_BYTES])

    def forget_before(self, position: int) -> None:
        del self.samples[: (position - self.start) * SAMPLE_BYTES]
        self.start = position

    def cut_after(self, position: int) -> None:
        del self.samples[(position - self.start) * SAMPLE_BYTES :]


class Playout:
    """Sends the agent's audio to a line in time, and knows what of it was heard.

    Drive it like this: after every `attach`, `feed`, `end_utterance` and `mark_played`, and at
    `deadline()`, send `due(now)`. Times (`now`) are seconds, monotonic; positions are samples at
    the line's rate.

    Args:
        options: how far ahead.
        kind: the line's sound.
    """

    def __init__(self, options: PlayoutOptions, kind: type[LinePcm] = Pcm8k) -> None:
        self._limits = _Limits.of(options, kind.rate)
        self._rate = kind.rate
        self._patience = options.lead + options.patience
        self._tape = _Tape(kind)
        self._attached: float | None = None
        self._heard = 0
        self._sent = 0
        self._runs: deque[Run] = deque()  # what is not yet taken, and the current one
        self._recorded_until = -math.inf
        self._marks = Marks()
        self._ends: deque[int] = deque()  # ends of utterances that are still to be marked
        self._ended = 0  # the last one that was reached
        self._paused = False
        self.underruns = 0
        """How often the provider ran dry inside an utterance (by our clock)."""

    # ---- what is said ----------------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Position up to which audio was sent; always a whole number of frames."""
        return self._sent

    @property
    def queued(self) -> int:
        """Position at which the next `feed` begins."""
        return self._tape.end

    def feed(self, pcm: LinePcm) -> int:
        """Queue audio.

        Returns:
            Samples that were dropped (the newest), because the queue holds at most `limit` seconds.

        Raises:
            OwnFault: half a sample at the end.
        """
        if len(pcm) % SAMPLE_BYTES:
            raise OwnFault(f"{len(pcm)} bytes are not whole samples")
        tape, most = self._tape, self._limits.queue
        room = max(0, most - (tape.end - self._sent))
        dropped = max(0, len(pcm) // SAMPLE_BYTES - room)
        tape.samples += pcm[: room * SAMPLE_BYTES] if dropped else pcm
        if self._heard - tape.start > most:
            # Nobody takes what was heard: it is bounded all the same, the oldest goes.
            tape.forget_before(self._heard - most)
        return dropped

    def end_utterance(self) -> int:
        """Pad the last frame with silence and have a mark sent right after it.

        Returns:
            The position of the utterance's end.
        """
        self._tape.samples += bytes(-self.queued % self._limits.frame * SAMPLE_BYTES)
        end = self.queued
        if end > max(self._marks.position, *self._ends, 0):
            self._ends.append(end)
        elif not self._ends:
            self._ended = end
        return end

    def drop(self, position: int) -> None:
        """Cut the queue so that it ends at `position`; what was sent stays (`rewind` first).

        What is fed next is another utterance: what was left of this one is padded and marked like
        any other.
        """
        position = max(position, self._sent)
        while self._ends and self._ends[-1] > position:
            self._ends.pop()
        if position < self.queued:
            self._tape.cut_after(position)
            if position > self._sent:
                self.end_utterance()
        if position == self._sent:
            self._ended = position

    # ---- the line --------------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A line is there. A second leg begins with what the first did not play."""
        if self._attached is not None:
            self.detach(now)
        self._attached = now
        self._marks.delay = None

    def detach(self, now: float) -> None:
        """The line is gone; what it held for us and the ear did not hear returns to the queue."""
        self._cut(self.heard(now))
        self._attached = None

    def due(self, now: float) -> list[Play | Mark]:
        """What to send now, in this order; each mark confirms the audio before it."""
        commands: list[Play | Mark] = []
        if self._attached is None or self._paused:
            return commands
        if self._end_is_sent():
            commands.append(self._mark(now))
        limits, playing = self._limits, self._playing(now)
        if self._sent - playing > limits.low:
            return commands
        end = min(self._tape.end, playing + limits.lead)
        end -= end % limits.frame
        if end > self._sent and (playing == self._sent or self._runs[-1].cut):
            self._start_run(now)
        while self._sent < end:
            marked = self._next_mark()
            stop = min(end, marked)
            commands.append(Play(self._tape.between(self._sent, stop)))
            self._sent = stop
            if stop == marked:
                commands.append(self._mark(now))
        return commands

    def deadline(self) -> float | None:
        """When `due` gives something next or a mark becomes overdue; in the past: at once."""
        if self._attached is None or self._paused:
            return None
        if self._end_is_sent():
            return self._attached
        overdue = self._overdue_at()
        if self.queued - self._sent < self._limits.frame:
            return overdue
        if self._sent - self._heard <= self._limits.low:
            return self._attached
        topping_up = self._runs[-1].played_at(self._sent - self._limits.low)
        return topping_up if overdue is None else min(topping_up, overdue)

    def rewind(self, now: float) -> bool:
        """Put what was sent and not heard back at the head of the queue, and void its marks.

        What the provider plays until our `Clear` arrives will be heard: it stays sent, up to the
        end of the frame, because providers play whole packets.

        Returns:
            Whether the line holds unheard audio, and so must be told to `Clear` it.
        """
        playing = self._playing(now)
        unheard = playing < self._sent and not self._runs[-1].cut
        self._cut(playing)
        return unheard

    def pause(self, now: float) -> bool:
        """Stop speaking for now; what comes meanwhile queues up.

        Returns:
            As `rewind`.
        """
        self._paused = True
        return self.rewind(now)

    def release(self, again: LinePcm) -> None:
        """Speak on after a `pause`, with what is to be heard `again` first: whole frames."""
        self._paused = False
        head = (self._sent - self._tape.start) * SAMPLE_BYTES
        self._tape.samples[head:head] = again
        self._ends = deque(end + again.samples for end in self._ends)

    def _cut(self, position: int) -> None:
        """Take back what was sent behind the frame that `position` lies in."""
        frames = math.ceil(position / self._limits.frame)
        self._sent = min(self._sent, frames * self._limits.frame)
        self._ends.extendleft(reversed(self._marks.void(self._sent)))
        if self._runs:
            self._runs[-1].cut = True

    def _start_run(self, now: float) -> None:
        start = now
        if self._runs:
            last = self._runs[-1]
            dry = last.played_at(self._sent)
            start = max(now, dry)
            if (
                whole_samples(now - dry, self._rate) > 0
                and not last.cut
                and self._sent != self._ended
            ):
                self.underruns += 1
        self._runs.append(Run(start, self._sent, self._marks.delay, self._rate))
        self._run_at(self._tape.start)

    def _run_at(self, position: int) -> Run:
        """The run in which `position` is heard; the ones before it are forgotten."""
        while len(self._runs) > 1 and self._runs[1].position <= position:
            self._runs.popleft()
        return self._runs[0]

    # ---- marks -----------------------------------------------------------------------------------

    def mark_played(self, name: str, now: float) -> None:
        """A mark came back. Names that are unknown, or void since a `rewind`, mean nothing."""
        position = self._marks.returned(name, now)
        if position is not None:
            self._heard = max(self._heard, position)

    def overdue(self, now: float) -> bool:
        """Whether a mark is out for so long that the line must be lost."""
        at = self._overdue_at()
        return at is not None and now >= at

    def _overdue_at(self) -> float | None:
        expected = self._marks.expected()
        return None if expected is None else expected + self._patience

    def _end_is_sent(self) -> bool:
        """Whether an utterance ended after all of it had been sent: its mark is due by itself."""
        return bool(self._ends) and self._ends[0] == self._sent

    def _next_mark(self) -> int:
        regular = self._marks.position + self._limits.mark_every
        return min(regular, self._ends[0]) if self._ends else regular

    def _mark(self, now: float) -> Mark:
        """Ask for a mark at `sent`."""
        final = self._end_is_sent()
        if final:
            self._ended = self._ends.popleft()
        return self._marks.ask(self._sent, self._runs[-1], now, final=final)

    # ---- the ear ---------------------------------------------------------------------------------

    def heard(self, now: float) -> int:
        """Position up to which the caller has heard the agent by `now`; never goes back.

        Nothing is claimed that lies more than the lead behind a mark that did not come back: the
        line may be dead.
        """
        if self._heard < self._sent:
            run = self._runs[-1]
            position = run.heard(now)
            if position < run.position and len(self._runs) > 1:
                # The run before it is still on its way to the ear.
                position = min(run.position, self._runs[-2].heard(now))
            proven = self._marks.oldest
            if proven is not None:
                position = min(position, proven + self._limits.lead)
            self._heard = max(self._heard, min(self._sent, position))
        return self._heard

    def _playing(self, now: float) -> int:
        """Position at which the provider will be when a message sent now arrives."""
        heard = self.heard(now)
        if heard == self._sent:
            return heard
        return max(heard, min(self._sent, self._runs[-1].playing(now)))

    def unplayed(self, now: float) -> float:
        """Seconds of audio that the caller has yet to hear: queued, or sent and unheard."""
        return (self.queued - self.heard(now)) / self._rate

    def settled(self, now: float) -> bool:
        """Whether all that was queued was heard, and the provider's marks have said so."""
        return self._marks.oldest is None and self.heard(now) == self.queued

    def take_heard(self, now: float) -> list[Heard]:
        """What was heard since the last time, each stretch with its time; it is forgotten here.

        Stretches of one run join without a gap or an overlap, and no run begins before the one
        before it ended.
        """
        heard = self.heard(now)
        stretches: list[Heard] = []
        while (first := self._tape.start) < heard:
            run = self._run_at(first)
            last = min(heard, self._runs[1].position) if len(self._runs) > 1 else heard
            if run.recorded is None:
                begin = max(run.heard_at(first), self._recorded_until)
                run.recorded = begin - (first - run.position) / self._rate
            at = run.recorded + (first - run.position) / self._rate
            pcm = self._tape.between(first, last)
            stretches.append(Heard(at, first, pcm))
            self._recorded_until = at + pcm.seconds
            self._tape.forget_before(last)
        return stretches
