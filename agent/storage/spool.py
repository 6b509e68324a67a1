"""Where records wait while the database does not take them: a file of JSON lines, safely on the disk line by line.

Each process has a spool of its own, `DATA_DIR/spool/<instance>.jsonl` (mode 0600: like the table that it stands in for, it holds
phone numbers), and a lock on it for life. The spool of a process that died is taken over by whoever finds it unlocked. Replaying
is idempotent, so a crash between any two steps costs a repetition and nothing else.

Bounded at 5000 operations. When it is full the newest is refused with StorageError, since what came earlier is what later ones
build on. When the disk is full too, operations wait in memory only (`volatile` counts them).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from agent.errors import StorageError
from agent.storage.disk import append_all
from agent.storage.records import CallRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.storage.records import Records

LIMIT = 5000
"""Operations: the records of some 1600 calls, about 5 MB."""


class Operation(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower):
    """A write that the database has yet to take."""


class Create(Operation, frozen=True):
    """`Records.create`."""

    record: CallRecord


class Answered(Operation, frozen=True):
    """`Records.answered`."""

    call: str
    at: float


class Finish(Operation, frozen=True):
    """`Records.finish`."""

    call: str
    end_reason: str
    ended_at: float
    legs: int = 0
    metrics: dict[str, Any] = {}


class Spend(Operation, frozen=True):
    """`Records.spend`, of a token that was accepted while the database was down."""

    token: str
    call: str
    expires: float


AnyOperation = Create | Answered | Finish | Spend

_decoder: msgspec.json.Decoder[AnyOperation] = msgspec.json.Decoder(AnyOperation)
_encode = msgspec.json.Encoder().encode


async def apply(operation: AnyOperation, records: Records) -> bool:
    """Do it; False where the database had it already. Raises what `Records` raises."""
    match operation:
        case Create(record):
            return await records.create(record)
        case Answered(call, at):
            await records.answered(call, at)
            return True
        case Finish(call, end_reason, ended_at, legs, metrics):
            return await records.finish(call, end_reason, ended_at, legs=legs, metrics=metrics)
        case Spend(token, call, expires):
            return await records.spend(token, call, expires)


class SpoolFile:
    """A process's own file, and what it may do with the others'. Blocking; called in a thread only; raises OSError."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._folder = folder
        self._path = folder / f"{instance}.jsonl"
        self._descriptor: int | None = None

    def append(self, lines: bytes) -> None:
        """Returns when they are safely on the disk."""
        descriptor = self._own()
        append_all(descriptor, lines)
        os.fsync(descriptor)

    def truncate(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)

    def refuse(self, line: bytes) -> None:
        descriptor = os.open(self._folder / "refused", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            append_all(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def adopt(self) -> list[AnyOperation]:
        """The operations of spools without a process; they are in our own file when the others are removed.

        A spool that cannot be taken over now (its process lives, another was faster, the disk is full) is left for later.
        """
        found: list[AnyOperation] = []
        for path in sorted(self._folder.glob("*.jsonl")):
            if path == self._path:
                continue
            try:
                found += self._adopt(path)
            except OSError:
                continue
        return found

    def _adopt(self, path: Path) -> list[AnyOperation]:
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            operations = self._read(path.read_bytes())
            if operations:
                self.append(b"".join(_encode(operation) + b"\n" for operation in operations))
            path.unlink()
            return operations
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the file; it is removed where nothing is in it."""
        if self._descriptor is None:
            return
        if os.fstat(self._descriptor).st_size == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _own(self) -> int:
        while self._descriptor is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._path.exists() and os.path.samestat(os.fstat(descriptor), self._path.stat()):
                self._descriptor = descriptor
            else:  # between its making and its locking another process took it for an orphan
                os.close(descriptor)
        return self._descriptor

    def _read(self, data: bytes) -> list[AnyOperation]:
        """Whole lines only: a torn one was never acknowledged. What cannot be read is put aside."""
        operations: list[AnyOperation] = []
        for line in data.splitlines(keepends=True):
            try:
                operations.append(_decoder.decode(line))
            except msgspec.DecodeError:
                if line.endswith(b"\n"):
                    self.refuse(line)
        return operations


class Spool:
    """The operations that wait, oldest first, in memory and on the disk.

    Args:
        folder: where all spools of this machine lie.
        instance: this process; a name that was never used before.
        disk: threads that may wait for the disk; None is the loop's own.

    Attributes:
        volatile: operations that wait in memory only, since the disk did not take them.
    """

    def __init__(self, folder: Path, instance: str, disk: Executor | None = None) -> None:
        self.volatile = 0
        self._file = SpoolFile(folder, instance)
        self._disk = disk
        self._lock = asyncio.Lock()
        self._operations: deque[AnyOperation] = deque()
        self._arriving = 0

    def __len__(self) -> int:
        """Operations that wait or are just being taken in: while there are any, all others must queue behind them."""
        return len(self._operations) + self._arriving

    @property
    def oldest(self) -> AnyOperation | None:
        return self._operations[0] if self._operations else None

    def forget_oldest(self) -> None:
        """The oldest is done with; its line goes when the spool is empty (`clear`)."""
        self._operations.popleft()

    async def append(self, operation: AnyOperation) -> None:
        """Take an operation; it is safely on the disk on return. Raises StorageError when full."""
        if len(self) >= LIMIT:
            raise StorageError(f"the spool is full ({LIMIT} operations)")
        self._arriving += 1
        try:
            async with self._lock:
                try:
                    await self._in_thread(self._file.append, _encode(operation) + b"\n")
                except StorageError:
                    self.volatile += 1
                self._operations.append(operation)
        finally:
            self._arriving -= 1

    async def clear(self) -> None:
        """Empty the file, unless something waits."""
        async with self._lock:
            if not self._operations:
                await self._in_thread(self._file.truncate)
                self.volatile = 0

    async def refuse(self, operation: AnyOperation) -> None:
        """Put aside, for a person, what the database will never take: the file `refused` beside the spools."""
        await self._in_thread(self._file.refuse, _encode(operation) + b"\n")

    async def adopt(self) -> None:
        """Take over the spools of processes that are gone."""
        async with self._lock:
            self._operations += await self._in_thread(self._file.adopt)

    async def close(self) -> None:
        """Let go of the file; what waits in it is for the next process."""
        async with self._lock:
            await self._in_thread(self._file.close)

    async def _in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)
        except OSError as error:
            raise StorageError(f"spool: {error.strerror}") from error
