"""Test vectors made of recorded calls: a flight record in small, with all that its replay needs.

A vector's folder holds `events.jsonl`, `caller.pcm` and `model.pcm` as a call's folder does, and the sound of each line of our
own that was said as `line-NAME.pcm` (24 kHz), all compressed (gzip). Its commands are those of the machine that saved it.
The words and the voices of the call are in it.
"""

from __future__ import annotations

import gzip
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent import __version__
from agent.errors import StorageError, UserError
from agent.events import CallStarted
from agent.storage.flight_files import FlightFiles
from agent.storage.flight_format import Draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.call.options import OwnLine, OwnLines
    from agent.events import AnyCommand, AnyEvent

ENOUGH = 256 * 1024
"""Bytes after which the draft is written."""


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """A folder with a flight record in it, whether `folder` is a call's or a vector's.

    Raises:
        UserError: it is neither, or a file of the vector is broken.
    """
    if (folder / "events.jsonl").exists():
        yield folder
        return
    if not (folder / "events.jsonl.gz").exists():
        raise UserError(f"{folder} is no folder of a call: there is no events.jsonl")
    with tempfile.TemporaryDirectory() as room:
        whole = Path(room) / folder.resolve().name
        whole.mkdir()
        for path in folder.glob("*.gz"):
            try:
                (whole / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
            except (OSError, EOFError) as error:
                raise UserError(f"{path} cannot be read: {error}") from error
        yield whole


class VectorWriter:
    """Makes a vector of a call while it is replayed.

    Args:
        folder: where it goes; made, and nothing else may be in it.
        room: an empty folder to work in.
        own: the call's own lines.

    Raises:
        UserError: the folder cannot be made or has other files.
    """

    def __init__(self, folder: Path, room: Path, own: OwnLines) -> None:
        self._folder = folder
        self._room = room
        self._own = own
        self._files = FlightFiles(room)
        self._draft = Draft(sound=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in folder.iterdir() if not _is_ours(path)]
        except OSError as error:
            raise UserError(f"{folder} cannot be a vector's folder: {error.strerror}") from error
        if others:
            raise UserError(f"{folder} has other files ({others[0]}): name an empty or new folder")

    def keep(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        """Take one step of the call, with today's commands."""
        if isinstance(event, CallStarted):
            changes = {"version": __version__, "lines": self._own.keys()}
            event = msgspec.structs.replace(event, **changes)
        self._draft.record(t, event, commands)
        if self._draft.waiting > ENOUGH:
            self._write()

    def finish(self, said: list[OwnLine]) -> list[Path]:
        """Write the vector, with the sound of the lines that were `said`; what was there before goes.

        Returns:
            Its files.

        Raises:
            UserError: it cannot be written.
        """
        try:
            self._write()
            self._files.finish(b"")
            (self._room / "call.wav").unlink(missing_ok=True)
            for line in said:
                (self._room / f"line-{line.name}.pcm").write_bytes(line.pcm)
            for path in self._folder.iterdir():
                path.unlink()
            return [self._compress(path) for path in sorted(self._room.iterdir())]
        except (OSError, StorageError) as error:
            raise UserError(f"{self._folder} cannot be written: {error}") from error

    def _compress(self, path: Path) -> Path:
        packed = self._folder / f"{path.name}.gz"
        packed.write_bytes(
            gzip.compress(path.read_bytes(), mtime=0)
        )  # the same call, the same file
        return packed

    def _write(self) -> None:
        batch = self._draft.take()
        self._files.write(batch)
        self._draft.written(batch)


def _is_ours(path: Path) -> bool:
    return path.name.endswith((".pcm.gz", ".jsonl.gz"))
