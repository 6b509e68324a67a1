"""The flight recorder: what happened in a call, exactly enough to play it to the machine again.

What the files say is told in `flight_format.py`; this file sees that they are written, by a thread, about once a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import StorageError
from agent.storage.flight_files import FlightFiles
from agent.storage.flight_format import LIMIT, Batch, Draft, gap

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.drive.tasks import Tasks
    from agent.events import AnyCommand, AnyEvent, Pcm

FLUSH_EVERY = 1.0
"""Seconds that a line may wait in memory: what a crash can cost."""
EAGER = 128 * 1024
"""Bytes that are written at once: the model speaks in bursts."""


class FlightRecorder:
    """Keeps what happens in one call (a call's `Recorder`).

    A disk that fails or is full stops the recording and nothing else: `failed` is told once, and the call goes on.

    Args:
        folder: the call's own folder, made when it is first needed.
        tasks: owner of the writing; the call's own. Close the recorder before them.
        sound: whether sound is kept; without it, events are.
        sound_until: when sound has to be deleted (seconds since 1970-01-01 UTC); None: never.
        disk: threads that may wait for the disk; None is the loop's own, which name look-ups share.
        failed: told once why recording stopped.

    Attributes:
        stopped_at: where recording had to stop, in seconds after the call's start; None while it works.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Tasks,
        *,
        sound: bool,
        sound_until: float | None = None,
        disk: Executor | None = None,
        failed: Callable[[StorageError], None] = lambda _: None,
    ) -> None:
        self.stopped_at: float | None = None
        self._tasks = tasks
        self._disk = disk
        self._failed = failed
        self._files = FlightFiles(folder, sound_until)
        self._draft = Draft(sound=sound)
        self._now = 0.0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[Any] | None = None

    @property
    def lost_ms(self) -> float:
        """Sound that was not kept because the disk was too slow, in milliseconds."""
        return self._draft.lost_ms

    def record(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        """One line: at `t` seconds after the call's start `event` (None: a tick) led to `commands`."""
        self._now = t
        if not self._closed:
            self._draft.record(t, event, commands)
            self._stir()

    def keep_sound(self) -> None:
        """Keep sound from now on."""
        self._draft.keep_sound()

    def heard(self, t: float, pcm: Pcm) -> None:
        """The caller heard `pcm` (at the line's rate) beginning `t` seconds after the call's start."""
        if not self._closed:
            self._draft.heard(t, pcm)
            self._stir()

    async def write_transcript(self, transcript: Any) -> None:
        """Write `transcript.json`; `transcript` is plain data or a Struct."""
        text = msgspec.json.format(msgspec.json.encode(transcript), indent=2)
        await self._in_thread(self._files.write_transcript, text)

    async def close(self) -> None:
        """Write what waits, see it safely to the disk, and make `call.wav`. Nothing is recorded afterwards."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._closed = True
        await self._write(self._draft.take())
        last = gap(self.stopped_at, self._now) if self.stopped_at is not None else b""
        await self._in_thread(self._files.finish, last)

    def _stir(self) -> None:
        """See that what waits gets written: soon, or at once where it is much."""
        if self._draft.waiting > LIMIT * 3 // 2:
            self._stop(StorageError("the disk is too slow for the flight record"))
        elif self._writing is None and self._draft.waiting >= EAGER:
            self._flush()
        elif self._writing is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_EVERY, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed:
            self._writing = self._tasks.start("flight record", self._write(self._draft.take()))

    async def _write(self, batch: Batch) -> None:
        await self._in_thread(self._files.write, batch)
        self._draft.written(batch)
        self._writing = None
        if self._draft.waiting and not self._closed:
            self._stir()  # for what came meanwhile

    async def _in_thread(self, work: Callable[..., None], *args: Any) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)
        except StorageError as error:
            self._stop(error)

    def _stop(self, error: StorageError) -> None:
        """Record nothing more; the call goes on."""
        if self.stopped_at is None:
            self.stopped_at = self._now
            self._closed = True
            self._draft.take()
            self._failed(error)
