"""What tools did, so that nothing is done twice: the intent is written before, the result after.

An intent without a result is an effect of which nobody knows whether it happened: its process died, or it still runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from agent.storage.database import struct
from agent.storage.records import State
from agent.storage.tables import calls, effects

if TYPE_CHECKING:
    from agent.storage.database import Database


class Begun(msgspec.Struct, frozen=True):
    """The intent is written: whoever got this, and nobody else, goes on."""


class Done(msgspec.Struct, frozen=True):
    """It was done before; this is what came of it."""

    response: dict[str, Any]


class Unknown(msgspec.Struct, frozen=True):
    """It was begun before, and nobody wrote how it ended."""


Beginning = Begun | Done | Unknown


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a tool did or meant to do. Times are seconds since 1970-01-01 UTC."""

    call: str
    key: str
    tool: str
    begun_at: float
    finished_at: float | None
    response: dict[str, Any] | None


class Effects:
    """The journal of effects; `key` tells equal wishes of one call from others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, call: str, key: str, tool: str, at: float) -> Beginning:
        """Of any number that begin the same, in any process, exactly one gets `Begun`."""
        row = {"call": call, "key": key, "tool": tool, "begun_at": at}
        insert = self._database.insert(effects).values(row).on_conflict_do_nothing()
        if await self._database.write(insert) == 1:
            return Begun()
        wanted = (effects.c.call == call) & (effects.c.key == key)
        found = await self._database.rows(sa.select(effects).where(wanted))
        if found and found[0].finished_at is not None:
            return Done(found[0].response)
        return Unknown()

    async def finish(self, call: str, key: str, response: dict[str, Any], at: float) -> bool:
        """What came of it; the first result stands."""
        return (
            await self._database.write(
                sa.update(effects)
                .where(*self._open(call, key))
                .values(finished_at=at, response=response)
            )
            == 1
        )

    async def withdraw(self, call: str, key: str) -> bool:
        """It certainly did not happen, so it may be begun again."""
        return await self._database.write(sa.delete(effects).where(*self._open(call, key))) == 1

    async def unknown(self, limit: int = 100) -> list[Effect]:
        """Begun in calls that are over and never finished: a person has to look; the newest first."""
        query = (
            sa.select(effects)
            .join(calls, calls.c.id == effects.c.call)
            .where(effects.c.finished_at.is_(None), calls.c.state >= State.CRASHED)
            .order_by(effects.c.begun_at.desc())
            .limit(limit)
        )
        return [struct(Effect, row) for row in await self._database.rows(query)]

    @staticmethod
    def _open(call: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return (effects.c.call == call, effects.c.key == key, effects.c.finished_at.is_(None))
