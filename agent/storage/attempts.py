"""Outbound calls as rows: reserved once per key, claimed by one process, dialled at most once per try.

    reserved -> placing -> placed -> ended
        ^----------+----------+        (again later, where the policy allows)

`placing` is written before the provider is asked and `placed` after it answered. A process that dies between the two leaves
a try of which only the provider knows whether it rang: `adopt` hands it to one other process, which asks before it goes on.

Every change names the try it is about, so what is late or repeated changes nothing.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from agent.storage.database import struct
from agent.storage.numbers import check_callee
from agent.storage.tables import attempts, dials, do_not_call

if TYPE_CHECKING:
    from agent.storage.database import Database, Transaction

LOCK = 0x6469616C
"""Key of the lock of all that decides whether a number is dialled ("dial" in ASCII)."""

HOUR, DAY = 3600.0, 86400.0


class AttemptState(IntEnum):
    """Where an outbound call stands."""

    RESERVED = 0
    PLACING = 1
    PLACED = 2
    ENDED = 3


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound call that somebody wants.

    Attributes:
        id: ours.
        idempotency_key: who asks again with it gets the same call.
        number: E.164.
        variables: what the agent is told.
        not_before: seconds since 1970-01-01 UTC; not dialled earlier.
        campaign, row: whose call it is, and its place in the campaign's file.
    """

    id: str
    idempotency_key: str
    number: str
    agent: str
    not_before: float
    variables: dict[str, str] = {}
    campaign: str | None = None
    row: int = 0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An outbound call. Times are seconds since 1970-01-01 UTC.

    Attributes:
        tries: how often it was dialled; the present try's number.
        reason: how the last try, or the whole, ended.
        provider_call_id: the present try's (Twilio: CallSid).
        instance: who has it, until `alive_until` unless renewed.
    """

    id: str
    idempotency_key: str
    number: str
    agent: str
    variables: dict[str, str]
    campaign: str | None
    row: int
    state: AttemptState
    reserved_at: float
    not_before: float
    tries: int
    reason: str | None
    provider_call_id: str | None
    instance: str | None
    alive_until: float
    ended_at: float | None


class Caps(msgspec.Struct, frozen=True):
    """How many calls may be dialled; None is without bound.

    Attributes:
        number_per_day: to one number in 24 hours.
        per_hour, per_day: to all numbers.
    """

    number_per_day: int | None = None
    per_hour: int | None = None
    per_day: int | None = None


class Reservation(msgspec.Struct, frozen=True):
    """What came of wanting a call.

    Attributes:
        attempt: the call, None where it was refused.
        fresh: whether it was reserved now, and not by an earlier request with the same key.
        refused: `do_not_call`, `number_per_day`, `per_hour` or `per_day`.
    """

    attempt: Attempt | None
    fresh: bool = False
    refused: str | None = None


class Told(msgspec.Struct, frozen=True):
    """How the provider says that try `n` ended: an `end_reason`."""

    attempt: str
    n: int
    provider_call_id: str
    reason: str


class Taker(msgspec.Struct, frozen=True):
    """Who takes an attempt to dial it, when, and until when it is its own unless renewed."""

    instance: str
    now: float
    until: float


class Attempts:
    """The outbound calls in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- wanting

    async def reserve(self, wanted: Wanted, now: float, caps: Caps | None = None) -> Reservation:
        """At most one row per key. Raises RecordRefused for what is no E.164 number."""
        check_callee(wanted.number)
        async with self._database.transaction() as transaction:
            await transaction.alone(LOCK)
            known = await transaction.rows(
                sa.select(attempts).where(attempts.c.idempotency_key == wanted.idempotency_key)
            )
            if known:
                return Reservation(struct(Attempt, known[0]))
            if refused := await self._refusal(transaction, wanted.number, now, caps or Caps()):
                return Reservation(None, refused=refused)
            row = new_row(wanted, now)
            await transaction.write(self._database.insert(attempts).values(row))
            return Reservation(msgspec.convert(row, Attempt), fresh=True)

    async def _refusal(
        self, transaction: Transaction, number: str, now: float, caps: Caps
    ) -> str | None:
        if await transaction.rows(sa.select(do_not_call).where(do_not_call.c.number == number)):
            return "do_not_call"
        # What waits to be dialled counts too: it will be dialled without being asked again.
        waits = (attempts.c.state == AttemptState.RESERVED) & attempts.c.campaign.is_(None)
        for name, cap, dialled, waiting in (
            (
                "number_per_day",
                caps.number_per_day,
                (dials.c.at > now - DAY) & (dials.c.number == number),
                waits & (attempts.c.number == number),
            ),
            ("per_hour", caps.per_hour, dials.c.at > now - HOUR, waits),
            ("per_day", caps.per_day, dials.c.at > now - DAY, waits),
        ):
            if cap is None:
                continue
            count = sa.select(_count(dials, dialled) + _count(attempts, waiting))
            if (await transaction.rows(count))[0][0] >= cap:
                return name
        return None

    # ---- dialling

    async def claim(self, taker: Taker, caps: Caps | None = None) -> Attempt | None:
        """Take one that is due and belongs to no campaign, to dial it now; nobody else gets the same.

        It is one more try, and counted as dialled from here on. What would pass a cap, is on the do-not-call list, or has the
        same number as a call that is on the line, stays where it is.
        """
        async with self._database.transaction() as transaction:
            await transaction.alone(LOCK)
            return await take(transaction, attempts.c.campaign.is_(None), taker, caps or Caps())

    async def renew(self, instance: str, until: float) -> int:
        """What this instance dials or has on the line is in its hands until then."""
        return await self._database.write(
            sa.update(attempts)
            .where(
                attempts.c.instance == instance, is_open(attempts), attempts.c.alive_until < until
            )
            .values(alive_until=until)
        )

    async def adopt(
        self, instance: str, now: float, until: float, limit: int = 10
    ) -> list[Attempt]:
        """Take over tries whose process died. Whether a `placing` one rang, only the provider knows: ask before going on."""
        async with self._database.transaction() as transaction:
            left = sa.select(attempts.c.id).where(is_open(attempts), attempts.c.alive_until < now)
            left = left.order_by(attempts.c.alive_until).limit(limit)
            chosen = left.with_for_update(skip_locked=True).cte("chosen")
            taken = (
                sa.update(attempts)
                .where(attempts.c.id.in_(sa.select(chosen.c.id)))
                .values(instance=instance, alive_until=until)
                .returning(*attempts.c)
            )
            return [struct(Attempt, row) for row in await transaction.rows(taken)]

    async def take_over(self, attempt: str, n: int, provider_call_id: str, taker: Taker) -> bool:
        """Try `n` was answered and goes on in another process than placed it; False where it is over."""
        async with self._database.transaction() as transaction:
            values = {
                "state": AttemptState.PLACED,
                "provider_call_id": provider_call_id,
                "instance": taker.instance,
                "alive_until": taker.until,
            }
            taken = sa.update(attempts).where(_present(attempt, n), is_open(attempts))
            if await transaction.write(taken.values(**values)) == 0:
                return False
            await transaction.write(
                sa.update(dials)
                .where(
                    dials.c.attempt == attempt, dials.c.n == n, dials.c.provider_call_id.is_(None)
                )
                .values(provider_call_id=provider_call_id)
            )
            return True

    async def placed(self, attempt: str, n: int, provider_call_id: str) -> bool:
        """The provider took try `n`; False where that is known already or the try is over."""
        async with self._database.transaction() as transaction:
            await transaction.write(
                sa.update(dials)
                .where(
                    dials.c.attempt == attempt, dials.c.n == n, dials.c.provider_call_id.is_(None)
                )
                .values(provider_call_id=provider_call_id)
            )
            now_placed = (
                sa.update(attempts)
                .where(_present(attempt, n), attempts.c.state == AttemptState.PLACING)
                .values(state=AttemptState.PLACED, provider_call_id=provider_call_id)
            )
            return await transaction.write(now_placed) == 1

    async def told(self, attempt: str, n: int, provider_call_id: str, reason: str) -> bool:
        """The provider told a process that does not have it how try `n` ended; whoever has it ends it. False where it is over."""
        async with self._database.transaction() as transaction:
            present = sa.select(attempts.c.id).where(_present(attempt, n), is_open(attempts))
            if not await transaction.rows(present):
                return False
            known = sa.update(dials).where(dials.c.attempt == attempt, dials.c.n == n)
            await transaction.write(
                known.where(dials.c.provider_call_id.is_(None)).values(
                    provider_call_id=provider_call_id
                )
            )
            untold = known.where(dials.c.reason.is_(None))
            return await transaction.write(untold.values(reason=reason)) == 1

    async def told_of(self, instance: str) -> list[Told]:
        """What other processes were told of tries that this one has."""
        query = (
            sa.select(dials.c.attempt, dials.c.n, dials.c.provider_call_id, dials.c.reason)
            .join(attempts, attempts.c.id == dials.c.attempt)
            .where(
                attempts.c.instance == instance,
                is_open(attempts),
                attempts.c.tries == dials.c.n,
                dials.c.reason.is_not(None),
            )
        )
        return [struct(Told, row) for row in await self._database.rows(query)]

    async def not_placed(self, attempt: str, n: int, not_before: float) -> bool:
        """Try `n` certainly never reached the provider: it does not count, and is due again at `not_before`."""
        async with self._database.transaction() as transaction:
            back = (
                sa.update(attempts)
                .where(_present(attempt, n), attempts.c.state == AttemptState.PLACING)
                .values(
                    state=AttemptState.RESERVED,
                    tries=n - 1,
                    not_before=not_before,
                    instance=None,
                    alive_until=0.0,
                )
            )
            if await transaction.write(back) == 0:
                return False
            await transaction.write(
                sa.delete(dials).where(dials.c.attempt == attempt, dials.c.n == n)
            )
            return True

    async def again(self, attempt: str, n: int, reason: str, now: float, not_before: float) -> bool:
        """Try `n` did not reach anybody; there will be another one. False where it was over."""
        values = {
            "state": AttemptState.RESERVED,
            "not_before": not_before,
            "instance": None,
            "alive_until": 0.0,
            "provider_call_id": None,
        }
        return await self._over(attempt, n, reason, now, values)

    async def end(self, attempt: str, n: int, reason: str, now: float) -> bool:
        """Try `n` was the last one; the first ending stands."""
        return await self._over(
            attempt, n, reason, now, {"state": AttemptState.ENDED, "ended_at": now}
        )

    async def _over(
        self, attempt: str, n: int, reason: str, now: float, values: dict[str, Any]
    ) -> bool:
        async with self._database.transaction() as transaction:
            over = sa.update(attempts).where(_present(attempt, n), is_open(attempts))
            if await transaction.write(over.values(reason=reason, **values)) == 0:
                return False
            await transaction.write(
                sa.update(dials)
                .where(dials.c.attempt == attempt, dials.c.n == n)
                .values(reason=reason, ended_at=now)
            )
            return True

    async def cancel(self, attempt: str, now: float) -> bool:
        """Nobody wants it any more; False where it was dialled or is over."""
        waiting = (attempts.c.id == attempt) & (attempts.c.state == AttemptState.RESERVED)
        ended = (
            sa.update(attempts)
            .where(waiting)
            .values(state=AttemptState.ENDED, reason="cancelled", ended_at=now)
        )
        return await self._database.write(ended) == 1

    # ---- looking

    async def get(self, attempt: str) -> Attempt | None:
        return await self._one(attempts.c.id == attempt)

    async def by_key(self, idempotency_key: str) -> Attempt | None:
        return await self._one(attempts.c.idempotency_key == idempotency_key)

    async def by_provider_id(self, provider_call_id: str) -> tuple[Attempt, int] | None:
        """The call that a provider's id belongs to, and which of its tries: perhaps not the present one."""
        query = sa.select(attempts, dials.c.n).join(dials, dials.c.attempt == attempts.c.id)
        query = query.where(dials.c.provider_call_id == provider_call_id)
        rows = await self._database.rows(query)
        return (struct(Attempt, rows[0]), rows[0].n) if rows else None

    async def dialled_at(self, attempt: str, n: int) -> float:
        """When try `n` began; 0 where there was none."""
        query = sa.select(dials.c.at).where(dials.c.attempt == attempt, dials.c.n == n)
        rows = await self._database.rows(query)
        return float(rows[0].at) if rows else 0.0

    async def dialled(self, since: float) -> int:
        """Tries of all calls since then."""
        rows = await self._database.rows(sa.select(_count(dials, dials.c.at > since)))
        return int(rows[0][0])

    async def recent(self, limit: int = 50) -> list[Attempt]:
        """The newest first."""
        query = sa.select(attempts).order_by(attempts.c.reserved_at.desc(), attempts.c.id)
        return [struct(Attempt, row) for row in await self._database.rows(query.limit(limit))]

    async def _one(self, wanted: sa.ColumnElement[bool]) -> Attempt | None:
        rows = await self._database.rows(sa.select(attempts).where(wanted))
        return struct(Attempt, rows[0]) if rows else None


def is_open(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """It is being dialled, or on the line."""
    return table.c.state.in_([AttemptState.PLACING, AttemptState.PLACED])


async def take(
    transaction: Transaction, which: sa.ColumnElement[bool], taker: Taker, caps: Caps
) -> Attempt | None:
    """Claim the first of those that are due, and note the dial; the transaction holds `LOCK`."""
    if await room(transaction, taker.now, caps) <= 0:
        return None
    other = attempts.alias("other")
    on_the_line = sa.exists().where(other.c.number == attempts.c.number, is_open(other))
    forbidden = sa.exists().where(do_not_call.c.number == attempts.c.number)
    due = sa.select(attempts.c.id).where(
        which,
        attempts.c.state == AttemptState.RESERVED,
        attempts.c.not_before <= taker.now,
        ~forbidden,
        ~on_the_line,
    )
    if caps.number_per_day is not None:
        today = (dials.c.number == attempts.c.number) & (dials.c.at > taker.now - DAY)
        due = due.where(_count(dials, today, attempts) < caps.number_per_day)
    due = due.order_by(attempts.c.not_before, attempts.c.row, attempts.c.id).limit(1)
    # PostgreSQL: "SELECT", section "The Locking Clause": a row that somebody is changing is passed over. As a common table
    # expression it is worked out once.
    chosen = due.with_for_update(skip_locked=True).cte("chosen")
    taken = (
        sa.update(attempts)
        .where(attempts.c.id.in_(sa.select(chosen.c.id)))
        .values(
            state=AttemptState.PLACING,
            tries=attempts.c.tries + 1,
            instance=taker.instance,
            alive_until=taker.until,
            provider_call_id=None,
        )
        .returning(*attempts.c)
    )
    rows = await transaction.rows(taken)
    if not rows:
        return None
    found = struct(Attempt, rows[0])
    noted = {"attempt": found.id, "n": found.tries, "number": found.number, "at": taker.now}
    await transaction.write(sa.insert(dials).values(noted))
    return found


async def room(transaction: Transaction, now: float, caps: Caps) -> int:
    """How many more may be dialled now."""
    left = sys.maxsize
    for cap, since in ((caps.per_hour, now - HOUR), (caps.per_day, now - DAY)):
        if cap is not None:
            rows = await transaction.rows(sa.select(_count(dials, dials.c.at > since)))
            left = min(left, cap - rows[0][0])
    return left


def new_row(wanted: Wanted, now: float) -> dict[str, Any]:
    """The row of a call that nobody has dialled yet."""
    return msgspec.structs.asdict(wanted) | {
        "state": AttemptState.RESERVED,
        "reserved_at": now,
        "tries": 0,
        "reason": None,
        "provider_call_id": None,
        "instance": None,
        "alive_until": 0.0,
        "ended_at": None,
    }


def _present(attempt: str, n: int) -> sa.ColumnElement[bool]:
    return (attempts.c.id == attempt) & (attempts.c.tries == n)


def _count(
    table: sa.Table, which: sa.ColumnElement[bool], *outer: sa.Table
) -> sa.ScalarSelect[Any]:
    counted = sa.select(sa.func.count()).select_from(table).where(which)
    return (counted.correlate(*outer) if outer else counted).scalar_subquery()
