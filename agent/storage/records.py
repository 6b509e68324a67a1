"""Call records and spent tokens in a database: SQLite, or PostgreSQL by another `DATABASE_URL`.

Every operation is one statement, is idempotent, and never takes a record back to an earlier state: whatever is repeated or
comes late changes nothing. Wall time is always an argument.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from agent.storage.database import Database, struct
from agent.storage.tables import calls, spent_tokens

LEASE = 30.0
"""Seconds that a record counts as alive without being renewed."""
RENEW_EVERY = 10.0
"""Seconds between renewals: two may fail."""
KEEP_TOKENS = 3600.0
"""Seconds that a spent token is remembered beyond its expiry."""


class State(IntEnum):
    """How far a call has come; a record's state only grows.

    A crash is what others presume when a lease ran out; if the call lives after all (its instance could not reach the
    database), its own ending is the truth.
    """

    RINGING = 0
    ANSWERED = 1
    CRASHED = 2
    ENDED = 3


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Times are seconds since 1970-01-01 UTC.

    Attributes:
        id: ours, also the name of the call's folder.
        provider: who connected it, such as `twilio`.
        provider_call_id: the provider's id (Twilio: CallSid), unique within the provider; None until it is known.
        instance: the process that has the call.
        alive_until: when that process must have renewed the record.
        agent: name of the agent's file.
        from_number, to_number: the only place where phone numbers are kept.
        number_hash: keyed hash of the caller's number, which files and logs may hold.
        legs: how many streams the call has had.
        metrics: turn latencies, `lost_ms`, `underruns`, `dropped_ms`, and what else was counted.
        version: Pickup's version.
    """

    id: str
    provider: str
    provider_call_id: str | None
    instance: str
    alive_until: float
    direction: str
    agent: str
    started_at: float
    version: str
    state: State = State.RINGING
    answered_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    number_hash: str | None = None
    legs: int = 0
    metrics: dict[str, Any] = {}


class Records:
    """The database of calls."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    async def open(cls, url: str) -> Records:
        """Connect and bring the tables up to date. Raises StorageError, and UserError for a URL that cannot work."""
        return cls(await Database.open(url))

    async def close(self) -> None:
        await self.database.close()

    async def create(self, record: CallRecord) -> bool:
        """Insert a record; False where this call has one already, by id or by the provider's id."""
        row = msgspec.structs.asdict(record)
        return (
            await self.database.write(
                self.database.insert(calls).values(row).on_conflict_do_nothing()
            )
            == 1
        )

    async def answered(self, call: str, at: float) -> None:
        """The caller hears us."""
        await self.database.write(
            sa.update(calls)
            .where(calls.c.id == call, calls.c.state < State.ANSWERED)
            .values(state=State.ANSWERED, answered_at=at)
        )

    async def renew(self, instance: str, until: float) -> int:
        """This instance's open calls live until then; returns how many there are."""
        return await self.database.write(
            sa.update(calls)
            .where(
                calls.c.instance == instance,
                calls.c.state < State.CRASHED,
                calls.c.alive_until < until,
            )
            .values(alive_until=until)
        )

    async def finish(
        self,
        call: str,
        end_reason: str,
        ended_at: float,
        *,
        legs: int = 0,
        metrics: dict[str, Any] | None = None,
    ) -> bool:
        """The call's own ending; the first one stands. False where it had ended already, or has no record."""
        ended = sa.update(calls).where(calls.c.id == call, calls.c.state < State.ENDED)
        values = {"state": State.ENDED, "end_reason": end_reason, "ended_at": ended_at}
        return (
            await self.database.write(ended.values(**values, legs=legs, metrics=metrics or {})) == 1
        )

    async def spend(self, token: str, call: str, expires: float) -> bool:
        """Spend a token; of any number that try, in any process, exactly one is told True."""
        row = {"token": token, "call": call, "expires": expires}
        return (
            await self.database.write(
                self.database.insert(spent_tokens).values(row).on_conflict_do_nothing()
            )
            == 1
        )

    async def sweep(self, now: float) -> list[str]:
        """Close the records whose lease ran out, `end_reason` crash; returns their ids. Forgets old tokens."""
        expired = sa.update(calls).where(calls.c.state < State.CRASHED, calls.c.alive_until < now)
        closed = await self.database.rows(
            expired.values(
                state=State.CRASHED, end_reason="crash", ended_at=calls.c.alive_until
            ).returning(calls.c.id)
        )
        await self.database.write(
            sa.delete(spent_tokens).where(spent_tokens.c.expires < now - KEEP_TOKENS)
        )
        return [row.id for row in closed]

    async def get(self, call: str) -> CallRecord | None:
        return self._one(await self.database.rows(sa.select(calls).where(calls.c.id == call)))

    async def by_provider_id(self, provider_call_id: str) -> CallRecord | None:
        wanted = calls.c.provider_call_id == provider_call_id
        return self._one(await self.database.rows(sa.select(calls).where(wanted)))

    async def cost_since(self, at: float) -> float:
        """US dollars that the calls cost which began at `at` or later and have ended."""
        cost = sa.func.coalesce(sa.func.sum(calls.c.metrics["cost_usd"].as_float()), 0.0)
        rows = await self.database.rows(sa.select(cost).where(calls.c.started_at >= at))
        return float(rows[0][0])

    async def recent(self, limit: int = 50, before: float | None = None) -> list[CallRecord]:
        """The newest calls first; `before` pages on by `started_at`."""
        query = sa.select(calls).order_by(calls.c.started_at.desc(), calls.c.id).limit(limit)
        if before is not None:
            query = query.where(calls.c.started_at < before)
        return [struct(CallRecord, row) for row in await self.database.rows(query)]

    @staticmethod
    def _one(rows: list[Any]) -> CallRecord | None:
        return struct(CallRecord, rows[0]) if rows else None
