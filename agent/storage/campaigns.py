"""Campaigns: the numbers of one file, dialled at a rate and a few at a time. Their rows are attempts."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from agent.storage.attempts import (
    LOCK,
    Attempt,
    AttemptState,
    Caps,
    Taker,
    is_open,
    new_row,
    take,
)
from agent.storage.database import struct
from agent.storage.numbers import check_callee
from agent.storage.tables import attempts, campaigns, do_not_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.storage.attempts import Wanted
    from agent.storage.database import Database

AT_ONCE = 500
"""Rows that are written in one statement: SQLite takes 32,766 values in one, PostgreSQL 32,767."""


class CampaignState(StrEnum):
    """Whether a campaign is dialled. What is on the line when it pauses or stops is finished."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign.

    Attributes:
        id: ours; the same file for the same agent is the same campaign.
        digest: hash of the file.
        rate: calls begun per second.
        concurrency: calls at a time.
        next_at: when the rate allows the next one; seconds since 1970-01-01 UTC, as `begun_at`.
    """

    id: str
    digest: str
    agent: str
    rate: float
    concurrency: int
    begun_at: float
    state: CampaignState = CampaignState.RUNNING
    next_at: float = 0.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a campaign is.

    Attributes:
        waiting: rows that are still to be dialled, now or again later.
        active: rows that are dialled or on the line.
        ended: rows that are done with, by reason.
        next_at: when the first of those that wait is due, None where none waits.
    """

    waiting: int
    active: int
    ended: dict[str, int]
    next_at: float | None

    @property
    def total(self) -> int:
        return self.waiting + self.active + sum(self.ended.values())


class Campaigns:
    """The campaigns in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, campaign: Campaign, rows: Sequence[Wanted]) -> bool:
        """Store a campaign and its rows, all or none; False where it is there already, which changes nothing.

        Rows whose numbers are on the do-not-call list are ended at once, for the result to tell.
        """
        for row in rows:
            check_callee(row.number)
        async with self._database.transaction() as transaction:
            await transaction.alone(LOCK)
            insert = self._database.insert(campaigns).values(msgspec.structs.asdict(campaign))
            if await transaction.write(insert.on_conflict_do_nothing()) == 0:
                return False
            for first in range(0, len(rows), AT_ONCE):
                values = [new_row(row, campaign.begun_at) for row in rows[first : first + AT_ONCE]]
                await transaction.write(
                    self._database.insert(attempts).values(values).on_conflict_do_nothing()
                )
            await transaction.write(
                sa.update(attempts)
                .where(
                    attempts.c.campaign == campaign.id,
                    attempts.c.number.in_(sa.select(do_not_call.c.number)),
                )
                .values(state=AttemptState.ENDED, reason="do_not_call", ended_at=campaign.begun_at)
            )
            return True

    async def claim(self, campaign: str, taker: Taker, caps: Caps | None = None) -> Attempt | None:
        """Take the next row to dial it now, where the campaign runs and its rate, concurrency and the caps allow."""
        its = attempts.c.campaign == campaign
        async with self._database.transaction() as transaction:
            await transaction.alone(LOCK)
            may = sa.select(campaigns.c.rate).where(
                campaigns.c.id == campaign,
                campaigns.c.state == CampaignState.RUNNING,
                campaigns.c.next_at <= taker.now,
                campaigns.c.concurrency
                > sa.select(sa.func.count())
                .select_from(attempts)
                .where(its, is_open(attempts))
                .scalar_subquery(),
            )
            found = await transaction.rows(may)
            if not found:
                return None
            taken = await take(transaction, its, taker, caps or Caps())
            if taken is not None:
                await transaction.write(
                    sa.update(campaigns)
                    .where(campaigns.c.id == campaign)
                    .values(next_at=taker.now + 1 / found[0].rate)
                )
            return taken

    async def change(
        self,
        campaign: str,
        state: CampaignState | None = None,
        rate: float | None = None,
        concurrency: int | None = None,
    ) -> bool:
        """Pause, stop, go on, or change the pace; False where there is no such campaign."""
        wanted = {"state": state, "rate": rate, "concurrency": concurrency}
        values: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        change = sa.update(campaigns).where(campaigns.c.id == campaign).values(**values)
        return await self._database.write(change) == 1

    async def get(self, campaign: str) -> Campaign | None:
        query = sa.select(campaigns).where(campaigns.c.id == campaign)
        rows = await self._database.rows(query)
        return struct(Campaign, rows[0]) if rows else None

    async def every(self) -> list[Campaign]:
        """The newest first."""
        query = sa.select(campaigns).order_by(campaigns.c.begun_at.desc(), campaigns.c.id)
        return [struct(Campaign, row) for row in await self._database.rows(query)]

    async def running(self) -> list[str]:
        """Campaigns that have something to dial."""
        waits = sa.exists().where(
            attempts.c.campaign == campaigns.c.id, attempts.c.state == AttemptState.RESERVED
        )
        query = sa.select(campaigns.c.id).where(campaigns.c.state == CampaignState.RUNNING, waits)
        return [row.id for row in await self._database.rows(query.order_by(campaigns.c.begun_at))]

    async def progress(self, campaign: str) -> Progress:
        count, first = sa.func.count(), sa.func.min(attempts.c.not_before)
        by = (attempts.c.state, attempts.c.reason)
        query = sa.select(*by, count.label("rows"), first.label("first")).group_by(*by)
        waiting, active, next_at = 0, 0, None
        ended: dict[str, int] = {}
        for row in await self._database.rows(query.where(attempts.c.campaign == campaign)):
            if row.state == AttemptState.RESERVED:
                waiting += row.rows
                next_at = row.first if next_at is None else min(next_at, row.first)
            elif row.state == AttemptState.ENDED:
                ended[row.reason or ""] = ended.get(row.reason or "", 0) + row.rows
            else:
                active += row.rows
        return Progress(waiting=waiting, active=active, ended=ended, next_at=next_at)

    async def rows(self, campaign: str) -> list[Attempt]:
        """In the order of the campaign's file."""
        query = sa.select(attempts).where(attempts.c.campaign == campaign).order_by(attempts.c.row)
        return [struct(Attempt, row) for row in await self._database.rows(query)]
