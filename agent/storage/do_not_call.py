"""Numbers that nobody may call: kept for good, honoured in the transaction that reserves and again in the one that dials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from agent.storage.attempts import LOCK, AttemptState
from agent.storage.database import struct
from agent.storage.numbers import check_callee
from agent.storage.tables import attempts, do_not_call

if TYPE_CHECKING:
    from agent.storage.database import Database


class OptOut(msgspec.Struct, frozen=True, kw_only=True):
    """One number that must not be called, by no agent.

    Attributes:
        number: E.164.
        since: seconds since 1970-01-01 UTC.
        why: `said_so`, `key`, `imported`, ...
        agent, call: to whom it was said, and in which call.
    """

    number: str
    since: float
    why: str
    agent: str | None = None
    call: str | None = None


class DoNotCall:
    """The do-not-call list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, opt_out: OptOut) -> bool:
        """Put a number on the list and end what was reserved for it; False where it is there already.

        On return no later reservation or claim in any process takes this number.
        """
        check_callee(opt_out.number)
        row = msgspec.structs.asdict(opt_out)
        waiting = (attempts.c.number == opt_out.number) & (
            attempts.c.state == AttemptState.RESERVED
        )
        async with self._database.transaction() as transaction:
            await transaction.alone(LOCK)
            insert = self._database.insert(do_not_call).values(row).on_conflict_do_nothing()
            added = await transaction.write(insert)
            await transaction.write(
                sa.update(attempts)
                .where(waiting)
                .values(state=AttemptState.ENDED, reason="do_not_call", ended_at=opt_out.since)
            )
        return added == 1

    async def remove(self, number: str) -> bool:
        """The number's owner wants calls again."""
        gone = sa.delete(do_not_call).where(do_not_call.c.number == number)
        return await self._database.write(gone) == 1

    async def get(self, number: str) -> OptOut | None:
        query = sa.select(do_not_call).where(do_not_call.c.number == number)
        rows = await self._database.rows(query)
        return struct(OptOut, rows[0]) if rows else None

    async def recent(self, limit: int = 1000) -> list[OptOut]:
        """The newest first."""
        query = sa.select(do_not_call).order_by(do_not_call.c.since.desc()).limit(limit)
        return [struct(OptOut, row) for row in await self._database.rows(query)]
