"""The journal of what tools do, kept in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.storage import effects as stored
from agent.tools.effects import Done, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable


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
