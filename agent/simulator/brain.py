"""What stands behind the stand-in's wire: a brain hears PCM and answers with speech and tool calls.

The wire (`gemini_session.py`) finds out when the caller speaks, paces the reply and deals with
interruptions; a brain only decides what is said. `script.py` has one that follows a script.
"""

from __future__ import annotations

import audioop
from typing import Any, NamedTuple, Protocol

import numpy as np

from agent.simulator.ears import WINDOW_SECONDS, Utterance

SPEECH_RATE_HZ = 24_000
"""Rate of everything a brain says (Google: Live API capabilities, "output always 24kHz")."""

ECHO_AHEAD_SECONDS = 0.03
"""Of an echo that is not heard yet when the next comes: more than one message, and it is behind."""


class Say(NamedTuple):
    """Speak: mono PCM16 at 24 kHz, and its words."""

    pcm: bytes
    text: str

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / SPEECH_RATE_HZ


class Call(NamedTuple):
    """Call a tool that the client declared."""

    name: str
    args: dict[str, Any]


Reply = tuple[Say | Call, ...]
"""What is said and called, in order; empty: the brain has nothing to say."""


class Heard(NamedTuple):
    """What the brain made of an utterance: its transcription, and the answer to it."""

    text: str
    reply: Reply


class Brain(Protocol):
    """One conversation's mind.

    A handle keeps a `copy.copy` of it, from which a resumed session goes on: whatever changes in
    the conversation is in plain attributes that are replaced, not in containers that are filled.
    """

    def prompted(self, text: str) -> Reply:
        """Answer a written message of the client."""
        ...

    def heard(self, utterance: Utterance) -> Heard:
        """Answer what the caller said."""
        ...

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        """Go on after a tool's result."""
        ...


def described(utterance: Utterance) -> str:
    """Return the transcription of speech that nobody recognised: `[speech 2.4 s]`."""
    return f"[speech {utterance.seconds:.1f} s]"


class BenchBrain:
    """Answers every utterance with the same length of speech-like sound, for measurements."""

    def __init__(self, reply_seconds: float, greeting_seconds: float | None = None) -> None:
        self._reply = self._say(reply_seconds)
        self._greeting = self._say(reply_seconds if greeting_seconds is None else greeting_seconds)

    def prompted(self, text: str) -> Reply:
        """Greet, whatever was asked."""
        del text
        return (self._greeting,)

    def heard(self, utterance: Utterance) -> Heard:
        """Answer at length."""
        return Heard(described(utterance), (self._reply,))

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        """Say nothing: it calls no tools."""
        del tool, response
        return ()

    @staticmethod
    def _say(seconds: float) -> Say:
        words = " ".join(["word"] * max(1, round(seconds * 2.5)))
        return Say(speechlike(seconds), words)


class EchoBrain:
    """Says every chunk of audio back at once, and nothing else: what is left is the way there and back.

    A line through the echo never falls silent, so a turn of it never ends, and no greeting comes. What would be heard late it lets
    go, as whoever talks live does: else a moment's stall would stay for the whole call.
    """

    def __init__(self) -> None:
        self._state: tuple[int, tuple[tuple[int, int], ...]] | None = None
        self._until = 0.0  # when all that it said has been heard

    def echo(self, pcm: bytes, rate_hz: int, now: float) -> bytes:
        """The same sound at the rate of what a brain says, and as long: a sample less, and who paces whole frames would wait."""
        if self._until - now > ECHO_AHEAD_SECONDS:
            return b""
        self._until = max(self._until, now) + len(pcm) / 2 / rate_hz
        before = b"" if self._state else bytes(2)  # interpolation begins at the second sample
        pcm, self._state = audioop.ratecv(pcm, 2, 1, rate_hz, SPEECH_RATE_HZ, self._state)
        return before + pcm

    def prompted(self, text: str) -> Reply:
        """Say nothing."""
        del text
        return ()

    def heard(self, utterance: Utterance) -> Heard:
        """Say no more: it was echoed."""
        return Heard(described(utterance), ())

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        """Say nothing: it calls no tools."""
        del tool, response
        return ()


def speechlike(seconds: float, rate_hz: int = SPEECH_RATE_HZ) -> bytes:
    """Return PCM16 mono that a voice detector takes for speech, at full level from its first sample.

    A voice-like tone complex at 120 Hz whose level swings by 12 dB four times a second (about a
    syllable each), around -20 dBFS: never quiet for as long as a detector's window.
    """
    count = int(seconds * rate_hz)
    time = np.arange(count) / rate_hz
    tone = np.zeros(count)
    for harmonic in range(1, 26):
        tone += np.cos(2 * np.pi * 120 * harmonic * time + harmonic**2) / harmonic
    syllables = 0.625 + 0.375 * np.cos(2 * np.pi * 4 * time)
    loudness = 0.1 / max(1e-9, float(np.sqrt(np.mean((tone * syllables) ** 2)))) if count else 0.0
    # a first sample that counts: latency is measured from the onset
    fade_in = np.minimum(1.0, 0.2 + time / WINDOW_SECONDS)
    return np.asarray(tone * syllables * fade_in * loudness * 32767, "<i2").tobytes()
