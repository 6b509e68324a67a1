"""The phone's ear: Twilio's playout buffer, and what the caller hears of it at which time.

Pure: `now` (seconds, monotonic) is an argument. Audio plays in real time from the moment it comes;
what is sent faster than real time queues (Twilio: Media Streams, WebSocket messages, "buffered and
played in the order received"). Positions count samples of 8 kHz since `origin`, the first `start`.

    received   |--- message 1 ---|--- message 2 ---|            |-- message 3 --|
    heard   ...|<-------- contiguous ------------->|<-- hole -->|<------------->|
"""

from __future__ import annotations

import audioop
from collections import deque

from agent.simulator.media_stream import FRAME_SAMPLES, BrokenRule
from agent.simulator.report import (
    AgentSpeaks,
    AgentStops,
    ClearReceived,
    HeardUtterance,
    MarkEchoed,
    MediaReceived,
    Underrun,
)

RATE_HZ = 8000
AUDIBLE_RMS = 200
"""16-bit root mean square above which a block counts as speech (-44 dBFS)."""
BUFFER_MAX_SAMPLES = 600 * RATE_HZ
"""Twilio discards audio beyond ten minutes unplayed (error 31931)."""
HOLE_MIN_SAMPLES = 8
"""1 ms: a shorter gap is the jitter of our own socket."""
HOLE_MAX_SAMPLES = 400 * RATE_HZ // 1000
"""After 400 ms of nothing, what comes is another utterance, not a hole in this one."""
STALE_S = 0.3
"""Audio that comes within this time of a `clear` (or of other such audio) was on its way before."""


class Sounds:
    """Sound on the caller's timeline: placed pieces of mu-law, silence in between."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, bytes]] = []

    def place(self, position: int, mulaw: bytes) -> None:
        """Add `mulaw` at `position`, behind all that was placed before."""
        self._pieces.append((position, mulaw))

    def cut(self, position: int) -> None:
        """Forget everything from `position` on."""
        pieces = self._pieces
        while pieces and pieces[-1][0] >= position:
            pieces.pop()
        if pieces:
            start, mulaw = pieces[-1]
            pieces[-1] = (start, mulaw[: position - start])

    def mulaw(self) -> bytes:
        """The whole timeline from position 0, mu-law silence (0xff) where nothing was placed."""
        if not self._pieces:
            return b""
        last, mulaw = self._pieces[-1]
        whole = bytearray(b"\xff" * (last + len(mulaw)))
        for start, piece in self._pieces:
            whole[start : start + len(piece)] = piece
        return bytes(whole)


class Attention:
    """Hears the blocks that were played, and joins the audible ones to utterances.

    Attributes:
        heard: the agent's utterances, as the caller heard them.
        last_voice_end: position after the last audible sample heard so far; 0 before any.
    """

    def __init__(self, quiet: int) -> None:
        """Two utterances are `quiet` samples of silence apart."""
        self._quiet = quiet
        self._blocks: deque[tuple[int, int, bool]] = deque()
        self._talking: HeardUtterance | None = None
        self._announced: HeardUtterance | None = None
        self._unvoiced = 0  # samples heard since the last audible one
        self.heard: list[HeardUtterance] = []
        self.last_voice_end = 0

    @property
    def voice_began(self) -> int | None:
        """Position where the utterance being heard began; None while the agent is quiet."""
        return None if self._talking is None else round(self._talking.start_s * RATE_HZ)

    def expect(self, start: int, block: bytes) -> bool:
        """A block will be played from position `start`; returns whether it is audible."""
        voiced = audioop.rms(audioop.ulaw2lin(block, 2), 2) >= AUDIBLE_RMS
        self._blocks.append((start, len(block), voiced))
        return voiced

    def listen(self, position: int, now: float) -> list[AgentSpeaks | AgentStops]:
        """Hear what was played before `position`: whole blocks."""
        blocks = self._blocks
        while blocks and blocks[0][0] + blocks[0][1] <= position:
            start, length, voiced = blocks.popleft()
            self._hear(start, length, voiced=voiced)
        if self._talking is not None and position - self.last_voice_end >= self._quiet:
            self._talking = None
        if self._talking is self._announced:
            return []
        return self._announce(now)

    def cut(self, position: int) -> None:
        """Nothing from `position` on will be played."""
        while self._blocks:
            start, length, voiced = self._blocks.popleft()
            if start < position:
                self._hear(start, min(length, position - start), voiced=voiced)

    def hush(self, now: float) -> list[AgentSpeaks | AgentStops]:
        """The line is dead: what was being heard has ended."""
        self._talking = None
        return self._announce(now)

    def _hear(self, start: int, length: int, *, voiced: bool) -> None:
        if not voiced:
            self._unvoiced += length
            return
        talking = self._talking
        if talking is None or start - self.last_voice_end >= self._quiet:
            talking = self._talking = HeardUtterance(start / RATE_HZ, 0.0, 0.0)
            self.heard.append(talking)
            self._unvoiced = 0
        talking.heard_ms += (self._unvoiced + length) * 1000 / RATE_HZ
        self._unvoiced = 0
        self.last_voice_end = start + length
        talking.end_s = self.last_voice_end / RATE_HZ

    def _announce(self, now: float) -> list[AgentSpeaks | AgentStops]:
        events: list[AgentSpeaks | AgentStops] = []
        if (gone := self._announced) is not None:
            events.append(AgentStops(now_s=now, at_s=gone.end_s, heard_ms=gone.heard_ms))
        if self._talking is not None:
            events.append(AgentSpeaks(now_s=now, at_s=self._talking.start_s))
        self._announced = self._talking
        return events


class Earpiece:
    """Plays one call's audio and sends its marks back.

    Attributes:
        attention: what the caller hears of it.
        sounds: what was heard, sample by sample; None to keep no audio.
        media, marks, clears, underruns: the raw timeline, for reports.
        buffered_peak: the most samples that were ever queued unplayed.
    """

    def __init__(
        self, origin: float, *, quiet_s: float = 0.6, sounds: Sounds | None = None
    ) -> None:
        self._origin = origin
        self._end = 0  # position after the last queued sample
        self._bursting = False  # whether what comes next continues what came before
        self._pending: deque[tuple[int, str, float]] = deque()
        self._stale_until = 0.0
        self.attention = Attention(round(quiet_s * RATE_HZ))
        self.sounds = sounds
        self.media: list[MediaReceived] = []
        self.marks: list[MarkEchoed] = []
        self.clears: list[ClearReceived] = []
        self.underruns: list[Underrun] = []
        self.buffered_peak = 0

    def position(self, now: float) -> int:
        """The sample that passes the ear at `now`."""
        return max(0, int((now - self._origin) * RATE_HZ))

    def seconds(self, now: float) -> float:
        """`now` on the caller's timeline."""
        return now - self._origin

    def receive(self, payload: bytes, now: float) -> None:
        """Queue one media message.

        Raises:
            BrokenRule: more than ten minutes are buffered.
        """
        position = self.position(now)
        buffered = max(0, self._end - position)
        if buffered + len(payload) > BUFFER_MAX_SAMPLES:
            raise BrokenRule("buffer-overflow", "more than 10 minutes of audio are unplayed")
        gap = position - self._end
        if gap > 0:
            if self._bursting and HOLE_MIN_SAMPLES <= gap < HOLE_MAX_SAMPLES:
                self.underruns.append(Underrun(self._end / RATE_HZ, gap * 1000 / RATE_HZ))
            self._end = position
        self._bursting = True
        self.media.append(MediaReceived(self.seconds(now), len(payload), buffered * 1000 / RATE_HZ))
        if self.sounds is not None:
            self.sounds.place(self._end, payload)
        self._queue(payload, now)
        self.buffered_peak = max(self.buffered_peak, self._end - position)

    def _queue(self, payload: bytes, now: float) -> None:
        audible = 0
        for offset in range(0, len(payload), FRAME_SAMPLES):
            block = payload[offset : offset + FRAME_SAMPLES]
            if self.attention.expect(self._end, block):
                audible += len(block)
            self._end += len(block)
        if audible and now < self._stale_until:
            self.clears[-1].stale_ms += audible * 1000 / RATE_HZ
            self._stale_until = now + STALE_S

    def mark(self, name: str, now: float) -> None:
        """Take a mark: `due` sends it back when all audio queued before it was played."""
        self._pending.append((self._end, name, self.seconds(now)))

    def due(self, now: float) -> list[str]:
        """Names of the marks whose audio has been played by `now`; at once if none is queued."""
        if not self._pending:
            return []
        position = self.position(now)
        names = []
        while self._pending and self._pending[0][0] <= position:
            names.append(self._echo(now, cleared=False))
        return names

    def _echo(self, now: float, *, cleared: bool) -> str:
        _, name, received_s = self._pending.popleft()
        self.marks.append(MarkEchoed(name, received_s, self.seconds(now), cleared))
        return name

    def clear(self, now: float) -> ClearReceived:
        """Drop what is unplayed and send back every pending mark at once, as Twilio documents."""
        names = self.due(now)
        dropped = max(0, self._end - self.position(now))
        self._cut(now)
        while self._pending:
            names.append(self._echo(now, cleared=True))
        cleared = ClearReceived(self.seconds(now), dropped * 1000 / RATE_HZ, names)
        self.clears.append(cleared)
        self._stale_until = now + STALE_S
        return cleared

    def unplayed_ms(self, now: float) -> float:
        """How much is queued that was not heard yet."""
        return max(0, self._end - self.position(now)) * 1000 / RATE_HZ

    def stream_gone(self, now: float) -> list[AgentSpeaks | AgentStops]:
        """The stream ended: what is unplayed is never heard, pending marks never come back."""
        self._cut(now)
        self._pending.clear()
        return self.attention.hush(now)

    def _cut(self, now: float) -> None:
        """Stop playing at `now`: the sample on its way is the last one heard."""
        position = self.position(now)
        if self._end > position:
            self._end = position
            if self.sounds is not None:
                self.sounds.cut(position)
        self.attention.cut(position)
        self._bursting = False
