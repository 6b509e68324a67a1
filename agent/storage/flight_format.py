"""What a flight record says, line by line: pure, so that its cost and its meaning can be judged without a disk.

A call's folder (mode 0700, files 0600) holds

    events.jsonl    one line per event or tick: `{"v":1,"t":...,"kind":...,<the event's fields>,"do":[commands]}`
    caller.pcm      the caller's sound at the line's rate, on the call's time line  } raw int16,
    model.pcm       the model's speech as it came, 24 kHz, end to end               } only where
    agent.pcm       the agent's sound as it was heard, at that rate, until `close`  } sound is
    call.wav        stereo, written by `close`: caller left, agent right            } recorded
    transcript.json

The line's rate is told by `line_started`; where it is not, it is 8 kHz.
Sound in an event is a reference, `[file, first sample, samples]`. Where the sound was not kept it is `[null, loudness, samples]`,
with the root mean square of the caller's sound (0 for the model's): whether there was a voice is decided by that. Sound in a
command is `[samples, crc32]`: the machine makes it again. A tick is a line of kind `tick`, and where recording had to stop
because the disk failed, the last line is of kind `gap`. These files are records, not logs: no phone number is in them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from agent.audio.level import loudness
from agent.events import KeepHeard, LinePcm, LineStarted, Mark, Pcm, Pcm8k, Pcm24k, Play, SendAudio

if TYPE_CHECKING:
    from agent.events import AnyCommand, AnyEvent

VERSION = 1
"""The `v` of every line."""
LIMIT = 768 * 1024
"""Bytes that may wait while the disk is slow. Sound beyond it is not kept (a null reference, counted in `lost_ms`); lines
are, up to half as much again, and then recording stops."""
LATER = frozenset({SendAudio, Play, Mark, KeepHeard})
"""Commands that can be written out later: nobody can change what they hold."""
STEP = 128
"""Bytes that a line's beginning and commands count for until they are written out."""
JOIN = 0.02
"""Seconds by which the times of two pieces of heard sound may disagree and still be one sound."""
BEHIND = 0.2
"""Seconds that the caller's time line may be late before a hole is suspected ..."""
PATIENCE = 0.5
"""... and for how long, before it is believed: a stall is followed by a burst that fills the hole, a real hole is not."""


def digest(pcm: Any) -> tuple[int, int]:
    """Sound in a command: how many samples, and their CRC-32."""
    if not isinstance(pcm, Pcm):
        raise TypeError(f"a flight record holds no {type(pcm).__name__}")
    return pcm.samples, zlib.crc32(pcm)


encode_commands = msgspec.json.Encoder(enc_hook=digest).encode
"""Commands as a line holds them (`do`)."""


def gap(t: float, until: float) -> bytes:
    """The last line of a record that had to stop at `t` while the call went on `until` then."""
    return b'{"v":%d,"t":%r,"kind":"gap","until":%r,"do":[]}\n' % (VERSION, t, until)


class Piece(msgspec.Struct, frozen=True):
    """Sound and the sample of its file at which it begins."""

    position: int
    pcm: bytes


class Batch(msgspec.Struct, frozen=True):
    """What is written at one go."""

    lines: list[bytes]
    sound: dict[str, list[Piece]]

    @property
    def size(self) -> int:
        """Bytes."""
        pieces = sum(len(piece.pcm) for some in self.sound.values() for piece in some)
        return sum(map(len, self.lines)) + pieces


class Track:
    """Sound of one file that waits to be written; positions are samples from the file's start."""

    __slots__ = ("_pieces", "end")

    def __init__(self) -> None:
        self.end = 0
        self._pieces: list[Piece] = []

    def put(self, position: int, pcm: Pcm) -> int:
        """Place `pcm` at `position`, or behind what is there; returns where it went. What lies between is silence."""
        position = max(position, self.end)
        self.end = position + pcm.samples
        self._pieces.append(Piece(position, pcm))
        return position

    def take(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces


class CallerTrack(Track):
    """The caller's sound by count from each leg's start: arrival times jitter, a telephone's sample clock does not."""

    __slots__ = ("_late", "_late_since", "rate")

    def __init__(self) -> None:
        super().__init__()
        self.rate = Pcm8k.rate
        self._late = 0
        self._late_since: float | None = None

    def leg(self, t: float) -> None:
        """A stream begins; what lies before it is silence."""
        self.end = max(self.end, round(t * self.rate))
        self._late_since = None

    def arrived(self, t: float, pcm: Pcm) -> int:
        """Place sound that was spoken by `t`; returns its position."""
        late = round(t * self.rate) - (self.end + len(pcm) // 2)
        if late <= BEHIND * self.rate:
            self._late_since = None
        elif self._late_since is None:
            self._late, self._late_since = late, t
        else:
            self._late = min(self._late, late)
            if t - self._late_since >= PATIENCE:
                self._late_since = None
                return self.put(self.end + self._late, pcm)
        return self.put(self.end, pcm)


class Draft:
    """What happened and is not on the disk yet.

    Args:
        sound: whether sound is kept; without it, events are.
    """

    def __init__(self, *, sound: bool) -> None:
        self.sound = sound
        self.waiting = 0
        self.lost_ms = 0.0
        self._now = 0.0
        self._steps: list[tuple[float, bytes, list[AnyCommand] | bytes]] = []
        self._guessed = 0  # bytes by which they count as waiting
        self._caller = CallerTrack()
        self._model = Track()
        self._agent = Track()
        self._encode = msgspec.json.Encoder(enc_hook=self._refer).encode

    def record(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        """One line: at `t` seconds after the call's start `event` (None: a tick) led to `commands`.

        Sound's commands, fifty lists a second, are written out when they are taken, a second's at one go: one at a time that costs
        several times as much. Others are at once, since what they hold is a tool's to change.
        """
        self._now = t
        if event is None:
            fields = b'"kind":"tick"'
        else:
            if type(event) is LineStarted:
                self._caller.rate = event.rate
                self._caller.leg(t)
            fields = self._encode(event)[1:-1]
        sound = LATER.issuperset(map(type, commands))
        self._steps.append((t, fields, commands if sound else encode_commands(commands)))
        size = len(fields) + STEP
        self._guessed += size
        self.waiting += size

    def keep_sound(self) -> None:
        """Keep sound from now on; what lies before it is silence."""
        if not self.sound:
            self.sound = True
            self._caller.leg(self._now)

    def heard(self, t: float, pcm: Pcm) -> None:
        """The caller heard `pcm` (at the line's rate) beginning at `t`."""
        if not self.sound or not self._room(pcm):
            return
        at = round(t * pcm.rate)
        end = self._agent.end
        joined = end > 0 and abs(at - end) <= JOIN * pcm.rate
        self._agent.put(end if joined else at, pcm)

    def take(self) -> Batch:
        """Everything that waits. It counts as waiting until it is reported as `written`."""
        steps, self._steps = self._steps, []
        lines = [
            b'{"v":%d,"t":%r,%b,"do":%b}\n'
            % (VERSION, t, fields, do if isinstance(do, bytes) else encode_commands(do))
            for t, fields, do in steps
        ]
        self.waiting += sum(map(len, lines)) - self._guessed
        self._guessed = 0
        tracks = {"caller.pcm": self._caller, "model.pcm": self._model, "agent.pcm": self._agent}
        sound = {name: pieces for name, track in tracks.items() if (pieces := track.take())}
        return Batch(lines, sound)

    def written(self, batch: Batch) -> None:
        self.waiting -= batch.size

    def _refer(self, pcm: Any) -> tuple[str | None, int, int]:
        """Keep the sound of an event; what its line says instead."""
        if not isinstance(pcm, Pcm):
            raise TypeError(f"a flight record holds no {type(pcm).__name__}")
        if not self.sound or not self._room(pcm):
            return None, loudness(pcm) if isinstance(pcm, LinePcm) else 0, len(pcm) // 2
        if type(pcm) is Pcm24k:
            return "model.pcm", self._model.put(self._model.end, pcm), len(pcm) // 2
        return "caller.pcm", self._caller.arrived(self._now, pcm), len(pcm) // 2

    def _room(self, pcm: Pcm) -> bool:
        """Whether `pcm` may be kept; it then counts as waiting."""
        if self.waiting + len(pcm) <= LIMIT:
            self.waiting += len(pcm)
            return True
        self.lost_ms += 1000 * pcm.seconds
        return False
