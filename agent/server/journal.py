"""The journal of what tools do, kept in the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from agent.errors import StorageError
from agent.storage import effects as stored
from agent.tools.effects import Done, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable


log = structlog.get_logger()

LOOK = 60.0
"""Seconds between looks for what nobody knows the outcome of."""

NEWS = 86_400.0
"""Seconds after which it is no news any more."""


class DatabaseJournal:
    """Tells the tools' room what the database says.

    Args:
        effects: the table.
        wall: seconds since 1970-01-01 UTC.
    """

    def __init__(self, effects: stored.Effects, wall: Callable[[], float]) -> None:
        self._effects = effects
        self._wall = wall

    async def begin(self, call: str, key: str, tool: str) -> Done | Unknown | None:
        past = await self._effects.begin(call, key, tool, self._wall())
        match past:
            case stored.Done(response=response):
                return Done(response)
            case stored.Unknown():
                return Unknown()
            case stored.Begun():
                return None

    async def finish(self, call: str, key: str, response: dict[str, Any]) -> None:
        await self._effects.finish(call, key, response, self._wall())


class Unknowns:
    """Tells the operator, once each, what tools began in calls that are over and nobody knows the outcome of.

    Args:
        effects: the table.
        wall: seconds since 1970-01-01 UTC.
    """

    def __init__(self, effects: stored.Effects, wall: Callable[[], float]) -> None:
        self._effects = effects
        self._wall = wall
        self._told: set[tuple[str, str]] = set()

    async def watch(self) -> None:
        """Look again and again, for as long as the server runs: another instance may have crashed."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        try:
            found = await self._effects.unknown()
        except StorageError:
            return  # the next look will do
        since = self._wall() - NEWS
        news = {(each.call, each.key): each.tool for each in found if each.begun_at >= since}
        for (call, key), tool in news.items():
            if (call, key) not in self._told:
                log.warning("nobody knows whether this was done", call=call, tool=tool, key=key)
        self._told = set(news)
