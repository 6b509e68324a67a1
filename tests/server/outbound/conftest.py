"""The real database, empty: made once, copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.server.stores import Stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with tables and nothing in them."""
    path = tmp_path_factory.mktemp("empty") / "pickup.db"

    async def make() -> None:
        stores = Stores.at(f"sqlite:///{path}")
        await stores.database.ready()
        await stores.close()

    asyncio.run(make())
    return path


@pytest.fixture
async def stores(empty: Path, tmp_path: Path) -> AsyncIterator[Stores]:
    shutil.copy(empty, tmp_path / "pickup.db")
    made = Stores.at(f"sqlite:///{tmp_path / 'pickup.db'}")
    yield made
    await made.close()
