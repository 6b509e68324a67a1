"""The databases that the stores are tested on: SQLite always, PostgreSQL in the slow suites."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.storage.database import Database
from tests.storage import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ENGINES = ["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.timeout(60)])]


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Postgres]:
    """A real PostgreSQL server."""
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    yield from postgres.running()


@pytest.fixture(scope="session")
def migrated_name(server: postgres.Postgres) -> str:
    """The same on PostgreSQL."""
    name = server.database()
    asyncio.run(_migrate(server.url(name)))
    return name


async def _migrate(url: str) -> None:
    await (await Database.open(url)).close()


@pytest.fixture
def empty_postgresql(server: postgres.Postgres) -> str:
    """A database on PostgreSQL without even tables."""
    return server.url(server.database())


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, with tables and nothing in them."""
    if request.param == "sqlite":
        copy = shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "pickup.db")
        return f"sqlite:///{copy}"
    server: postgres.Postgres = request.getfixturevalue("server")
    return server.url(server.database(like=request.getfixturevalue("migrated_name")))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()
