"""Records that a call never waits for: what the database does not take within 200 ms goes to the spool.

While anything waits in the spool everything queues behind it, so operations reach the database in the order in which they
happened. An operation that was given up on may still arrive; it changes nothing then, since all are idempotent.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from agent.drive.tasks import Tasks
from agent.errors import StorageError
from agent.storage.database import RecordRefused
from agent.storage.records import LEASE, RENEW_EVERY, Records
from agent.storage.spool import Answered, Create, Finish, Spend, Spool, apply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.storage.records import CallRecord
    from agent.storage.spool import AnyOperation

T = TypeVar("T")

BUDGET = 0.2
"""Seconds that a call waits for the database."""
PATIENCE = 10.0
"""Seconds that the background waits for it; longer than SQLite waits for another writer."""
LAST_TRY = 2.0
"""Seconds that a process which ends waits for each operation of its spool: the first that fails stays there with all behind it."""
RETRY_EVERY = 1.0
"""Seconds between attempts to reach a database that is down."""


class DurableRecords:
    """`Records` for calls: the same operations, which do not fail because the database does.

    Args:
        url: the database; it is opened by the first `keep` that can.
        spool: where operations wait.
        instance: this process, as in the records' `instance`.

    Attributes:
        down: whether the database was out of reach when it was last asked.
        spooled: operations that went to the spool.
        refused: operations that the database will never take; they are in the spool's `refused`.
    """

    def __init__(self, url: str, spool: Spool, instance: str) -> None:
        self.down = True
        self.spooled = 0
        self.refused = 0
        self._url = url
        self._spool = spool
        self._instance = instance
        self._tasks = Tasks("records")
        self._records: Records | None = None
        self._keeping = asyncio.Lock()

    @classmethod
    async def open(
        cls, url: str, folder: Path, instance: str, now: float, disk: Executor | None = None
    ) -> DurableRecords:
        """Connect and take up what earlier processes left; a database that is down is tried again later.

        Raises UserError for a URL that cannot work.
        """
        durable = cls(url, Spool(folder, instance, disk), instance)
        await durable.keep(now)
        return durable

    async def create(self, record: CallRecord) -> bool:
        """As `Records.create`; True also where the database could not be asked. StorageError: the spool is full."""
        return await self._do(Create(record))

    async def answered(self, call: str, at: float) -> None:
        """As `Records.answered`."""
        await self._do(Answered(call, at))

    async def finish(
        self,
        call: str,
        end_reason: str,
        ended_at: float,
        *,
        legs: int = 0,
        metrics: dict[str, Any] | None = None,
    ) -> bool:
        """As `Records.finish`; True also where the database could not be asked."""
        return await self._do(Finish(call, end_reason, ended_at, legs, metrics or {}))

    async def spend(self, token: str, call: str, expires: float) -> bool:
        """As `Records.spend`. Raises StorageError where the database does not answer: only it can decide."""
        return await self._ask(lambda records: records.spend(token, call, expires))

    async def spent(self, token: str, call: str, expires: float) -> None:
        """A token was accepted without the database; it shall know when it is back."""
        await self._do(Spend(token, call, expires))

    async def get(self, call: str) -> CallRecord | None:
        """Raises StorageError where the database does not answer in time, as the next two do."""
        return await self._ask(lambda records: records.get(call))

    async def by_provider_id(self, provider_call_id: str) -> CallRecord | None:
        return await self._ask(lambda records: records.by_provider_id(provider_call_id))

    async def cost_since(self, at: float) -> float:
        return await self._ask(lambda records: records.cost_since(at))

    async def recent(self, limit: int = 50, before: float | None = None) -> list[CallRecord]:
        return await self._ask(lambda records: records.recent(limit, before))

    async def run(self, wall: Callable[[], float]) -> None:
        """Keep the records for as long as the process lives; `wall` tells seconds since 1970-01-01 UTC."""
        while True:
            await asyncio.sleep(RETRY_EVERY if self.down or len(self._spool) else RENEW_EVERY)
            await self.keep(wall())

    async def keep(self, now: float) -> list[str]:
        """Replay what waits, renew our lease, close what others left; returns the calls that were closed so.

        In this order: what an earlier process knew about its calls goes before what a lapsed lease makes us presume, and our
        own lease before anybody's sweep.
        """
        async with self._keeping:
            try:
                records = await self._connected()
                await self._replay(records)
                await self._within(PATIENCE, records.renew(self._instance, now + LEASE))
                closed = await self._within(PATIENCE, records.sweep(now))
            except StorageError:
                self.down = True
                return []
            self.down = False
            return closed

    async def close(self) -> None:
        """Let what is on its way arrive, and what waits go there if it can; the next process takes up what cannot."""
        if len(self._spool):
            async with self._keeping:
                with suppress(StorageError):
                    await self._replay(await self._connected(), LAST_TRY)
        await self._tasks.close(grace=PATIENCE)
        await self._spool.close()
        if self._records is not None:
            await self._records.close()

    async def _connected(self) -> Records:
        if self._records is None:
            self._records = await Records.open(self._url)
        return self._records

    async def _replay(self, records: Records, patience: float = PATIENCE) -> None:
        await self._spool.adopt()
        while (operation := self._spool.oldest) is not None:
            try:
                await self._within(patience, apply(operation, records))
            except RecordRefused:
                await self._refuse(operation)
            self._spool.forget_oldest()
        await self._spool.clear()

    async def _do(self, operation: AnyOperation) -> bool:
        """Write now where the database answers and nothing waits before us, otherwise spool."""
        if not self.down and not len(self._spool):
            try:
                return await self._ask(lambda records: apply(operation, records))
            except RecordRefused:
                await self._refuse(operation)
                return False
            except StorageError:
                self.down = True
        self.spooled += 1
        await self._spool.append(operation)
        return True

    async def _refuse(self, operation: AnyOperation) -> None:
        self.refused += 1
        await self._spool.refuse(operation)

    async def _ask(self, question: Callable[[Records], Coroutine[Any, Any, T]]) -> T:
        if self._records is None:
            raise StorageError("the database is down")
        return await self._within(BUDGET, question(self._records))

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of `work`, or StorageError after `seconds`. It is not cancelled then: half a statement helps nobody."""
        task = self._tasks.start("database", _outcome(work))
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            raise StorageError(f"the database did not answer within {seconds} s")
        outcome = task.result()
        if isinstance(outcome, StorageError):
            raise outcome
        return outcome  # type: ignore[no-any-return]


async def _outcome(work: Coroutine[Any, Any, T]) -> T | StorageError:
    """An error as a value: nobody may be waiting for it any more."""
    try:
        return await work
    except StorageError as error:
        return error
