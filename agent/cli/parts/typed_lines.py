"""Lines from a terminal, a pipe or a file, read beside an event loop."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

CHUNK = 4096
LONGEST = 65_536
"""Bytes of a line; a longer one comes in pieces."""


class TypedLines:
    """Waits for lines without a thread, and without changing how others see the same terminal.

    Args:
        fd: what is read.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()  # as many as one read brings
        self._waits = True

    def __enter__(self) -> TypedLines:
        try:
            self._loop.add_reader(self._fd, self._read)
        except PermissionError:  # a plain file, which never waits (epoll_ctl(2): EPERM)
            self._waits = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._waits:
            self._loop.remove_reader(self._fd)

    async def next(self) -> str | None:
        """The next line that is not blank, without its end; None: there are no more."""
        while True:
            while not self._waits and self._lines.empty():
                self._read()
            line = await self._lines.get()
            if line is None:
                self._lines.put_nowait(None)  # the end stays the end
                return None
            if line.strip():
                return line.strip()

    def _read(self) -> None:
        data = os.read(self._fd, CHUNK)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST or (not data and self._rest):
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            self._lines.put_nowait(line.decode(errors="replace"))
        if not data:
            self._lines.put_nowait(None)
            if self._waits:
                self._loop.remove_reader(self._fd)
