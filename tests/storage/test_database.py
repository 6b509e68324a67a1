"""Statements that happen together, and what a cancellation in the middle of them leaves."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from agent.storage.attempts import Attempts, Taker
from agent.storage.database import Database


async def test_a_cancellation_in_a_transaction_stays_one_and_leaves_nothing_locked(
    database: Database,
) -> None:
    attempts = Attempts(database)
    for step in range(60):
        task = asyncio.ensure_future(attempts.claim(Taker("here", 1.0, 31.0)))
        await asyncio.sleep(
            step / 10_000
        )  # a claim takes some milliseconds: each of its statements is hit
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        assert end is None or isinstance(end, asyncio.CancelledError), f"step {step}"
    async with asyncio.timeout(5), database.transaction() as transaction:
        assert (await transaction.rows(sa.select(1)))[0][0] == 1
