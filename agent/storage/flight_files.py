"""The files of a flight record: blocking, and called in a thread only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from agent.audio.wav import write_stereo
from agent.errors import StorageError
from agent.events import LineStarted, Pcm8k
from agent.storage.disk import append_all, write_at, write_private
from agent.storage.retention import keep_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.storage.flight_format import Batch, Piece


def runs(pieces: list[Piece]) -> Iterator[tuple[int, bytes]]:
    """Sound that lies end to end, joined, with the byte at which it begins."""
    parts: list[bytes] = []
    begin = end = 0
    for piece in pieces:
        if parts and piece.position != end:
            yield 2 * begin, b"".join(parts)
            parts = []
        if not parts:
            begin = piece.position
        parts.append(piece.pcm)
        end = piece.position + len(piece.pcm) // 2
    if parts:
        yield 2 * begin, b"".join(parts)


class FlightFiles:
    """The folder of one call. Every method raises StorageError and nothing else.

    Args:
        folder: made when it is first needed.
        sound_until: when its sound has to be deleted (seconds since 1970-01-01 UTC); None: never.
    """

    def __init__(self, folder: Path, sound_until: float | None = None) -> None:
        self._folder = folder
        self._sound_until = sound_until
        self._open: dict[str, int] = {}

    def write(self, batch: Batch) -> None:
        """Append a batch: sound first, so that no line refers to sound that is not there."""
        try:
            for name, pieces in batch.sound.items():
                descriptor = self._file(name)
                for begin, data in runs(pieces):
                    write_at(descriptor, data, begin)
            if batch.lines:
                append_all(self._file("events.jsonl"), b"".join(batch.lines))
        except OSError as error:
            raise StorageError(f"flight record not written: {error.strerror}") from error

    def write_transcript(self, text: bytes) -> None:
        try:
            self._make_folder()
            write_private(self._folder / "transcript.json", text)
        except OSError as error:
            raise StorageError(f"transcript not written: {error.strerror}") from error

    def finish(self, last: bytes) -> None:
        """Append the line `last`, see everything safely to the disk, and make `call.wav`."""
        try:
            if last:
                append_all(self._file("events.jsonl"), last)
            for descriptor in self._open.values():
                os.fsync(descriptor)
        except OSError as error:
            raise StorageError(f"flight record not finished: {error.strerror}") from error
        finally:
            while self._open:
                os.close(self._open.popitem()[1])
        salvage(self._folder)
        try:
            (self._folder / "agent.pcm").unlink(missing_ok=True)  # replay makes it again
        except OSError as error:
            raise StorageError(f"agent.pcm not removed: {error.strerror}") from error

    def _file(self, name: str) -> int:
        if name not in self._open:
            self._make_folder()
            flags = os.O_RDWR | os.O_CREAT
            self._open[name] = os.open(self._folder / name, flags, 0o600)
        return self._open[name]

    def _make_folder(self) -> None:
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._sound_until is not None:
            keep_until(self._folder, self._sound_until)
            self._sound_until = None


_STARTED = b'"kind":"line_started"'
_decode_started = msgspec.json.Decoder(LineStarted).decode


def line_rate(events: Path) -> int:
    """The rate of a call's line, by its record; 8 kHz where none is told of. Raises OSError."""
    if events.exists():
        with open(events, "rb") as lines:
            for line in lines:
                if _STARTED in line and line.endswith(b"\n"):
                    return _decode_started(line).rate
    return Pcm8k.rate


def salvage(folder: Path) -> None:
    """Make `call.wav` of a call's sound; also after a crash, since the sound lies on the call's time line already.

    Raises StorageError. The sound itself is left where it is.
    """
    caller, agent = folder / "caller.pcm", folder / "agent.pcm"
    part = folder / "call.wav.part"
    try:
        if not caller.exists() and not agent.exists():
            return
        with (
            open(caller if caller.exists() else os.devnull, "rb") as left,
            open(agent if agent.exists() else os.devnull, "rb") as right,
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out,
        ):
            write_stereo(out, left, right, rate=line_rate(folder / "events.jsonl"))
            out.flush()
            os.fsync(out.fileno())
        part.replace(folder / "call.wav")
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"call.wav not written: {error.strerror}") from error
