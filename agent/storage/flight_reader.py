"""Reads a flight record back, so that it can be played to the machine again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from agent.audio.level import steady
from agent.errors import StorageError
from agent.events import LINE_PCM, AnyCommand, AnyEvent, LinePcm, LineStarted, Pcm8k
from agent.storage.flight_format import encode_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOUND = ("caller.pcm", "model.pcm")
"""Files that an event may refer to."""


class Entry(NamedTuple):
    """One line: at `t` the event (None: a tick) led to these commands.

    Commands are plain data as `recorded` makes them: their sound is only known by length and checksum. `silenced`: the
    event's sound was not kept.
    """

    t: float
    event: AnyEvent | None
    commands: list[dict[str, Any]]
    silenced: bool = False


class _Line(msgspec.Struct):
    v: int
    t: float
    kind: str
    do: list[dict[str, Any]]


def recorded(commands: list[AnyCommand]) -> list[dict[str, Any]]:
    """Commands as a record shows them, to compare what today's machine does with what was done."""
    plain: list[dict[str, Any]] = msgspec.json.decode(encode_commands(commands))
    return plain


class _Sound:
    """The sound that events refer to; `missing` once some of it was not kept."""

    def __init__(self, folder: Path) -> None:
        self.missing = False
        self.line: type[LinePcm] = Pcm8k  # as the latest `LineStarted` says
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def decode(self, kind: type[Any], reference: Any) -> Any:
        """The samples of `[file, first sample, samples]`, as `kind`; of their loudness where they were not kept."""
        name, begin, samples = reference
        kind = self.line if kind is LinePcm else kind
        if name is None:
            self.missing = True
            return kind(steady(begin, samples))
        if name not in SOUND:
            raise ValueError(f"{name!r} is not a file of sound")
        if name not in self._files:
            if not (self._folder / name).exists():
                raise ValueError(f"{name} is gone")
            self._files[name] = open(self._folder / name, "rb")  # noqa: SIM115  (closed by `close`)
        self._files[name].seek(2 * begin)
        data = self._files[name].read(2 * samples)
        if len(data) != 2 * samples:
            raise ValueError(f"{name} ends before sample {begin + samples}")
        return kind(data)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def read_flight(folder: Path) -> Iterator[Entry]:
    """The entries of a call, in order; ends where recording had to stop, and at a line that a crash tore.

    Sound that was not kept is read as a steady one of the same length and loudness: decisions come out the same.

    Raises:
        StorageError: there is no record, or its lines are not what this version reads.
    """
    sound = _Sound(folder)
    decode_line = msgspec.json.Decoder(_Line).decode
    decode_event: Callable[[bytes], AnyEvent]
    decode_event = msgspec.json.Decoder(AnyEvent, dec_hook=sound.decode).decode
    number = 0
    try:
        with open(folder / "events.jsonl", "rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007  (the error names it)
                head = decode_line(line) if line.endswith(b"\n") else None
                if head is None or head.kind == "gap":
                    return
                sound.missing = False
                event = None if head.kind == "tick" else decode_event(line)
                if isinstance(event, LineStarted):
                    sound.line = LINE_PCM[event.rate]
                yield Entry(head.t, event, head.do, sound.missing)
    except OSError as error:
        raise StorageError(f"no flight record in {folder.name}: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise StorageError(f"{folder.name}/events.jsonl, line {number}: {error}") from error
    finally:
        sound.close()
