"""What the stand-in for Gemini Live noted about its sessions: the answer to `GET /stats`."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message's audio: when it came or went (seconds, as `Moment.t`), and how many samples."""

    t: float
    samples: int


class UtteranceCounts(msgspec.Struct):
    """What became of the caller's utterances.

    Attributes:
        heard: Found to the end, however often one came.
        heard_again, told_again: Known to the conversation, and sent again after a resumption as
            audio or as text.
        answered: The first audio of an answer was sent: once per utterance.
        begun_again: Of these, the answer had begun in an earlier session and began anew.
        missing: Forgotten by a resumption and not sent again.
        answered_twice: Answered in full and answered again.
        answers_lost: The client's own written message interrupted the answer's generation.
    """

    heard: int = 0
    heard_again: int = 0
    told_again: int = 0
    answered: int = 0
    begun_again: int = 0
    missing: int = 0
    answered_twice: int = 0
    answers_lost: int = 0


class ToolCounts(msgspec.Struct):
    """What became of the model's tool calls.

    Attributes:
        issued: Different calls, by id.
        reissued: Of these, a call that an earlier session of the conversation had made with the
            same name and arguments.
        answered_twice: Results for a call that was answered before.
        cancelled: By the model.
        unanswered: Open when the session ended.
    """

    issued: int = 0
    reissued: int = 0
    answered: int = 0
    answered_twice: int = 0
    cancelled: int = 0
    unanswered: int = 0


class SessionRecord(msgspec.Struct):
    """One session, as the stand-in saw it.

    Attributes:
        resumed_from: Number of the session whose handle it came with.
        refused: Its setup was refused.
        peak_messages_per_second: Most client messages in any sliding second.
        peak_bytes_per_second: Most bytes of client messages in any sliding second.
        early_audio_ms: Caller's audio received before `setupComplete`, which no client may send.
        faults: What the stand-in did wrong on purpose, in order.
        audio_in_ms: Caller's audio received.
        longest_chunk_ms: Longest audio in one message.
        audio_out_ms: Model's audio sent.
        frames_after_close: Client messages that came after the close frame was sent.
        audio_in, audio_out: Every chunk of audio, where the stand-in was told to trace them.
        close_code: How it ended; None while it lives. 1005: the client's close had no code.
    """

    session: int
    model: str = ""
    resumed_from: int | None = None
    refused: bool = False
    ready_t: float | None = None
    messages: int = 0
    peak_messages_per_second: int = 0
    peak_bytes_per_second: int = 0
    early_audio_ms: float = 0.0
    audio_in_ms: float = 0.0
    longest_chunk_ms: float = 0.0
    audio_out_ms: float = 0.0
    replies: int = 0
    interruptions: int = 0
    frames_after_close: int = 0
    utterances: UtteranceCounts = msgspec.field(default_factory=UtteranceCounts)
    tools: ToolCounts = msgspec.field(default_factory=ToolCounts)
    faults: list[str] = []
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

    def fault(self, name: str) -> None:
        """Keep the name of a fault that came."""
        if len(self.faults) < MOST_EVENTS:
            self.faults.append(name)

    def hear(self, text: str) -> None:
        """Keep the transcription of an utterance."""
        if len(self.heard) < MOST_EVENTS:
            self.heard.append(text)


def trace(chunks: list[Chunk], now: float, samples: int) -> None:
    """Keep a chunk's time and length."""
    if len(chunks) < MOST_TRACED:
        chunks.append(Chunk(now, samples))


class Stats(msgspec.Struct):
    """Everything since the stand-in started: sums and peaks over all sessions that are kept.

    Attributes:
        opened: Connections. resumed: with a handle that was taken. refused: at the setup.
        spoiled_handshakes: Handshakes that a fault refused or kept waiting.
        repeated_setups: Setups that had been refused before, word by word.
        violation_count: Breaches of a rule: a good client's is 0, whatever goes wrong.
    """

    opened: int
    spoiled_handshakes: int
    live: int
    ready: int
    resumed: int
    refused: int
    repeated_setups: int
    violation_count: int
    frames_after_close: int
    early_audio_ms: float
    peak_messages_per_second: int
    peak_bytes_per_second: int
    utterances: UtteranceCounts
    tools: ToolCounts
    violations: list[Violation]
    sessions: list[SessionRecord]


class Ledger:
    """Collects the records of all sessions."""

    def __init__(self) -> None:
        self._sessions: deque[SessionRecord] = deque(maxlen=MOST_SESSIONS)
        self._violations: list[Violation] = []
        self._violation_count = 0
        self._opened = 0
        self._spoiled_handshakes = 0
        self._refused_setups: set[bytes] = set()
        self._repeated_setups = 0

    def open(self) -> SessionRecord:
        """Start the record of a new session."""
        self._opened += 1
        record = SessionRecord(self._opened)
        self._sessions.append(record)
        return record

    def spoiled(self) -> None:
        """Count a handshake that a fault struck."""
        self._spoiled_handshakes += 1

    def violated(self, violation: Violation) -> None:
        """Keep a violation."""
        self._violation_count += 1
        if len(self._violations) < MOST_VIOLATIONS:
            self._violations.append(violation)

    def refused(self, setup: bytes) -> None:
        """Note that this setup was refused; the same one again is counted."""
        digest = blake2b(setup, digest_size=16).digest()
        if digest in self._refused_setups:
            self._repeated_setups += 1
        elif len(self._refused_setups) < MOST_EVENTS:
            self._refused_setups.add(digest)

    def stats(self) -> Stats:
        """Return everything noted so far."""
        sessions = list(self._sessions)
        return Stats(
            opened=self._opened,
            spoiled_handshakes=self._spoiled_handshakes,
            resumed=sum(session.resumed_from is not None for session in sessions),
            refused=sum(session.refused for session in sessions),
            repeated_setups=self._repeated_setups,
            early_audio_ms=sum(session.early_audio_ms for session in sessions),
            peak_messages_per_second=_peak(sessions, "peak_messages_per_second"),
            peak_bytes_per_second=_peak(sessions, "peak_bytes_per_second"),
            utterances=_sum(UtteranceCounts(), (session.utterances for session in sessions)),
            tools=_sum(ToolCounts(), (session.tools for session in sessions)),
            live=sum(session.close_code is None for session in sessions),
            ready=sum(session.ready_t is not None for session in sessions),
            violation_count=self._violation_count,
            frames_after_close=sum(session.frames_after_close for session in sessions),
            violations=list(self._violations),
            sessions=sessions,
        )


Counts = TypeVar("Counts", UtteranceCounts, ToolCounts)


def _sum(total: Counts, counts: Iterable[Counts]) -> Counts:
    for count in counts:
        for name in total.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(count, name))
    return total


def _peak(sessions: list[SessionRecord], name: str) -> int:
    return max((getattr(session, name) for session in sessions), default=0)


class Rate:
    """Counts messages and their bytes in a sliding second.

    Attributes:
        peak: Most messages. peak_bytes: most bytes.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self.peak = 0
        self.peak_bytes = 0

    def count(self, now: float, size: int) -> None:
        """Count a message of so many bytes."""
        last = self._last
        last.append((now, size))
        self._bytes += size
        while last[0][0] <= now - 1.0:
            self._bytes -= last.popleft()[1]
        self.peak = max(self.peak, len(last))
        self.peak_bytes = max(self.peak_bytes, self._bytes)
