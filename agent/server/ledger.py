"""Keeps the day's ledger true to the records: those of earlier processes and of other replicas count too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.server.budget import Ledger
    from agent.storage.durable import DurableRecords

log = structlog.get_logger()

LOOK_EVERY = 60.0
"""Seconds between looks: what the calls of other replicas cost meanwhile is not known here."""


async def keep_ledger(ledger: Ledger, records: DurableRecords, wall: Callable[[], float]) -> None:
    """Run for as long as the process lives; `wall` tells seconds since 1970-01-01 UTC."""
    while True:
        now = wall()
        try:
            ledger.recorded(await records.cost_since(ledger.begins(now)), now)
        except StorageError as error:
            log.warning("what today's calls cost is not known from the records", why=str(error))
        await asyncio.sleep(LOOK_EVERY)
