"""Deletes sound that is older than its agent's file allows, at the start and every hour."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent.errors import StorageError
from agent.storage.retention import delete_old_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path

log = structlog.get_logger()

EVERY = 3600.0
"""Seconds."""


async def keep_deleting(calls: Path, disk: Executor, wall: Callable[[], float]) -> None:
    """Delete what is due for as long as the process lives.

    Args:
        calls: the folder of the calls' folders.
        disk: threads that may wait for the disk.
        wall: tells seconds since 1970-01-01 UTC.
    """
    run = asyncio.get_running_loop().run_in_executor
    while True:
        try:
            gone = await run(disk, delete_old_sound, calls, wall())
        except StorageError as error:
            log.error("sound is kept longer than it should be", why=str(error))
        else:
            if gone:
                log.info("old sound was deleted", calls=len(gone))
        await asyncio.sleep(EVERY)
