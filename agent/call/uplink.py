"""The caller's audio on its way to the model: upsampled, kept while nobody listens, paced.

In steady state each 20 ms frame leaves at once. Where a backlog has formed (the session was not ready, or was slow) it goes in
order, merged into larger messages and at a bounded multiple of real time, with live audio queueing behind it. Words and tool
results overtake audio. Whatever a full buffer drops is counted in seconds, oldest first, and nothing is dropped silently.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agent.audio.level import SpeechMeter
from agent.audio.resample import Upsample8to16
from agent.events import Pcm8k, Pcm16k, SendAudio

if TYPE_CHECKING:
    from agent.call.options import UplinkOptions
    from agent.events import ModelCommand

RATE = Pcm16k.rate
HEADROOM = 0.9
"""Share of the permitted speed that the refill uses; the rest is the burst that the bucket may hold."""


class Uplink:
    """Paces what one call sends to its model.

    Args:
        options: sizes and limits.
        now: seconds, monotonic.
    """

    def __init__(self, options: UplinkOptions, now: float) -> None:
        self._options = options
        self._resample = Upsample8to16()
        self._meter = SpeechMeter()
        self._urgent: deque[ModelCommand] = deque()
        self._audio: deque[bytes] = deque()
        self._waiting = 0  # samples in _audio
        self._ready = False
        self._sent_at: deque[float] = deque(maxlen=options.messages)
        self._credit = options.merged  # seconds of audio that may go now
        self._credited_at = now
        self._unsent_speech = 0  # samples that must leave before all of the caller's speech has
        self.dropped = 0.0  # seconds

    @property
    def waiting(self) -> float:
        """Seconds of audio that have not been sent."""
        return self._waiting / RATE

    @property
    def speech_sent(self) -> bool:
        """Whether everything the caller said is on its way to the model."""
        return self._unsent_speech <= 0

    def open(self) -> None:
        """The session hears us from now on."""
        self._ready = True

    def close(self) -> None:
        """Nobody listens any more; what waits is lost and counted."""
        self._ready = False
        self._urgent.clear()
        while self._audio:
            self._drop(self._audio.popleft())

    def feed(self, pcm: Pcm8k, now: float) -> bool:
        """Take the caller's next frame; answers whether there is a voice in it."""
        chunk = self._resample.feed(pcm)
        self._audio.append(chunk)
        self._waiting += chunk.samples
        voiced = self._meter.feed(pcm, now)
        if voiced:
            self._unsent_speech = self._waiting
        limit = self._options.backlog if self._ready else self._options.before_ready
        while self._waiting > limit * RATE:
            self._drop(self._audio.popleft())
        return voiced

    def say(self, command: ModelCommand) -> None:
        """Send a command that is not audio before any audio that waits; kept until the session is ready."""
        self._urgent.append(command)

    def due(self, now: float) -> list[ModelCommand]:
        """What to send now, at most `messages` commands in any second."""
        if not self._ready or not (self._urgent or self._waiting):
            return []
        out: list[ModelCommand] = []
        self._refill(now)
        while self._room(now):
            if self._urgent:
                out.append(self._urgent.popleft())
            elif self._may_send():
                out.append(SendAudio(self._take()))
            else:
                break
            self._sent_at.append(now)
        return out

    def deadline(self) -> float | None:
        """When `due` has something again, None where only new input can change that."""
        if not self._ready or not (self._urgent or self._waiting >= self._message):
            return None
        room = 0.0
        if len(self._sent_at) == self._options.messages:
            room = self._sent_at[0] + 1.0
        if self._urgent:
            return room
        missing = self._next / RATE - self._credit
        return max(room, self._credited_at + missing / self._refill_rate)

    @property
    def _message(self) -> int:
        return round(self._options.message * RATE)

    @property
    def _next(self) -> int:
        """Samples of the next message: one frame in steady state, as much as may be merged in a backlog."""
        return min(self._waiting, round(self._options.merged * RATE))

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

    def _take(self) -> Pcm16k:
        wanted = self._next * 2
        if len(self._audio[0]) == wanted:
            message = Pcm16k(self._audio.popleft())
        else:
            joined = b"".join(self._audio)
            self._audio = deque([joined[wanted:]] if len(joined) > wanted else [])
            message = Pcm16k(joined[:wanted])
        self._left(message.samples)
        self._credit -= message.seconds
        return message

    def _drop(self, chunk: bytes) -> None:
        self._left(len(chunk) // 2)
        self.dropped += len(chunk) / 2 / RATE

    def _left(self, samples: int) -> None:
        self._waiting -= samples
        self._unsent_speech -= samples
