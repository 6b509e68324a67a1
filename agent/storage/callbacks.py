"""Promises to call back."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from agent.storage.database import struct
from agent.storage.tables import callbacks

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.storage.database import Database


class CallbackState(StrEnum):
    """What became of a promise."""

    WANTED = "wanted"
    DONE = "done"
    CANCELLED = "cancelled"


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One promise.

    Attributes:
        id: the same for the same promise of the same call, so that it is stored once.
        number: whom to call (E.164).
        at: when, in seconds since 1970-01-01 UTC, as `made_at`.
        note: what about.
    """

    id: str
    call: str
    agent: str
    made_at: float
    number: str
    at: float
    note: str
    state: CallbackState = CallbackState.WANTED


class Callbacks:
    """The promises in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def schedule(self, callback: Callback) -> bool:
        """Store a promise; False where it is there already."""
        row = msgspec.structs.asdict(callback)
        insert = self._database.insert(callbacks).values(row).on_conflict_do_nothing()
        return await self._database.write(insert) == 1

    async def settle(self, callback: str, state: CallbackState) -> bool:
        """A promise was kept or withdrawn; False where it is not open."""
        wanted = (callbacks.c.id == callback) & (callbacks.c.state == CallbackState.WANTED)
        return (
            await self._database.write(sa.update(callbacks).where(wanted).values(state=state)) == 1
        )

    async def open(self, limit: int = 50, until: float | None = None) -> list[Callback]:
        """What is still to be done, the first first; due by `until` where it is given."""
        query = (
            sa.select(callbacks)
            .where(callbacks.c.state == CallbackState.WANTED)
            .order_by(callbacks.c.at, callbacks.c.id)
            .limit(limit)
        )
        if until is not None:
            query = query.where(callbacks.c.at <= until)
        return [struct(Callback, row) for row in await self._database.rows(query)]

    async def due(
        self, agents: Collection[str], since: float, until: float, limit: int = 20
    ) -> list[Callback]:
        """What these agents promised for a time in this span, and is still to be done; the first first."""
        query = (
            sa.select(callbacks)
            .where(
                callbacks.c.state == CallbackState.WANTED,
                callbacks.c.agent.in_(agents),
                callbacks.c.at.between(since, until),
            )
            .order_by(callbacks.c.at, callbacks.c.id)
            .limit(limit)
        )
        return [struct(Callback, row) for row in await self._database.rows(query)]

    async def of_call(self, call: str) -> list[Callback]:
        query = sa.select(callbacks).where(callbacks.c.call == call).order_by(callbacks.c.at)
        return [struct(Callback, row) for row in await self._database.rows(query)]
