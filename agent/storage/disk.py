"""Writing to files so that what is there afterwards is whole; blocking, raises OSError."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def append_all(descriptor: int, data: bytes) -> None:
    """Append all of `data` or nothing.

    A file that is left with half a line would join it to the next one, so the half is cut off again.
    """
    end = os.lseek(descriptor, 0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def write_at(descriptor: int, data: bytes, begin: int) -> None:
    """Write all of `data` at byte `begin`; what was skipped before it reads as zeros."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, begin)
        begin, rest = begin + written, rest[written:]


def write_private(path: Path, data: bytes) -> None:
    """Write a whole file with mode 0600; a reader sees all of it or none."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        append_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        part.unlink()
        raise
    finally:
        os.close(descriptor)
    part.replace(path)
