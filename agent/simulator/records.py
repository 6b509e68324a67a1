"""What the stand-in for Gemini Live noted about its sessions: the answer to `GET /stats`."""

from __future__ import annotations

from collections import deque

import msgspec

MOST_EVENTS = 1000  # of one kind and session; later ones are not kept
MOST_SESSIONS = 1000  # the oldest go
MOST_VIOLATIONS = 1000  # later ones are only counted
MOST_TRACED = 200_000  # chunks of audio, of one way and session: an hour; later ones are not kept


class Violation(msgspec.Struct, frozen=True):
    """A rule that a client broke.

    Attributes:
        rule: Its name.
        doc: The public document that it is from.
        detail: What was wrong.
        session: Number of the session.
    """

    rule: str
    doc: str
    detail: str
    session: int


class Moment(msgspec.Struct, frozen=True):
    """Something that happened in a session.

    Attributes:
        t: Monotonic seconds (the system's CLOCK_MONOTONIC: comparable between processes here).
        what: `onset` (arrival of the chunk in which speech began), `speech_start`, `speech_end`,
            `reply`, `first_audio`, `interrupted`, `turn_complete`, `tool_call`, `tool_result`.
        detail: Its text, id or size, where it has one.
    """

    t: float
    what: str
    detail: str = ""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """One message's audio: when it came or went (seconds, as `Moment.t`), and how many samples."""

    t: float
    samples: int


class SessionRecord(msgspec.Struct):
    """One session, as the stand-in saw it.

    Attributes:
        peak_messages_per_second: Most client messages in any sliding second.
        audio_in_ms: Caller's audio received.
        longest_chunk_ms: Longest audio in one message.
        audio_out_ms: Model's audio sent.
        frames_after_close: Client messages that came after the close frame was sent.
        audio_in, audio_out: Every chunk of audio, where the stand-in was told to trace them.
        close_code: How it ended; None while it lives. 1005: the client's close had no code.
    """

    session: int
    model: str = ""
    ready_t: float | None = None
    messages: int = 0
    peak_messages_per_second: int = 0
    audio_in_ms: float = 0.0
    longest_chunk_ms: float = 0.0
    audio_out_ms: float = 0.0
    replies: int = 0
    interruptions: int = 0
    frames_after_close: int = 0
    heard: list[str] = []
    moments: list[Moment] = []
    audio_in: list[Chunk] = []
    audio_out: list[Chunk] = []
    close_code: int | None = None
    close_reason: str = ""

    def note(self, now: float, what: str, detail: str = "") -> None:
        """Keep a moment."""
        if len(self.moments) < MOST_EVENTS:
            self.moments.append(Moment(now, what, detail))

    def hear(self, text: str) -> None:
        """Keep the transcription of an utterance."""
        if len(self.heard) < MOST_EVENTS:
            self.heard.append(text)


def trace(chunks: list[Chunk], now: float, samples: int) -> None:
    """Keep a chunk's time and length."""
    if len(chunks) < MOST_TRACED:
        chunks.append(Chunk(now, samples))


class Stats(msgspec.Struct):
    """Everything since the stand-in started."""

    opened: int
    live: int
    ready: int
    violation_count: int
    frames_after_close: int
    violations: list[Violation]
    sessions: list[SessionRecord]


class Ledger:
    """Collects the records of all sessions."""

    def __init__(self) -> None:
        self._sessions: deque[SessionRecord] = deque(maxlen=MOST_SESSIONS)
        self._violations: list[Violation] = []
        self._violation_count = 0
        self._opened = 0

    def open(self) -> SessionRecord:
        """Start the record of a new session."""
        self._opened += 1
        record = SessionRecord(self._opened, heard=[], moments=[])
        self._sessions.append(record)
        return record

    def violated(self, violation: Violation) -> None:
        """Keep a violation."""
        self._violation_count += 1
        if len(self._violations) < MOST_VIOLATIONS:
            self._violations.append(violation)

    def stats(self) -> Stats:
        """Return everything noted so far."""
        sessions = list(self._sessions)
        return Stats(
            opened=self._opened,
            live=sum(session.close_code is None for session in sessions),
            ready=sum(session.ready_t is not None for session in sessions),
            violation_count=self._violation_count,
            frames_after_close=sum(session.frames_after_close for session in sessions),
            violations=list(self._violations),
            sessions=sessions,
        )


class Rate:
    """Counts messages in a sliding second."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self.peak = 0

    def count(self, now: float) -> int:
        """Count a message and return the peak so far."""
        times = self._times
        times.append(now)
        while times[0] <= now - 1.0:
            times.popleft()
        self.peak = max(self.peak, len(times))
        return self.peak
