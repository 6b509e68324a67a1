"""The caller's audio on its way to the model: upsampled (where the line is not a wide-band one), kept while nobody listens, paced, and kept until it is safe.

In steady state each 20 ms frame leaves at once. Where a backlog has formed (the session was not ready, or was slow) it goes in
order, merged into larger messages and at a bounded multiple of real time, with live audio queueing behind it. Words and tool
results overtake audio, at a bounded number of bytes a second: a tool may answer with anything. For audio that bound follows from the
others (`UplinkOptions`). Whatever a full buffer drops is counted in seconds, oldest first, and nothing is dropped silently.

What was sent is not safe yet: a session that goes on from a snapshot has not heard what came after it. So sound is kept until it is
answered or in a snapshot, and a new session hears the unanswered utterance from its start (`again`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.audio.level import SpeechMeter
from agent.audio.resample import FOR_MODEL
from agent.events import EndAudio, Pcm8k, Pcm16k, SendAudio, SendText, SendToolResult

if TYPE_CHECKING:
    from agent.call.options import UplinkOptions
    from agent.events import LinePcm, ModelCommand

RATE = Pcm16k.rate
HEADROOM = 0.9
"""Share of the permitted speed that the refill uses; the rest is the burst that the bucket may hold."""

LEAD_IN = 0.3
"""Seconds before the first voiced frame that belong to an utterance: a soft onset is no voice to the meter."""


TAIL = 1.0
"""Seconds of silence that end an utterance which is sent again: enough for the model to hear its end, and no wait for more."""


SHORT_TAIL = 0.2
"""The same where the model is told that it has ended."""

PAUSE = 0.4
"""Seconds without a voice that part one utterance from the next, about as long as the service itself waits."""

MOST_URGENT = 256
"""Words and results that may wait; more are dropped, newest first, and counted: a model that asks for so many is out of its mind."""

JUST_NOW = 0.2
"""Seconds in which no model hears that an utterance has ended, and answers it."""


class Sound(NamedTuple):
    """A piece of the caller's audio at the model's rate: when its last sample came, and whether a voice is in it."""

    pcm: Pcm16k
    at: float
    voiced: bool


LATE = 0.1
"""Seconds after which a piece that is only now sent was delayed: by a session that came late, or by the limits."""


class Toll(msgspec.Struct):
    """What the way to the model has cost so far.

    Attributes:
        merged: seconds of audio that left in messages of more than one frame.
        delayed: seconds of audio that left later than `LATE`, or for the second time.
        dropped: seconds of audio that a full buffer, or the end of a session, kept from the model.
        unsaid: words and results that a full queue kept from it.
    """

    merged: float = 0.0
    delayed: float = 0.0
    dropped: float = 0.0
    unsaid: int = 0


END = Sound(Pcm16k(b""), -math.inf, voiced=False)
"""Stands in the queue where the model is told that the caller has ended."""


def _size(command: ModelCommand) -> int:
    """Bytes of what a command that is not audio says."""
    if isinstance(command, SendToolResult):
        return len(msgspec.json.encode(command.response))
    return len(command.text.encode()) if isinstance(command, SendText) else 0


class Uplink:
    """Paces what one call sends to its model.

    Args:
        options: sizes and limits.
        now: the machine's time.

    Attributes:
        meter: hears whether the caller speaks.
        toll: what was merged, delayed and lost.
    """

    def __init__(self, options: UplinkOptions, now: float) -> None:
        self._options = options
        self._message = round(options.message * RATE)  # samples of one in steady state ...
        self._merged = round(options.merged * RATE)  # ... and, at most, in a backlog
        self._kind: type[LinePcm] = Pcm8k
        self._resample = FOR_MODEL[Pcm8k]()
        self.meter = SpeechMeter()
        self._urgent: deque[ModelCommand] = deque()
        self._audio: deque[Sound] = deque()
        self._waiting = 0  # samples in _audio
        self._sent: deque[Sound] = deque()  # neither answered nor in a snapshot
        self._unheard: float | None = None  # beginning of what the latest reply does not answer
        self._ready = False
        self._sent_at: deque[float] = deque(maxlen=options.messages)
        self._credit = options.merged  # seconds of audio that may go now
        self._credited_at = now
        self._words_paid = (
            now  # when the words and results sent so far are paid for, at so many bytes a second
        )
        self._unsent_speech = 0  # samples that must leave before all of the caller's speech has
        self.toll = Toll()

    @property
    def waiting(self) -> float:
        """Seconds of audio that have not been sent."""
        return self._waiting / RATE

    @property
    def speech_sent(self) -> bool:
        """Whether everything the caller said is on its way to the model."""
        return self._unsent_speech <= 0

    @property
    def unanswered(self) -> float:
        """Seconds of the caller's voice that were sent, and are neither answered nor in a snapshot."""
        return sum(sound.pcm.samples for sound in self._sent if sound.voiced) / RATE

    # ---- the session

    def open(self) -> None:
        """The session hears us from now on."""
        self._ready = True

    def pause(self) -> None:
        """The session is gone and another one will come: what waits goes on waiting."""
        self._ready = False
        self._urgent.clear()

    def close(self) -> None:
        """Nobody listens any more; what waits is lost and counted."""
        self.pause()
        self._sent.clear()
        while self._audio:
            self._drop()

    def again(self, since: float = -math.inf) -> bool:
        """Send the unanswered utterance once more, from its start, ahead of what waits; says whether there is one.

        Args:
            since: only what was said since then.
        """
        self._forget(since - LEAD_IN)
        spoken = next((n for n, sound in enumerate(self._sent) if sound.voiced), None)
        if spoken is None:
            self._sent.clear()
            return False
        begin = self._sent[spoken].at - LEAD_IN
        end = max(sound.at for sound in self._sent if sound.voiced) + TAIL
        repeated = [sound for sound in self._sent if begin <= sound.at <= end]
        self._sent.clear()
        self._audio.extendleft(reversed(repeated))
        self._waiting += sum(sound.pcm.samples for sound in repeated)
        self._unsent_speech = self._waiting
        return True

    def again_and_end(self, since: float) -> bool:
        """As `again`, without the silence behind it: the model is told instead that it has ended."""
        last = max((sound.at for sound in self._sent if sound.voiced), default=since)
        while self._sent and self._sent[-1].at > last + SHORT_TAIL:
            self._sent.pop()
        waiting = len(self._audio)
        if not self.again(since):
            return False
        self._audio.insert(len(self._audio) - waiting, END)
        return True

    def end(self) -> None:
        """The caller has ended: the model is told so as soon as it has heard all of it."""
        self._audio.append(END)

    def answering(self) -> float | None:
        """A reply begins: it does not answer what the model had not heard to its end by then, in a backlog above all.

        Returns:
            When the caller began to say that; None where the reply answers all that was said.
        """
        heard_to = self._sent[-1].at if self._sent else -math.inf
        begin = last = -math.inf
        self._unheard = None
        for sound in (*self._sent, *self._audio):
            if not sound.voiced:
                continue
            begin, last = begin if sound.at - last <= PAUSE else sound.at, sound.at
            if last > heard_to - JUST_NOW:
                self._unheard = begin
                break
        return self._unheard

    def forget(self, before: float) -> None:
        """Sound from before that moment is answered, or in a snapshot: nobody has to hear it again."""
        self._forget(before if self._unheard is None else min(before, self._unheard - LEAD_IN))

    def _forget(self, before: float) -> None:
        while self._sent and self._sent[0].at <= before:
            self._sent.popleft()

    # ---- what comes

    def line(self, kind: type[LinePcm]) -> None:
        """A line with this sound is there."""
        if kind is not self._kind:
            self._kind, self._resample = kind, FOR_MODEL[kind]()

    def feed(self, pcm: LinePcm, now: float, *, deaf: bool = False) -> bool:
        """Take the caller's next frame; answers whether there is a voice in it. `deaf`: the model hears silence instead."""
        heard = voiced = self.meter.feed(pcm, now)
        if deaf:
            pcm, voiced = self._kind(len(pcm)), False
        chunk = self._resample.feed(pcm)
        most = 2 * self._merged
        for start in range(0, len(chunk), most):
            piece = chunk if len(chunk) <= most else Pcm16k(chunk[start : start + most])
            self._audio.append(Sound(piece, now, voiced))
        self._waiting += chunk.samples
        if voiced:
            self._unsent_speech = self._waiting
        # Between two sessions what waits may be what has to be heard again: that is kept as long as it was when it was sent.
        begun = self._ready or len(self._sent_at) > 0
        limit = self._options.backlog if begun else self._options.before_ready
        while self._waiting > limit * RATE:
            self._drop()
        return heard

    def say(self, command: ModelCommand) -> None:
        """Send a command that is not audio before any audio that waits; kept until the session is ready."""
        if len(self._urgent) < MOST_URGENT:
            self._urgent.append(command)
        else:
            self.toll.unsaid += 1

    def unsay(self, ids: list[str]) -> None:
        """The model wants no answer to these calls any more: an answer that comes all the same ends the session."""
        for command in [each for each in self._urgent if isinstance(each, SendToolResult)]:
            if command.id in ids:
                self._urgent.remove(command)

    # ---- what goes

    def due(self, now: float) -> list[ModelCommand]:
        """What to send now, at most `messages` commands in any second."""
        if not self._ready or not (self._urgent or self._audio):
            return []
        out: list[ModelCommand] = []
        self._refill(now)
        while (self._audio or self._urgent) and self._room(now):
            if self._urgent and now >= self._words_at:
                out.append(self._urgent.popleft())
                self._words_paid = max(self._words_paid, now) + _size(out[-1]) / self._options.words
            elif self._ends:
                self._audio.popleft()
                out.append(EndAudio())
            elif self._may_send():
                out.append(SendAudio(self._take(now)))
            else:
                break
            self._sent_at.append(now)
        return out

    def deadline(self) -> float | None:
        """When `due` has something again, None where only new input can change that."""
        if not self._ready or not (self._audio or self._urgent):
            return None
        if not (self._urgent or self._ends or self._waiting >= self._message):
            return None
        room = 0.0
        if len(self._sent_at) == self._options.messages:
            room = self._sent_at[0] + 1.0
        times = [self._words_at] if self._urgent else []
        if self._ends:
            times.append(0.0)
        elif self._waiting >= self._message:
            missing = self._next / RATE - self._credit
            times.append(self._credited_at + missing / self._refill_rate)
        return max(room, min(times))

    @property
    def _ends(self) -> bool:
        """Whether the model is to be told next that the caller has ended."""
        return bool(self._audio) and self._audio[0] is END

    @property
    def _words_at(self) -> float:
        """When the next words or result may go: a second's bytes may be owed."""
        return self._words_paid - 1.0

    @property
    def _next(self) -> int:
        """Samples of the next message, at most: one frame in steady state, as much as may be merged in a backlog."""
        return min(self._waiting, self._merged)

    @property
    def _refill_rate(self) -> float:
        return self._options.speed * HEADROOM

    def _refill(self, now: float) -> None:
        self._credit += (now - self._credited_at) * self._refill_rate
        self._credit = min(self._credit, self._options.merged)
        self._credited_at = now

    def _room(self, now: float) -> bool:
        """Whether one more message stays within `messages` in any sliding second."""
        return len(self._sent_at) < self._options.messages or now - self._sent_at[0] >= 1.0

    def _may_send(self) -> bool:
        # The tolerance is one sample: credit is a sum of floats.
        return self._waiting >= self._message and self._credit + 1 / RATE >= self._next / RATE

    def _take(self, now: float) -> Pcm16k:
        """The next message: as many whole pieces as may be merged."""
        first = self._audio.popleft()
        pieces, samples = [first], first.pcm.samples
        while self._audio and not self._ends and samples + self._audio[0].pcm.samples <= self._next:
            pieces.append(self._audio.popleft())
            samples += pieces[-1].pcm.samples
        self._left(samples)
        self._credit -= samples / RATE
        self._sent.extend(pieces)
        self._forget(now - self._options.backlog)
        if now - first.at > LATE:
            late = sum(piece.pcm.samples for piece in pieces if now - piece.at > LATE)
            self.toll.delayed += late / RATE
        if len(pieces) == 1:
            return first.pcm
        self.toll.merged += samples / RATE
        return Pcm16k(b"".join(piece.pcm for piece in pieces))

    def _drop(self) -> None:
        samples = self._audio.popleft().pcm.samples
        self._left(samples)
        self.toll.dropped += samples / RATE

    def _left(self, samples: int) -> None:
        self._waiting -= samples
        self._unsent_speech -= samples
