"""Whole calls with their records in a real PostgreSQL, by two servers that share it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.storage.database import Database
from agent.storage.records import Records, State
from tests.calls.exchange import exchange
from tests.storage import postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture
def url() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    for server in postgres.running():
        yield server.url(server.database())


async def test_two_servers_share_the_records_of_their_calls(url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            house = await stack.enter_async_context(exchange(tmp_path / name, DATABASE_URL=url))
            report = await house.call()
            assert report.report.heard
        database = Database(url)
        async with asyncio.timeout(5):  # a record is closed a moment after its call has ended
            found = await Records(database).recent()
            while any(record.state is not State.ENDED for record in found):
                await asyncio.sleep(0.1)
                found = await Records(database).recent()
        await database.close()
    assert [(record.state, record.legs) for record in found] == [(State.ENDED, 1)] * 2
    assert len({record.instance for record in found}) == 2
