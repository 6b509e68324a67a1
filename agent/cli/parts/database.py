"""What commands ask the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from agent.errors import StorageError, UserError
from agent.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def ask(url: str, question: Callable[[Database], Awaitable[T]]) -> T:
    """The answer to `question`. Raises UserError where the database cannot be used."""
    return asyncio.run(_ask(url, question))


async def _ask(url: str, question: Callable[[Database], Awaitable[T]]) -> T:
    database = Database(url)
    try:
        return await question(database)
    except StorageError as error:
        raise UserError(f"the database cannot be read ({error})") from error
    finally:
        await database.close()
