"""Promised calls that the agent makes itself, where its file says so: each becomes an order like any other, once.

    promised --due--> ordered: calling hours, do-not-call list, caps and retries are those of every order
                 +--> left to a person (`pickup messages`): a rule forbids it, or its time is long over

The promise's id is the order's key, so that it is ordered once however many processes look.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent.config.variables import LONGEST, fitting
from agent.errors import StorageError
from agent.server.outbound.orders import Order, OrderRefused
from agent.storage.callbacks import CallbackState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.server.outbound.orders import Orders
    from agent.server.stores import Stores
    from agent.storage.callbacks import Callback
    from agent.storage.records import Records

log = structlog.get_logger()

LOOK_EVERY = 5.0
"""Seconds between looks for what is due."""

LATEST = 2 * 3600.0
"""Seconds after the promised time from which a person has to decide whether a call still makes sense."""

NOTE = "callback_note"
"""The variable that brings the agent what the call is about, where its file has one."""

AGAIN = frozenset({"number_per_day", "per_hour", "per_day"})
"""Refusals that time mends."""


class Promises:
    """Orders what was promised and is due.

    Args:
        orders: takes the orders, and knows the agents.
        stores: where promises are kept.
        records: of the calls in which they were made.
        stir: told that something may be due.
        new_id, wall: make ids; tells seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        orders: Orders,
        stores: Stores,
        records: Records,
        *,
        stir: Callable[[], None],
        new_id: Callable[[], str],
        wall: Callable[[], float],
    ) -> None:
        self._orders = orders
        self._callbacks = stores.callbacks
        self._records = records
        self._stir = stir
        self._new_id = new_id
        self._wall = wall
        self._left: set[str] = set()  # to a person; told once

    async def keep(self) -> None:
        """Look for as long as the process lives."""
        while True:
            try:
                await self.order_due()
            except StorageError as error:
                log.error("promised calls are not ordered", why=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def order_due(self) -> int:
        """Order what is due now; returns how many calls that were.

        Raises:
            StorageError: the database did not answer.
        """
        agents, _ = self._orders.agents.readable()
        calling = {agent.name: name for name, agent in agents.items() if agent.outbound.callbacks}
        if not calling:
            return 0
        now, ordered = self._wall(), 0
        due = await self._callbacks.due(calling, now - LATEST, now)
        self._left &= {each.id for each in due}
        for each in due:
            ordered += await self._order(each, calling[each.agent])
        if ordered:
            self._stir()
        return ordered

    async def _order(self, promise: Callback, name: str) -> bool:
        agent = self._orders.agents.get(name)
        if agent.outbound.callbacks == "caller" and not await self._own(promise):
            return self._leave(promise, "it is another number than the caller's")
        note = " ".join(promise.note.split())[:LONGEST]
        order = Order(promise.number, name, fitting(agent, {NOTE: note}), wait=True)
        key = f"callback-{promise.id}"
        try:
            await self._orders.want(order, key, self._new_id(), self._wall())
        except OrderRefused as error:
            if error.why == "do_not_call":
                await self._callbacks.settle(promise.id, CallbackState.CANCELLED)
                log.warning("a promised call is not wanted any more", callback=promise.id)
            elif error.why == "key":  # ordered already, by what the file said then
                await self._callbacks.settle(promise.id, CallbackState.DONE)
            elif error.why not in AGAIN:
                self._leave(promise, str(error))
            return False
        return await self._callbacks.settle(promise.id, CallbackState.DONE)

    async def _own(self, promise: Callback) -> bool:
        """Whether the number is that of whoever was on the line."""
        record = await self._records.get(promise.call)
        if record is None:
            return False
        inbound = record.direction == "inbound"
        return promise.number == (record.from_number if inbound else record.to_number)

    def _leave(self, promise: Callback, why: str) -> bool:
        if promise.id not in self._left:
            self._left.add(promise.id)
            log.warning("a promised call is left to a person", callback=promise.id, why=why)
        return False
