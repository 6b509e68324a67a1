"""Statements that happen together, and what a cancellation in the middle of them leaves."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from agent.storage.attempts import Attempts, Taker
from agent.storage.database import Database
from agent.storage.do_not_call import DoNotCall, OptOut


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
    gc.collect()  # a connection that was let go of while it was open would be warned of here (Python 3.13)
    async with asyncio.timeout(5), database.transaction() as transaction:
        assert (await transaction.rows(sa.select(1)))[0][0] == 1


LOOK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT count(*) FROM do_not_call").fetchone()[0])
database.close()
"""


async def look(file: Path) -> int:
    """What another process sees, which closes the file as somebody who may be the last."""
    command = [sys.executable, "-c", LOOK, str(file)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    return int(done.stdout)


async def test_a_process_may_open_its_database_twice_and_others_still_see_what_it_writes(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pickup.db"
    first = await Database.open(f"sqlite:///{file}")
    second = await Database.open(f"sqlite:///{file}")
    try:
        for count in (1, 2, 3):
            asked = OptOut(number=f"+1202555010{count}", since=float(count), why="said_so")
            await DoNotCall(first).add(asked)
            assert await look(file) == count
    finally:
        await first.close()
        await second.close()
