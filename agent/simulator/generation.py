"""One reply of the model: cut into irregular parts, sent faster than real time, then assumed played.

Pure: time is an argument, dice are passed in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from agent.simulator.brain import SPEECH_RATE_HZ, Call, Reply, Say

if TYPE_CHECKING:
    from random import Random

    from agent.simulator.account import Spoken

# Part sizes in bytes as observed: 40 microseconds to 320 ms, never a multiple of anything but 2
# (https://github.com/livekit/agents/issues/5742)
PART_BYTES = (2, 2400, 4800, 7680, 9600, 11520, 15360)
SMALL_PART_CHANCE = 0.06
TEXT_LATENESS_SECONDS = 0.15
WORDS_PER_FRAGMENT = (1, 4)


class Part(NamedTuple):
    """Audio to send: mono PCM16 at 24 kHz."""

    pcm: bytes


class Words(NamedTuple):
    """A fragment of the transcription of what the model says."""

    text: str
    last: bool


class Finished(NamedTuple):
    """Everything was generated."""


Piece = Part | Words | Call | Finished


def fragments(text: str, dice: Random) -> list[str]:
    """Cut a text into fragments of a few words that join to the same text, blanks included."""
    words = text.split(" ")
    cut: list[str] = []
    while words:
        count = dice.randint(*WORDS_PER_FRAGMENT)
        taken, words = words[:count], words[count:]
        cut.append((" " if cut else "") + " ".join(taken))
    return cut


def parts(pcm: bytes, dice: Random) -> list[bytes]:
    """Cut PCM16 into parts of the sizes that the service sends; joined they are the same."""
    cut: list[bytes] = []
    at = 0
    while at < len(pcm):
        small = dice.random() < SMALL_PART_CHANCE
        size = PART_BYTES[0] if small else dice.choice(PART_BYTES[1:])
        cut.append(pcm[at : at + size])
        at += size
    return cut


def plan(reply: Reply, speed: float, dice: Random) -> list[tuple[float, Piece]]:
    """Return what to send and when: offsets in seconds from the first part.

    Audio comes `speed` times faster than it plays. A fragment of the transcription comes with the
    audio of its first word, or up to 150 ms late.
    """
    pieces: list[tuple[float, Piece]] = []
    offset = 0.0
    for step in reply:
        if isinstance(step, Call):
            offset = max([offset, *(at for at, _ in pieces)])  # behind the words before it
            pieces.append((offset, step))
            continue
        pieces += _words(step, offset, speed, dice)
        for part in parts(step.pcm, dice):
            pieces.append((offset, Part(part)))
            offset += len(part) / 2 / SPEECH_RATE_HZ / speed
    latest = max((at for at, _ in pieces), default=0.0)
    pieces.sort(key=lambda piece: piece[0])
    return [*pieces, (max(offset, latest), Finished())]


def _words(say: Say, offset: float, speed: float, dice: Random) -> list[tuple[float, Piece]]:
    cut = fragments(say.text, dice)
    before = 0
    placed: list[tuple[float, Piece]] = []
    earliest = offset
    for at, fragment in enumerate(cut):
        share = before / max(1, len(say.text))
        when = offset + say.seconds * share / speed
        lateness = dice.uniform(0, TEXT_LATENESS_SECONDS) if at else 0.0
        earliest = max(earliest, when + lateness)
        placed.append((earliest, Words(fragment, last=at == len(cut) - 1)))
        before += len(fragment)
    return placed


class Turn:
    """The model's turn: generating, perhaps held by a tool, then playing at the client.

    The service does not know what was really played. It assumes that playback starts with the
    first part and never waits (Google: Live API reference, `generationComplete`: "when model
    assumes realtime playback there will be delay between generation_complete and turn_complete").

    Attributes:
        playback_ends: When the client is assumed to have played what was sent so far.
        audio_seconds: Audio sent so far.
        started: Something of it was sent (set by whoever sends).
        held: A tool's result is awaited.
        complete: Everything was generated.
        about: The utterance that it answers.
    """

    def __init__(
        self,
        reply: Reply,
        starts: float,
        speed: float,
        dice: Random,
        about: Spoken | None = None,
    ) -> None:
        self.about = about
        self._pieces = deque(plan(reply, speed, dice))
        self._origin = starts
        self._held_since: float | None = None
        self.playback_ends = starts
        self.audio_seconds = 0.0
        self.started = False

    @property
    def held(self) -> bool:
        return self._held_since is not None

    @property
    def complete(self) -> bool:
        return not self._pieces

    @property
    def due(self) -> float:
        """When the next piece goes out, or, once complete, when playback ends."""
        if self.held:
            return float("inf")
        return self._origin + self._pieces[0][0] if self._pieces else self.playback_ends

    def take(self, now: float) -> Piece:
        """Return the piece that is due."""
        piece = self._pieces.popleft()[1]
        if isinstance(piece, Part):
            seconds = len(piece.pcm) / 2 / SPEECH_RATE_HZ
            self.audio_seconds += seconds
            self.playback_ends = max(self.playback_ends, now) + seconds
        return piece

    def hold(self, now: float) -> None:
        """Wait for a blocking tool."""
        self._held_since = now

    def release(self, now: float) -> None:
        """Go on after the tool."""
        if self._held_since is not None:
            self._origin += now - self._held_since
            self._held_since = None

    def stall(self, seconds: float) -> None:
        """Pause the stream for so long; does nothing once complete."""
        if self._pieces:
            self._origin += seconds

    def rest(self) -> bytes:
        """Return up to 100 ms of the audio that has not been sent."""
        unsent = b"".join(piece.pcm for _, piece in self._pieces if isinstance(piece, Part))
        return unsent[: 2 * SPEECH_RATE_HZ // 10]
